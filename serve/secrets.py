"""What must never reach a log: the carrier's auth token. From the environment or, for a local call, made up."""

from __future__ import annotations

import os
import secrets as randomness
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, SecretStr

from models.settings import SettingsError, StrictModel

TOKEN_VARIABLE = "TWILIO_AUTH_TOKEN"  # noqa: S105  # the variable's name, not a token
TOKEN_FILE_VARIABLE = "TWILIO_AUTH_TOKEN_FILE"  # noqa: S105
PUBLIC_URL_VARIABLE = "TRUNKLINE_PUBLIC_URL"
LOCAL_PUBLIC_URL = "https://trunkline.localhost"
"""What the simulated caller calls us; nothing resolves it, it only goes into signatures and TwiML."""


class Secrets(StrictModel):
    """What both ends of a carrier connection know."""

    twilio_auth_token: SecretStr
    """Signs webhooks and handshakes."""
    public_url: str = Field(pattern=r"^https://[^/\s?#]+$")
    """Where the carrier reaches the gateway: https, host, no path."""


def read_secrets(environment: Mapping[str, str] = os.environ) -> Secrets | None:
    """The operator's secrets, or None if neither variable is set. Raises SettingsError if only half is there."""
    token = environment.get(TOKEN_VARIABLE, "").strip() or _from_file(environment.get(TOKEN_FILE_VARIABLE, ""))
    url = environment.get(PUBLIC_URL_VARIABLE, "").strip().rstrip("/")
    if not token and not url:
        return None
    if not token or not url:
        missing = TOKEN_VARIABLE if not token else PUBLIC_URL_VARIABLE
        raise SettingsError(f"environment: {missing}: missing; the auth token and the public URL are needed together")
    if not url.startswith("https://") or "/" in url.removeprefix("https://"):
        raise SettingsError(
            f"environment: {PUBLIC_URL_VARIABLE}: expected https:// and a host without a path, such as "
            f"https://calls.example.com; got {url!r}"
        )
    return Secrets(twilio_auth_token=SecretStr(token), public_url=url)


def local_secrets() -> Secrets:
    """A token made for one run of the stack, for the simulated caller."""
    return Secrets(twilio_auth_token=SecretStr(randomness.token_hex(16)), public_url=LOCAL_PUBLIC_URL)


def _from_file(path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"environment: {TOKEN_FILE_VARIABLE}: {path} cannot be read ({error.strerror})") from error
