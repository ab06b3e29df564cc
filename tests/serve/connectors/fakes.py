"""Vendors' systems as real HTTP servers on 127.0.0.1: their ways to authenticate, their answers, their error shapes."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.test_utils import RawTestServer

Trouble = Literal["expired", "busy", "down", "slow", "half", "no_json", "huge", "cut"]
Json = dict[str, object] | list[object]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came over the wire."""

    method: str
    target: str
    """Path and query, still escaped."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> object:
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    json: object = None
    """None: no body."""
    headers: tuple[tuple[str, str], ...] = ()


class FakeVendor:
    """A system that takes a fixed secret. Serves `answers` in turn; `troubles` come first, one a request."""

    name: ClassVar[str]
    settings: ClassVar[dict[str, object]]
    """What an agent file says about it beyond its address."""
    secrets: ClassVar[dict[str, str]]
    """The environment."""
    token_path: ClassVar[str | None] = None

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[Seen] = []
        self.token_requests: list[Seen] = []
        self.troubles: deque[Trouble] = deque()
        self.token_troubles: deque[Answer] = deque()
        self.answers: deque[Answer] = deque()
        self.tokens_issued = 0
        self.stuck = asyncio.Event()
        """Set once a slow answer is being waited for."""
        self._closing = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        server = RawTestServer(self._handle)
        await server.start_server(access_log=None)
        self.url = f"http://127.0.0.1:{server.port}"
        try:
            yield
        finally:
            self._closing.set()
            await server.close()

    def authorization(self) -> str:
        """The header that counts now."""
        return f"Bearer token-{self.tokens_issued}"

    def authorized(self, request: Seen) -> bool:
        return request.headers.get("authorization") == self.authorization()

    def expired(self) -> Answer:
        raise NotImplementedError

    def busy(self) -> Answer:
        raise NotImplementedError

    def down(self) -> Answer:
        return Answer(503, {"message": "Service Unavailable"})

    def token(self, request: Seen) -> Answer:
        raise NotImplementedError

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = Seen(
            request.method,
            request.raw_path,
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
        )
        if self.token_path is not None and seen.target == self.token_path:
            self.token_requests.append(seen)
            return _response(self.token_troubles.popleft() if self.token_troubles else self.token(seen))
        self.seen.append(seen)
        if self.troubles:
            return await self._trouble(self.troubles.popleft(), request)
        if not self.authorized(seen):
            return _response(self.expired())
        return _response(self.answers.popleft())

    async def _trouble(self, trouble: Trouble, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        match trouble:
            case "expired":
                return _response(self.expired())
            case "busy":
                return _response(self.busy())
            case "down":
                return _response(self.down())
            case "slow":
                self.stuck.set()
                await self._closing.wait()
                return web.Response(status=200)
            case "cut":
                request.transport.close()
                return web.Response(status=200)
            case "half":
                half = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
                await half.prepare(request)
                await half.write(b'{"id": "50')
                request.transport.close()
                return half
            case "no_json":
                return web.Response(body=b"<html>Maintenance</html>", content_type="text/html")
            case "huge":
                return web.Response(body=b'"' + b"x" * 2_000_000 + b'"', content_type="application/json")


def _response(answer: Answer) -> web.Response:
    body = b"" if answer.json is None else json.dumps(answer.json).encode()
    return web.Response(body=body, status=answer.status, headers=dict(answer.headers), content_type="application/json")


class FakeSalesforce(FakeVendor):
    name = "salesforce"
    settings: ClassVar[dict[str, object]] = {"client_id": "consumer-key", "client_secret": {"env": "SF_SECRET"}}
    secrets: ClassVar[dict[str, str]] = {"SF_SECRET": "sf-secret-value"}
    token_path = "/services/oauth2/token"

    def token(self, request: Seen) -> Answer:
        assert request.form() == {
            "grant_type": "client_credentials",
            "client_id": "consumer-key",
            "client_secret": "sf-secret-value",
        }
        self.tokens_issued += 1
        # No expires_in: the life of a session is a setting of the org.
        return Answer(
            200,
            {
                "access_token": f"token-{self.tokens_issued}",
                "instance_url": self.url,
                "id": f"{self.url}/id/00Dxx/005xx",
                "token_type": "Bearer",
                "issued_at": "1764000000000",
                "signature": "c2ln",
            },
        )

    def expired(self) -> Answer:
        return Answer(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])

    def busy(self) -> Answer:
        return Answer(403, [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}])

    def down(self) -> Answer:
        return Answer(503, [{"message": "Server unavailable", "errorCode": "SERVER_UNAVAILABLE"}])


class FakeHubSpot(FakeVendor):
    name = "hubspot"
    settings: ClassVar[dict[str, object]] = {"token": {"env": "HUBSPOT_TOKEN"}}
    secrets: ClassVar[dict[str, str]] = {"HUBSPOT_TOKEN": "token-0"}

    def expired(self) -> Answer:
        return Answer(
            401,
            {
                "status": "error",
                "message": "Authentication credentials not found.",
                "correlationId": "a1",
                "category": "INVALID_AUTHENTICATION",
            },
        )

    def busy(self) -> Answer:
        return Answer(
            429,
            {
                "status": "error",
                "message": "You have reached your secondly limit.",
                "errorType": "RATE_LIMIT",
                "correlationId": "a2",
                "policyName": "SECONDLY",
            },
        )


class FakeZoho(FakeVendor):
    name = "zoho"
    settings: ClassVar[dict[str, object]] = {
        "client_id": "1000.CLIENT",
        "client_secret": {"env": "ZOHO_SECRET"},
        "refresh_token": {"env": "ZOHO_REFRESH"},
    }
    secrets: ClassVar[dict[str, str]] = {"ZOHO_SECRET": "zoho-secret-value", "ZOHO_REFRESH": "1000.refresh"}
    token_path = "/oauth/v2/token"

    def token(self, request: Seen) -> Answer:
        assert request.form() == {
            "grant_type": "refresh_token",
            "client_id": "1000.CLIENT",
            "client_secret": "zoho-secret-value",
            "refresh_token": "1000.refresh",
        }
        self.tokens_issued += 1
        return Answer(
            200,
            {
                "access_token": f"token-{self.tokens_issued}",
                "api_domain": self.url,
                "token_type": "Bearer",
                "expires_in": 3600,
            },
        )

    def authorization(self) -> str:
        return f"Zoho-oauthtoken token-{self.tokens_issued}"

    def expired(self) -> Answer:
        return Answer(
            401, {"code": "INVALID_TOKEN", "details": {}, "message": "invalid oauth token", "status": "error"}
        )

    def busy(self) -> Answer:
        return Answer(
            429, {"code": "TOO_MANY_REQUESTS", "details": {}, "message": "too many requests", "status": "error"}
        )


class FakeZendesk(FakeVendor):
    name = "zendesk"
    settings: ClassVar[dict[str, object]] = {"client_id": "trunkline", "client_secret": {"env": "ZENDESK_SECRET"}}
    secrets: ClassVar[dict[str, str]] = {"ZENDESK_SECRET": "zendesk-secret-value"}
    token_path = "/oauth/tokens"

    def token(self, request: Seen) -> Answer:
        assert request.json() == {
            "grant_type": "client_credentials",
            "client_id": "trunkline",
            "client_secret": "zendesk-secret-value",
            "scope": "read write",
        }
        self.tokens_issued += 1
        return Answer(
            200,
            {
                "access_token": f"token-{self.tokens_issued}",
                "token_type": "bearer",
                "scope": "read write",
                "expires_in": 7200,
            },
        )

    def expired(self) -> Answer:
        return Answer(
            401, {"error": "invalid_token", "error_description": "The access token provided is expired, or revoked"}
        )

    def busy(self) -> Answer:
        return Answer(429, "Number of allowed API requests per minute exceeded", (("Retry-After", "7"),))


class FakeCalendly(FakeVendor):
    name = "calendly"
    settings: ClassVar[dict[str, object]] = {
        "token": {"env": "CALENDLY_TOKEN"},
        "event_type": "https://api.calendly.com/event_types/AAAA",
    }
    secrets: ClassVar[dict[str, str]] = {"CALENDLY_TOKEN": "token-0"}

    def expired(self) -> Answer:
        return Answer(401, {"title": "Unauthenticated", "message": "The access token is invalid"})

    def busy(self) -> Answer:
        return Answer(
            429,
            {"title": "Too Many Requests", "message": "Rate limit exceeded"},
            (("Retry-After", "Wed, 25 Nov 2026 02:00:30 GMT"),),
        )


class FakeTwilio(FakeVendor):
    name = "twilio"
    settings: ClassVar[dict[str, object]] = {
        "account_sid": "AC0",
        "key_sid": "SK0",
        "key_secret": {"env": "TWILIO_KEY_SECRET"},
        "from": "+15550001111",
    }
    secrets: ClassVar[dict[str, str]] = {"TWILIO_KEY_SECRET": "twilio-secret-value"}

    def authorization(self) -> str:
        return "Basic " + base64.b64encode(b"SK0:twilio-secret-value").decode()

    def expired(self) -> Answer:
        return Answer(401, {"code": 20003, "message": "Authenticate", "status": 401})

    def busy(self) -> Answer:
        return Answer(429, {"code": 20429, "message": "Too Many Requests", "status": 429})


class FakeWebhook(FakeVendor):
    name = "webhook"
    settings: ClassVar[dict[str, object]] = {"token": {"env": "WEBHOOK_TOKEN"}}
    secrets: ClassVar[dict[str, str]] = {"WEBHOOK_TOKEN": "token-0"}

    def expired(self) -> Answer:
        return Answer(401, {"error": "unauthorized"})

    def busy(self) -> Answer:
        return Answer(429, {"error": "slow down"}, (("Retry-After", "2"),))


VENDORS: tuple[type[FakeVendor], ...] = (
    FakeSalesforce,
    FakeHubSpot,
    FakeZoho,
    FakeZendesk,
    FakeCalendly,
    FakeTwilio,
    FakeWebhook,
)
