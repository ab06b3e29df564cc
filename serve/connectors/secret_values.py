"""Where a connection's secrets come from: the environment or a file, never the YAML itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr, model_validator
from pydantic_core import PydanticCustomError

from models.settings import WITHHELD, SettingsError, StrictModel


class SecretRef(StrictModel):
    """Names a secret: `{env: NAME}` or `{file: path}`. Holds no secret itself."""

    env: str | None = None
    """An environment variable."""
    file: Path | None = None
    """A file that holds nothing else; read anew at each use, so that it may be rotated."""

    @model_validator(mode="before")
    @classmethod
    def _is_none_itself(cls, given: object) -> object:
        if isinstance(given, str | int | float):
            said = "a secret is never written into this file; expected {env: NAME} or {file: path}"
            raise PydanticCustomError(WITHHELD, said)
        return given

    @model_validator(mode="after")
    def _one_place(self) -> SecretRef:
        if (self.env is None) == (self.file is None):
            raise ValueError("a secret is either {env: NAME} or {file: path}; it is never written into this file")
        return self

    def __str__(self) -> str:
        return f"environment variable {self.env}" if self.env is not None else f"file {self.file}"


class SecretReader:
    """Reads what SecretRefs name."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    def read(self, ref: SecretRef) -> SecretStr:
        """The secret, without surrounding white space. Raises SettingsError if it is missing or empty."""
        if ref.env is not None:
            value = self._environment.get(ref.env, "").strip()
            if not value:
                raise SettingsError(f"environment: {ref.env}: missing or empty; a connection of the agent needs it")
            return SecretStr(value)
        assert ref.file is not None
        try:
            value = ref.file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise SettingsError(f"{ref.file}: cannot be read ({reason}); a secret of a connection is there") from error
        if not value:
            raise SettingsError(f"{ref.file}: empty; expected the secret and nothing else")
        return SecretStr(value)

    def identity(self, value: str | SecretRef) -> str:
        """A name that may be written out or kept with the secrets. Raises SettingsError."""
        return value if isinstance(value, str) else self.read(value).get_secret_value()
