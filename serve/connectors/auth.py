"""Proving who we are to a system: the headers of each request, and tokens that are fetched, kept and replaced."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode

import httpx
import jwt
from pydantic import SecretStr

from models.settings import SettingsError
from pipeline.clock import Clock
from pipeline.tools.calls import ToolFailure
from serve.connectors.addresses import RefusedAddress
from serve.connectors.connection import (
    ApiKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    ClientCredentialsAuth,
    JwtBearerAuth,
    NoAuth,
    RefreshTokenAuth,
)
from serve.connectors.retry_after import retry_after_s
from serve.connectors.secret_values import SecretReader, SecretRef
from serve.connectors.transport import ConnectorClient

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOKEN_TIMEOUT_S = 5.0
_EARLY_S = 60.0
"""A token is replaced this long before it expires; at the latest when half its life is over."""
_LARGEST_TOKEN_ANSWER = 65_536

FetchedAuth = ClientCredentialsAuth | RefreshTokenAuth | JwtBearerAuth


class Credentials(Protocol):
    """The authentication headers of one connection. Safe to share between calls."""

    async def headers(self) -> Mapping[str, str]:
        """The headers for a request that is sent now. Raises ToolFailure (nothing was sent) and SettingsError."""
        ...

    def refused(self, headers: Mapping[str, str]) -> bool:
        """The system answered 401 to these headers. Whether a new request would get other ones."""
        ...


def credentials(
    auth: Auth, *, secrets: SecretReader, client: ConnectorClient, clock: Clock, allow_private: bool
) -> Credentials:
    """What an `auth` block of a connection means."""
    if isinstance(auth, NoAuth | BearerAuth | BasicAuth | ApiKeyAuth):
        return FixedCredentials(auth, secrets)
    return TokenCredentials(auth, secrets=secrets, client=client, clock=clock, allow_private=allow_private)


class FixedCredentials:
    """Secrets that are sent as they are. A secret in a file is read each time, so a rotated one is used at once."""

    def __init__(self, auth: NoAuth | BearerAuth | BasicAuth | ApiKeyAuth, secrets: SecretReader) -> None:
        self._auth = auth
        self._secrets = secrets

    async def headers(self) -> Mapping[str, str]:
        return self._now()

    def refused(self, headers: Mapping[str, str]) -> bool:
        return self._now() != headers

    def _now(self) -> Mapping[str, str]:
        match self._auth:
            case NoAuth():
                return {}
            case BearerAuth(token=token, scheme=scheme):
                return {"Authorization": f"{scheme} {self._read(token)}"}
            case BasicAuth(username=username, password=password):
                return {"Authorization": _basic(self._secrets.identity(username), self._read(password))}
            case ApiKeyAuth(header=header, key=key):
                return {header: self._read(key)}

    def _read(self, ref: SecretRef) -> str:
        return header_secret(self._secrets, ref)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    until_s: float


class TokenCredentials:
    """Fetches tokens. However many calls need one at once, one request fetches it; if it fails, all of them fail."""

    def __init__(
        self, auth: FetchedAuth, *, secrets: SecretReader, client: ConnectorClient, clock: Clock, allow_private: bool
    ) -> None:
        self._auth = auth
        self._secrets = secrets
        self._client = client
        self._clock = clock
        self._allow_private = allow_private
        self._token: _Token | None = None
        self._refresh_token: SecretStr | None = None
        self._failure: ToolFailure | None = None
        self._fetches = 0
        self._lock = asyncio.Lock()

    async def headers(self) -> Mapping[str, str]:
        token = self._token
        if token is None or self._clock.now_s() >= token.until_s:
            token = await self._one_fetch()
        return {"Authorization": f"{self._auth.scheme} {token.text}"}

    def refused(self, headers: Mapping[str, str]) -> bool:
        if self._token is not None and headers.get("Authorization") == f"{self._auth.scheme} {self._token.text}":
            self._token = None
        return True

    async def _one_fetch(self) -> _Token:
        before = self._fetches
        async with self._lock:
            if self._fetches != before:
                # Somebody fetched while this call waited: what they got is what we get.
                if self._token is not None:
                    return self._token
                if self._failure is not None:
                    failed = self._failure
                    raise ToolFailure(
                        retryable=failed.retryable,
                        sent=failed.sent,
                        retry_after_s=failed.retry_after_s,
                        detail=failed.detail,
                    )
            # A call that is cancelled here has learnt nothing: the next one in line tries.
            try:
                token = await self._fetch()
            except ToolFailure as failure:
                self._token, self._failure, self._fetches = None, failure, self._fetches + 1
                raise
            self._token, self._failure, self._fetches = token, None, self._fetches + 1
            return token

    async def _fetch(self) -> _Token:
        fields, headers = self._token_request()
        if self._auth.encoding == "json":
            content, headers["Content-Type"] = json.dumps(fields).encode(), "application/json"
        else:
            content, headers["Content-Type"] = urlencode(fields).encode(), "application/x-www-form-urlencoded"
        try:
            async with self._client.stream(
                "POST",
                self._auth.token_url,
                headers=headers,
                content=content,
                limit=httpx.Timeout(_TOKEN_TIMEOUT_S),
                allow_private=self._allow_private,
            ) as response:
                status, retry_after = response.status_code, retry_after_s(response.headers, self._clock.wall_time_s())
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _LARGEST_TOKEN_ANSWER:
                        raise self._failed("the answer is too large", retryable=False)
        except RefusedAddress as error:
            raise self._failed(str(error), retryable=False) from error
        except httpx.HTTPError as error:
            raise self._failed(type(error).__name__, retryable=True) from error
        if status == 429 or status >= 500:
            raise self._failed(f"HTTP {status}", retryable=True, retry_after_s=retry_after)
        return self._read_answer(status, body)

    def _read_answer(self, status: int, body: bytes) -> _Token:
        # Answers of a token endpoint hold secrets, so nothing of them is repeated but the standard's error word.
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self._failed(f"HTTP {status} and no JSON", retryable=status == 200) from error
        if not isinstance(answer, dict):
            raise self._failed(f"HTTP {status}; expected a JSON object", retryable=False)
        text = answer.get("access_token")
        # Zoho says 200 to a refused refresh token; the error word is in the body.
        if status != 200 or not isinstance(text, str) or not _fits_header(text):
            word = answer.get("error")
            shown = word if isinstance(word, str) and word.replace("_", "").isalnum() and len(word) < 60 else "no token"
            raise self._failed(f"HTTP {status}, {shown}; check the client's id, secret and rights", retryable=False)
        if isinstance(rotated := answer.get("refresh_token"), str) and isinstance(self._auth, RefreshTokenAuth):
            self._refresh_token = SecretStr(rotated)
        expires_in = answer.get("expires_in")
        lifetime_s = self._auth.lifetime_s
        if isinstance(expires_in, int | float) and expires_in > 0:
            lifetime_s = float(expires_in)
        return _Token(text, self._clock.now_s() + max(lifetime_s - _EARLY_S, lifetime_s / 2))

    def _token_request(self) -> tuple[dict[str, str], dict[str, str]]:
        """Fields and headers."""
        auth = self._auth
        fields = dict(auth.parameters)
        if auth.scope is not None:
            fields["scope"] = auth.scope
        if isinstance(auth, JwtBearerAuth):
            return {**fields, "grant_type": JWT_BEARER, "assertion": self._assertion(auth)}, {}
        if isinstance(auth, RefreshTokenAuth):
            kept = self._refresh_token or self._secrets.read(auth.refresh_token)
            fields |= {"grant_type": "refresh_token", "refresh_token": kept.get_secret_value()}
        else:
            fields["grant_type"] = "client_credentials"
        client_id = self._secrets.identity(auth.client_id)
        client_secret = self._secrets.read(auth.client_secret).get_secret_value()
        if auth.client_in == "basic":
            return fields, {"Authorization": _basic(client_id, client_secret)}
        return {**fields, "client_id": client_id, "client_secret": client_secret}, {}

    def _assertion(self, auth: JwtBearerAuth) -> str:
        issuer = self._secrets.identity(auth.issuer)
        now_s = int(self._clock.wall_time_s())
        claims = {
            "iss": issuer,
            "sub": auth.subject or issuer,
            "aud": auth.audience,
            "iat": now_s,
            "exp": now_s + int(auth.assertion_lifetime_s),
            "jti": uuid.uuid4().hex,
        }
        key = self._secrets.read(auth.private_key).get_secret_value()
        try:
            return jwt.encode(claims, key, auth.algorithm, headers={"kid": auth.key_id} if auth.key_id else None)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            # The error's text may quote the key.
            raise SettingsError(
                f"{auth.private_key}: no private key for {auth.algorithm} ({type(error).__name__}); expected PEM"
            ) from None

    def _failed(self, why: str, *, retryable: bool, retry_after_s: float | None = None) -> ToolFailure:
        detail = f"no access token from {httpx.URL(self._auth.token_url).host}: {why}"
        return ToolFailure(retryable=retryable, sent=False, retry_after_s=retry_after_s, detail=detail)


def header_secret(secrets: SecretReader, ref: SecretRef) -> str:
    """A secret that goes into a header. Raises SettingsError if it is missing or cannot stand in one."""
    text = secrets.read(ref).get_secret_value()
    if not _fits_header(text):
        raise SettingsError(f"{ref}: holds a character that cannot be sent in a header; expected printable ASCII")
    return text


def _fits_header(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
