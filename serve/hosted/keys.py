"""The keys of hosted models: from the environment only, and read before anything starts."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import SecretStr

from models.settings import SettingsError
from serve.hosted.settings import AnyHosted


def key_of(part: str, hosted: AnyHosted, environment: Mapping[str, str] = os.environ) -> SecretStr | None:
    """The key of what stands in for a part of the stack; None: it needs none. Raises SettingsError if it is missing."""
    if hosted.key_env is None:
        return None
    key = environment.get(hosted.key_env, "").strip()
    if not key:
        raise SettingsError(
            f"environment: {hosted.key_env}: missing or empty; it holds the key of {hosted.provider}, which stands in "
            f"for {part}; set it, or take {part}.fallback out of the stack file"
        )
    if not (key.isascii() and key.isprintable()):
        raise SettingsError(f"environment: {hosted.key_env}: expected a key of printable ASCII characters")
    return SecretStr(key)


def check_keys(hosted: Mapping[str, AnyHosted], environment: Mapping[str, str] = os.environ) -> str:
    """What stands in, for people to read. Raises SettingsError naming the first key that is missing."""
    for part, one in hosted.items():
        key_of(part, one, environment)
    return "; ".join(f"{one.provider} stands in for {part}" for part, one in hosted.items())
