"""Tools that are HTTP requests: templates become a request, the answer becomes values, a code or a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from models.settings import SettingsError
from pipeline.clock import Clock
from pipeline.tools.calls import ToolCall, ToolFailure, ToolResult
from pipeline.tools.definition import JsonValue, Tool
from serve.connectors.addresses import RefusedAddress
from serve.connectors.answers import AnswerError, message, parse_json
from serve.connectors.auth import Credentials, credentials
from serve.connectors.connection import HttpConnection
from serve.connectors.http_plan import Plan, Request
from serve.connectors.retry_after import retry_after_s
from serve.connectors.secret_values import SecretReader
from serve.connectors.templates import TemplateError
from serve.connectors.transport import ConnectorClient

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAFE = frozenset({"GET", "HEAD"})
_CONNECT_S = 3.0

OUR_SHARE = 0.95
"""Share of a tool's time-out after which a back end gives up: a little before the runner does, for only the back end
knows whether anything was sent."""


@dataclass(slots=True)
class _Progress:
    """How far an attempt has come."""

    sent: bool = False
    """The system may have begun to act: bytes of the request have gone out and it has not refused them since."""

    async def trace(self, event: str, info: Mapping[str, object]) -> None:
        if event == "http11.send_request_headers.started":
            self.sent = True


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: httpx.Headers
    body: bytes


class HttpBackend:
    """Carries out tools whose back end is `http`. One for a process; its connections' tokens are shared by all calls.

    Everything a tool says is checked when this is made: raises SettingsError naming the tool.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool],
        connections: Mapping[str, HttpConnection],
        *,
        client: ConnectorClient,
        secrets: SecretReader,
        clock: Clock,
    ) -> None:
        self._client = client
        self._clock = clock
        self._plans = {
            name: Plan.of(name, tool, tool.http, connections) for name, tool in tools.items() if tool.http is not None
        }
        self._credentials: dict[str, Credentials] = {
            name: credentials(
                connection.auth, secrets=secrets, client=client, clock=clock, allow_private=connection.allow_private
            )
            for name, connection in connections.items()
        }

    async def call(self, tool: Tool, call: ToolCall) -> ToolResult:
        """One attempt. Raises ToolFailure; its `sent` is exact: false only if the system cannot have begun to act."""
        plan = self._plans[call.tool]
        progress = _Progress()
        try:
            async with asyncio.timeout(tool.timeout_s * OUR_SHARE):
                answer = await self._exchange(plan, call, tool.timeout_s, progress)
            return self._result(plan, call, answer)
        except (SettingsError, TemplateError) as error:
            raise _failure(str(error), sent=progress.sent) from error
        except RefusedAddress as error:
            raise _failure(str(error), sent=progress.sent) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise _failure(f"{plan.host}: this request cannot be sent ({error})", sent=progress.sent) from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise _failure(f"{plan.host}: no answer in time", sent=progress.sent, retryable=True) from error
        except httpx.RequestError as error:
            what = f"{plan.host}: the connection failed ({type(error).__name__})"
            raise _failure(what, sent=progress.sent, retryable=True) from error

    async def _exchange(self, plan: Plan, call: ToolCall, timeout_s: float, progress: _Progress) -> _Answer:
        request = plan.request(call, self._clock.wall_time_s())
        proof = await self._proof(plan)
        answer = await self._follow(plan, request, proof, timeout_s, progress)
        if answer.status == 401 and plan.connection_name is not None:
            progress.sent = False
            if self._credentials[plan.connection_name].refused(proof):
                proof = await self._proof(plan)
                answer = await self._follow(plan, request, proof, timeout_s, progress)
        return answer

    async def _proof(self, plan: Plan) -> Mapping[str, str]:
        return {} if plan.connection_name is None else await self._credentials[plan.connection_name].headers()

    async def _follow(
        self, plan: Plan, request: Request, proof: Mapping[str, str], timeout_s: float, progress: _Progress
    ) -> _Answer:
        url, headers = request.url, {**request.headers, **proof}
        for _ in range(plan.connection.redirects + 1):
            answer = await self._send(plan, request, url, headers, timeout_s, progress)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            target = url.join(location).copy_with(fragment=None)
            same_origin = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
            if request.method not in _SAFE and (answer.status not in (307, 308) or not same_origin):
                raise _failure(
                    f"{plan.host}: a {request.method} is sent on to {target.host}; such a redirect is not followed: "
                    "correct the connection's base_url",
                    sent=progress.sent,
                )
            if not same_origin:
                headers = {}
            url = target
        raise _failure(f"{plan.host}: more than {plan.connection.redirects} redirects", sent=progress.sent)

    async def _send(
        self,
        plan: Plan,
        request: Request,
        url: httpx.URL,
        headers: Mapping[str, str],
        timeout_s: float,
        progress: _Progress,
    ) -> _Answer:
        async with self._client.stream(
            request.method,
            url,
            headers=headers,
            content=request.content,
            limit=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            allow_private=plan.connection.allow_private,
            trace=progress.trace,
        ) as response:
            most = plan.connection.largest_answer_kb * 1024
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > most:
                    raise _failure(
                        f"{plan.host}: the answer is larger than {most // 1024} KB; ask for less, or raise "
                        "largest_answer_kb in the connection",
                        sent=progress.sent,
                    )
            return _Answer(response.status_code, response.headers, bytes(body))

    def _result(self, plan: Plan, call: ToolCall, answer: _Answer) -> ToolResult:
        status, body = answer.status, _lenient(answer.body)
        wait_s = retry_after_s(answer.headers, self._clock.wall_time_s())
        said = plan.without_secrets(call, message(body))
        detail = f"{plan.host}: HTTP {status}" + (f": {said}" if said else "")
        if status >= 400 and (status in (408, 425, 429) or plan.is_busy(body)):
            raise _failure(detail, sent=False, retryable=True, retry_after_s=wait_s)
        if status in (401, 407):
            raise _failure(f"{detail}; check the connection's credentials", sent=False)
        code = plan.rejections.code(status, body)
        if code is not None:
            return ToolResult(status="rejected", values={}, code=code, detail=detail)
        if status >= 500:
            raise _failure(detail, sent=True, retryable=status not in (501, 505), retry_after_s=wait_s)
        if not 200 <= status < 300:
            raise _failure(detail, sent=status < 400)
        try:
            values = plan.projection.values(parse_json(answer.body) if plan.needs_json else None)
        except AnswerError as error:
            raise _failure(f"{detail}: {error}", sent=True, retryable=True) from error
        return ToolResult(status="ok", values=values)


def _lenient(body: bytes) -> JsonValue:
    """The body if it is JSON; errors often are none."""
    try:
        return parse_json(body)
    except AnswerError:
        return None


def _failure(detail: str, *, sent: bool, retryable: bool = False, retry_after_s: float | None = None) -> ToolFailure:
    return ToolFailure(retryable=retryable, sent=sent, retry_after_s=retry_after_s, detail=detail)
