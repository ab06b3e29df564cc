"""Stream tokens: used once, in time, by the call they were issued for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telephony.tokens import MAX_TOKEN_CHARS, StreamTokens, TokenError

SECRET = b"0123456789abcdef"
CALL = "CA" + "0" * 32


class FakeClock:
    """Time stands still unless told."""

    def __init__(self) -> None:
        self.time_s = 1_800_000_000.0

    def now_s(self) -> float:
        return self.time_s

    def wall_time_s(self) -> float:
        return self.time_s

    async def sleep(self, delay_s: float) -> None:
        self.time_s += delay_s


def _fault(tokens: StreamTokens, token: str, call_sid: str = CALL) -> str:
    with pytest.raises(TokenError) as caught:
        tokens.redeem(token, call_sid)
    assert len(token) < 50 or token not in str(caught.value), "a token is a secret: not in an error"
    return caught.value.fault


def test_a_token_opens_its_call_once() -> None:
    tokens = StreamTokens(SECRET, FakeClock())
    token = tokens.issue(CALL)
    assert len(token) <= MAX_TOKEN_CHARS
    tokens.redeem(token, CALL)
    assert _fault(tokens, token) == "reused"


def test_a_token_opens_no_other_call_and_is_not_used_up_by_trying() -> None:
    tokens = StreamTokens(SECRET, FakeClock())
    token = tokens.issue(CALL)
    assert _fault(tokens, token, "CAother") == "other_call"
    tokens.redeem(token, CALL)


def test_a_token_expires() -> None:
    clock = FakeClock()
    tokens = StreamTokens(SECRET, clock, lifetime_s=60)
    early, late = tokens.issue(CALL), tokens.issue(CALL)
    clock.time_s += 59.9
    tokens.redeem(early, CALL)
    clock.time_s += 0.2
    assert _fault(tokens, late) == "expired"
    assert _fault(tokens, early) == "expired"


def test_another_replica_with_the_secret_takes_the_token_and_one_without_does_not() -> None:
    token = StreamTokens(SECRET, FakeClock()).issue(CALL)
    StreamTokens(SECRET, FakeClock()).redeem(token, CALL)
    assert _fault(StreamTokens(b"another secret, no less", FakeClock()), token) == "unknown"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_token_with_any_character_changed_opens_nothing(data: st.DataObject) -> None:
    tokens = StreamTokens(SECRET, FakeClock())
    token = tokens.issue(CALL)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters().filter(lambda character: character != token[place]))
    with pytest.raises(TokenError):
        tokens.redeem(token[:place] + other + token[place + 1 :], CALL)


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_anything_else_opens_nothing(text: str) -> None:
    assert _fault(StreamTokens(SECRET, FakeClock()), text) == ("unknown" if text else "missing")


def test_memory_is_bounded_and_freed_by_time() -> None:
    clock = FakeClock()
    tokens = StreamTokens(SECRET, clock, lifetime_s=10, max_remembered=3)
    for _ in range(3):
        tokens.redeem(tokens.issue(CALL), CALL)
    assert _fault(tokens, tokens.issue(CALL)) == "overload"
    clock.time_s += 10.1
    tokens.redeem(tokens.issue(CALL), CALL)


@pytest.mark.parametrize("call_sid", ["", "a.b", "x" * 65, "CA\n"])
def test_an_odd_call_sid_gets_no_token(call_sid: str) -> None:
    with pytest.raises(ValueError, match="call SID: expected"):
        StreamTokens(SECRET, FakeClock()).issue(call_sid)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes, got 5"):
        StreamTokens(b"short", FakeClock())
