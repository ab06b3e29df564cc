"""Single-use, short-lived tokens that tie a media stream to the webhook that opened it.

A token is self-contained and signed, so any gateway replica that shares the secret can check one. That it is used
once is remembered per replica; that another replica is not shown it again is the call's place's affair
(serve/places.py), and while the call store does not answer, its lifetime bounds that.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections import OrderedDict
from hashlib import sha256
from typing import Final, Literal

from pipeline.clock import Clock

MAX_TOKEN_CHARS: Final = 200

TokenFault = Literal["missing", "unknown", "expired", "reused", "other_call", "overload"]

_CALL_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class TokenError(ValueError):
    """A token that opens nothing; `fault` says why."""

    def __init__(self, fault: TokenFault, message: str) -> None:
        super().__init__(message)
        self.fault: TokenFault = fault


class StreamTokens:
    """Issues and redeems tokens of the form call.expiry.nonce.signature."""

    def __init__(self, secret: bytes, clock: Clock, *, lifetime_s: float = 60.0, max_remembered: int = 65_536) -> None:
        """`secret` (at least 16 bytes) is shared by all replicas of the gateway, hence also expiry in wall time.

        `max_remembered` bounds the memory of used tokens; past it none is redeemed until some expire.
        """
        if len(secret) < 16:
            raise ValueError(f"token secret: expected at least 16 bytes, got {len(secret)}")
        self._secret = secret
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._max_remembered = max_remembered
        self._used: OrderedDict[str, float] = OrderedDict()

    def issue(self, call_sid: str) -> str:
        """A new token for one stream of this call, at most 200 characters. Raises ValueError for an odd call SID."""
        if not _CALL_SID.fullmatch(call_sid):
            raise ValueError(f"call SID: expected 1 to 64 letters and digits, got {call_sid[:80]!r}")
        expiry_ms = round((self._clock.wall_time_s() + self._lifetime_s) * 1000)
        body = f"{call_sid}.{expiry_ms}.{secrets.token_urlsafe(12)}"
        return f"{body}.{self._sign(body)}"

    def redeem(self, token: str, call_sid: str) -> None:
        """Use the token up. Raises TokenError: missing, unknown, expired, reused, of another call, or overload."""
        if not token:
            raise TokenError("missing", "no stream token: the start message needs the <Parameter> 'token' of our TwiML")
        body, _, signature = token.rpartition(".")
        parts = body.split(".")
        if len(token) > MAX_TOKEN_CHARS or len(parts) != 3 or not token.isascii():
            raise TokenError("unknown", "stream token not issued by this service")
        if not hmac.compare_digest(signature, self._sign(body)):
            raise TokenError("unknown", "stream token not issued by this service")
        issued_for, expiry_ms, nonce = parts[0], int(parts[1]), parts[2]
        if issued_for != call_sid:
            raise TokenError("other_call", "stream token was issued for another call")
        now_s = self._clock.wall_time_s()
        expiry_s = expiry_ms / 1000
        if now_s >= expiry_s:
            raise TokenError("expired", f"stream token expired {now_s - expiry_s:.0f} s ago")
        self._forget_expired(now_s)
        if nonce in self._used:
            raise TokenError("reused", "stream token was used before")
        if len(self._used) >= self._max_remembered:
            raise TokenError("overload", f"more than {self._max_remembered} streams opened within {self._lifetime_s} s")
        self._used[nonce] = expiry_s

    def _forget_expired(self, now_s: float) -> None:
        # Redeemed in nearly the order of expiry, so the oldest are in front; a straggler only waits its turn.
        while self._used:
            nonce, expiry_s = next(iter(self._used.items()))
            if expiry_s > now_s:
                return
            del self._used[nonce]

    def _sign(self, body: str) -> str:
        digest = hmac.new(self._secret, body.encode("ascii"), sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
