"""Tokens: fetched once however many need one, kept for their life, replaced when refused, never shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import TypeAdapter

from models.settings import SettingsError
from pipeline.tools.calls import ToolFailure
from serve.connectors.auth import JWT_BEARER, Credentials, TokenCredentials, credentials
from serve.connectors.connection import Auth
from serve.connectors.retry_after import retry_after_s
from serve.connectors.secret_values import SecretReader, SecretRef
from serve.connectors.transport import ConnectorClient
from tests.serve.connectors.fakes import Answer, FakeVendor, Seen
from tests.serve.connectors.rig import WALL_TIME_S, FakeClock, trust


class FakeTokens(FakeVendor):
    """Only a token endpoint; `answer` makes what it says from how many it has issued."""

    name = "tokens"
    token_path = "/token"

    def __init__(self, answer: Callable[[int], Answer]) -> None:
        super().__init__()
        self.answer = answer

    def token(self, request: Seen) -> Answer:
        self.tokens_issued += 1
        return self.answer(self.tokens_issued)


def lasting(expires_in: float) -> Callable[[int], Answer]:
    return lambda count: Answer(200, {"access_token": f"token-{count}", "expires_in": expires_in})


CLIENT = {"kind": "client_credentials", "client_id": "us", "client_secret": {"env": "SECRET"}}


@asynccontextmanager
async def made(
    auth: dict[str, object], tokens: FakeTokens, clock: FakeClock, environment: dict[str, str] | None = None
) -> AsyncGenerator[Credentials, None]:
    async with tokens.running(), ConnectorClient(verify=trust()) as client:
        yield credentials(
            TypeAdapter[Auth](Auth).validate_python({**auth, "token_url": f"{tokens.url}/token"}, strict=False),
            secrets=SecretReader(environment or {"SECRET": "s3cret-value"}),
            client=client,
            clock=clock,
            allow_private=True,
        )


async def test_a_hundred_calls_at_once_fetch_one_token() -> None:
    tokens = FakeTokens(lasting(3600))
    async with made(CLIENT, tokens, FakeClock()) as proof:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(proof.headers()) for _ in range(100)]
        assert {task.result()["Authorization"] for task in tasks} == {"Bearer token-1"}
    assert len(tokens.token_requests) == 1


async def test_a_failed_fetch_fails_everybody_who_waited_for_it_and_the_next_tries_again() -> None:
    tokens = FakeTokens(lasting(3600))
    tokens.token_troubles.append(Answer(503, headers=(("Retry-After", "3"),)))
    async with made(CLIENT, tokens, FakeClock()) as proof:
        outcomes = await asyncio.gather(*(proof.headers() for _ in range(20)), return_exceptions=True)
        assert all(isinstance(outcome, ToolFailure) for outcome in outcomes)
        assert {(o.retryable, o.sent, o.retry_after_s) for o in outcomes if isinstance(o, ToolFailure)} == {
            (True, False, 3.0)
        }
        assert len(tokens.token_requests) == 1
        assert await proof.headers() == {"Authorization": "Bearer token-1"}


async def test_a_caller_who_hangs_up_while_the_token_is_fetched_takes_it_from_nobody() -> None:
    tokens = FakeTokens(lasting(3600))
    async with made(CLIENT, tokens, FakeClock()) as proof:
        first = asyncio.create_task(proof.headers())
        second = asyncio.create_task(proof.headers())
        await asyncio.sleep(0)
        first.cancel()
        assert (await second)["Authorization"].startswith("Bearer token-")
        assert first.cancelled()


async def test_a_token_is_replaced_a_minute_before_it_expires() -> None:
    tokens, clock = FakeTokens(lasting(3600)), FakeClock()
    async with made(CLIENT, tokens, clock) as proof:
        assert await proof.headers() == {"Authorization": "Bearer token-1"}
        clock.time_s = 3539
        assert await proof.headers() == {"Authorization": "Bearer token-1"}
        clock.time_s = 3541
        assert await proof.headers() == {"Authorization": "Bearer token-2"}


async def test_a_token_that_lives_less_than_two_minutes_is_used_for_half_its_life() -> None:
    tokens, clock = FakeTokens(lasting(30)), FakeClock()
    async with made(CLIENT, tokens, clock) as proof:
        await proof.headers()
        clock.time_s = 14
        assert await proof.headers() == {"Authorization": "Bearer token-1"}
        clock.time_s = 16
        assert await proof.headers() == {"Authorization": "Bearer token-2"}


async def test_a_late_401_for_an_old_token_does_not_throw_the_new_one_away() -> None:
    tokens = FakeTokens(lasting(3600))
    async with made(CLIENT, tokens, FakeClock()) as proof:
        old = await proof.headers()
        assert proof.refused(old)
        new = await proof.headers()
        assert proof.refused(old)
        assert await proof.headers() == new
    assert len(tokens.token_requests) == 2


@pytest.mark.parametrize(
    ("answer", "retryable"),
    [
        (Answer(400, {"error": "invalid_grant", "error_description": "s3cret-value"}), False),
        (Answer(200, {"error": "invalid_code"}), False),  # Zoho
        (Answer(401, None), False),
        (Answer(200, {"access_token": "a\r\nb"}), False),
        (Answer(200, ["token"]), False),
        (Answer(429, None), True),
        (Answer(502, None), True),
        (Answer(302, None, (("Location", "https://elsewhere.example.com"),)), False),
    ],
)
async def test_a_refused_token_request_says_why_and_nothing_secret(answer: Answer, retryable: bool) -> None:
    tokens = FakeTokens(lasting(1))
    tokens.token_troubles.append(answer)
    async with made(CLIENT, tokens, FakeClock()) as proof:
        with pytest.raises(ToolFailure) as failed:
            await proof.headers()
    assert (failed.value.retryable, failed.value.sent) == (retryable, False)
    assert f"HTTP {answer.status}" in failed.value.detail
    assert "s3cret" not in failed.value.detail


async def test_nobody_at_the_token_endpoint_is_a_failure_that_may_pass() -> None:
    tokens = FakeTokens(lasting(1))
    async with made(CLIENT, tokens, FakeClock()) as proof:
        pass
    async with ConnectorClient(verify=trust()) as client:
        proof = TokenCredentials(
            proof._auth,  # type: ignore[attr-defined]
            secrets=SecretReader({"SECRET": "x"}),
            client=client,
            clock=FakeClock(),
            allow_private=True,
        )
        with pytest.raises(ToolFailure) as failed:
            await proof.headers()
    assert (failed.value.retryable, failed.value.sent) == (True, False)


async def test_a_client_may_prove_itself_in_a_header_instead() -> None:
    tokens = FakeTokens(lasting(3600))
    auth = {**CLIENT, "client_in": "basic", "scope": "crm", "parameters": {"audience": "https://crm"}}
    async with made(auth, tokens, FakeClock()) as proof:
        await proof.headers()
    [request] = tokens.token_requests
    assert request.headers["authorization"] == "Basic dXM6czNjcmV0LXZhbHVl"
    assert request.form() == {"grant_type": "client_credentials", "scope": "crm", "audience": "https://crm"}


async def test_a_refresh_token_that_was_replaced_is_used_from_then_on() -> None:
    tokens = FakeTokens(
        lambda count: Answer(200, {"access_token": f"t{count}", "refresh_token": f"r{count}", "expires_in": 60})
    )
    auth = {**CLIENT, "kind": "refresh_token", "refresh_token": {"env": "SECRET"}}
    clock = FakeClock()
    async with made(auth, tokens, clock) as proof:
        await proof.headers()
        clock.time_s = 100
        await proof.headers()
    assert [request.form()["refresh_token"] for request in tokens.token_requests] == ["s3cret-value", "r1"]


async def test_a_jwt_bearer_signs_a_short_statement_about_itself() -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    tokens = FakeTokens(lasting(3600))
    auth: dict[str, object] = {
        "kind": "jwt_bearer",
        "private_key": {"env": "KEY"},
        "issuer": "consumer-key",
        "subject": "agent@example.com",
        "audience": "https://login.example.com",
        "key_id": "k1",
    }
    async with made(auth, tokens, FakeClock(), {"KEY": pem}) as proof:
        await proof.headers()
    form = tokens.token_requests[0].form()
    assert form["grant_type"] == JWT_BEARER
    claims = jwt.decode(
        form["assertion"],
        key.public_key(),
        algorithms=["RS256"],
        audience="https://login.example.com",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert (claims["iss"], claims["sub"]) == ("consumer-key", "agent@example.com")
    assert (claims["iat"], claims["exp"]) == (WALL_TIME_S, WALL_TIME_S + 180)
    assert jwt.get_unverified_header(form["assertion"])["kid"] == "k1"


async def test_a_key_that_is_none_is_named_without_being_shown() -> None:
    auth: dict[str, object] = {"kind": "jwt_bearer", "private_key": {"env": "KEY"}, "issuer": "a", "audience": "b"}
    async with made(auth, FakeTokens(lasting(1)), FakeClock(), {"KEY": "not-a-key-at-all"}) as proof:
        with pytest.raises(SettingsError, match="environment variable KEY") as failed:
            await proof.headers()
    assert "not-a-key-at-all" not in str(failed.value)


async def test_a_secret_in_a_file_may_be_rotated(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first\n", encoding="utf-8")
    auth = {"kind": "api_key", "header": "X-Api-Key", "key": {"file": str(file)}}
    async with ConnectorClient(verify=trust()) as client:
        proof = credentials(
            TypeAdapter[Auth](Auth).validate_python(auth, strict=False),
            secrets=SecretReader({}),
            client=client,
            clock=FakeClock(),
            allow_private=False,
        )
        old = await proof.headers()
        assert old == {"X-Api-Key": "first"}
        assert not proof.refused(old)
        file.write_text("second\n", encoding="utf-8")
        assert proof.refused(old)
        assert await proof.headers() == {"X-Api-Key": "second"}


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        (SecretRef(env="NOT_SET"), "NOT_SET: missing"),
        (SecretRef(file=Path("/nowhere/secret")), "/nowhere/secret: cannot be read"),
    ],
)
def test_a_missing_secret_is_named(ref: SecretRef, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SecretReader({}).read(ref)


@pytest.mark.parametrize("given", [{}, {"env": "A", "file": "b"}])
def test_a_secret_is_in_one_place(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either"):
        SecretRef.model_validate(given, strict=False)


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("5", 5.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("99999", 3600.0),
        ("Wed, 25 Nov 2026 02:01:00 GMT", 60.0),
        ("Wed, 25 Nov 2026 01:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, wait_s: float | None) -> None:
    assert retry_after_s({"Retry-After": header}, WALL_TIME_S) == wait_s
