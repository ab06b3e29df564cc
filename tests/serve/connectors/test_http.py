"""The HTTP back end beyond what one vendor shows: redirects, unreachable hosts, wrong definitions, what is logged."""

from __future__ import annotations

import asyncio
import logging

import pytest
from pydantic import JsonValue

from models.settings import SettingsError
from pipeline.tools.calls import ToolFailure
from tests.serve.connectors.fakes import Answer, FakeVendor, FakeWebhook
from tests.serve.connectors.rig import http_rig

READ: dict[str, JsonValue] = {
    "description": "Look up an order.",
    "effect": "read",
    "arguments": {"id": {"type": "string"}},
    "http": {"method": "GET", "url": "orders/{id}", "auth": "shop"},
    "returns": {"state": "state"},
}
WRITE: dict[str, JsonValue] = {
    "description": "Cancel an order.",
    "effect": "write",
    "arguments": {"id": {"type": "string"}},
    "http": {"method": "POST", "url": "orders/{id}/cancel", "auth": "shop", "body": {"id": "{id}"}},
    "returns": {"state": "state"},
}


def shop(vendor: FakeVendor, **more: JsonValue) -> dict[str, JsonValue]:
    return {
        "shop": {
            "base_url": f"{vendor.url}/v1",
            "allow_private": True,
            "auth": {"kind": "bearer", "token": {"env": "WEBHOOK_TOKEN"}},
            **more,
        }
    }


def redirect(status: int, location: str) -> Answer:
    return Answer(status, {}, (("Location", location),))


TOOLS: dict[str, JsonValue] = {"read": READ, "write": WRITE}


async def test_a_read_follows_a_redirect_within_the_system() -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        vendor.answers.extend([redirect(301, "/v2/orders/7"), Answer(200, {"state": "sent"})])
        result = await rig.call("read", id="7")
    assert result.values == {"state": "sent"}
    assert [seen.target for seen in vendor.seen] == ["/v1/orders/7", "/v2/orders/7"]


async def test_credentials_are_not_taken_along_to_another_host() -> None:
    vendor, other = FakeWebhook(), FakeWebhook()
    async with vendor.running(), other.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        vendor.answers.append(redirect(302, f"{other.url}/elsewhere"))
        failure = await rig.failure("read", id="7")
    assert "authorization" not in other.seen[0].headers
    assert not failure.retryable


async def test_a_redirect_to_where_nobody_may_go_is_refused() -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        vendor.answers.append(redirect(302, "http://169.254.169.254/latest/meta-data/"))
        failure = await rig.failure("read", id="7")
    assert "metadata" in failure.detail


async def test_redirects_end() -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor, redirects=2), TOOLS, vendor.secrets) as rig:
        vendor.answers.extend([redirect(302, "/round")] * 5)
        failure = await rig.failure("read", id="7")
    assert "more than 2 redirects" in failure.detail
    assert len(vendor.seen) == 3


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_write_is_not_sent_on_as_something_else(status: int) -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        vendor.answers.append(redirect(status, "/v2/orders"))
        failure = await rig.failure("write", id="7")
    assert (failure.retryable, failure.sent) == (False, True)
    assert len(vendor.seen) == 1


async def test_a_write_follows_307_within_the_system_with_its_body() -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        vendor.answers.extend([redirect(307, "/v2/cancel"), Answer(200, {"state": "cancelled"})])
        assert (await rig.call("write", id="7")).values == {"state": "cancelled"}
    assert vendor.seen[1].json() == {"id": "7"}


async def test_nobody_listening_means_nothing_was_sent() -> None:
    vendor = FakeWebhook()
    async with vendor.running():
        pass
    async with http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        failure = await rig.failure("write", id="7")
    assert (failure.retryable, failure.sent) == (True, False)


async def test_a_private_address_without_leave_means_nothing_was_sent() -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor, allow_private=False), TOOLS, vendor.secrets) as rig:
        failure = await rig.failure("write", id="7")
    assert (failure.retryable, failure.sent) == (False, False)
    assert "allow_private" in failure.detail
    assert vendor.seen == []


async def test_a_missing_secret_means_nothing_was_sent() -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, {}) as rig:
        failure = await rig.failure("write", id="7")
    assert (failure.retryable, failure.sent) == (False, False)
    assert "WEBHOOK_TOKEN" in failure.detail
    assert vendor.seen == []


@pytest.mark.parametrize("value", ["..", "", "."])
async def test_a_value_that_would_change_the_path_is_not_sent(value: str) -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        failure = await rig.failure("write", id=value)
    assert not failure.sent
    assert vendor.seen == []


async def test_a_value_with_slashes_and_marks_stays_one_segment() -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        vendor.answers.append(Answer(200, {"state": "x"}))
        await rig.call("read", id="../admin?x=1#y%2e")
    assert vendor.seen[0].target == "/v1/orders/..%2Fadmin%3Fx%3D1%23y%252e"


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "invalid"), (403, "forbidden"), (404, "not_found"), (409, "conflict"), (410, "not_found"), (422, "invalid")],
)
async def test_a_no_is_a_rejection_with_its_reason(status: int, code: str) -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        vendor.answers.append(Answer(status, {"error": {"message": "no\u202e\n such order"}}))
        result = await rig.call("write", id="7")
    assert (result.status, result.code) == ("rejected", code)
    assert result.detail == f"127.0.0.1: HTTP {status}: no such order"


@pytest.mark.parametrize(("status", "sent"), [(405, False), (415, False), (501, True), (304, True)])
async def test_a_wrong_request_is_a_failure_that_no_retry_helps(status: int, sent: bool) -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        vendor.answers.append(Answer(status))
        failure = await rig.failure("write", id="7")
    assert (failure.retryable, failure.sent) == (False, sent)


async def test_a_system_that_says_no_with_500_can_be_understood() -> None:
    vendor = FakeWebhook()
    call: dict[str, JsonValue] = {
        "method": "POST",
        "url": "x",
        "auth": "shop",
        "codes": {"error.code == 'shipped'": "conflict"},
    }
    tools: dict[str, JsonValue] = {"write": {**WRITE, "http": call}}
    async with vendor.running(), http_rig(shop(vendor), tools, vendor.secrets) as rig:
        vendor.answers.extend([Answer(500, {"error": {"code": "shipped"}}), Answer(500, {"error": {"code": "oops"}})])
        assert (await rig.call("write", id="7")).code == "conflict"
        assert (await rig.failure("write", id="7")).sent


async def test_answers_are_cut_and_cleaned() -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        vendor.answers.append(Answer(200, {"state": "sent\x00\u202e " + "x" * 10_000}))
        result = await rig.call("read", id="7")
    state = result.values["state"]
    assert isinstance(state, str)
    assert state.startswith("sent x")
    assert len(state) == 500


async def test_a_tool_without_returns_takes_any_body() -> None:
    vendor = FakeWebhook()
    tools: dict[str, JsonValue] = {"write": {**WRITE, "returns": {}}}
    async with vendor.running(), http_rig(shop(vendor), tools, vendor.secrets) as rig:
        vendor.troubles.append("no_json")
        assert (await rig.call("write", id="7")).status == "ok"


async def test_what_is_never_logged_is_not_in_what_the_system_said_about_it() -> None:
    vendor = FakeWebhook()
    tools: dict[str, JsonValue] = {"write": {**WRITE, "redact": ["id"]}}
    async with vendor.running(), http_rig(shop(vendor), tools, vendor.secrets) as rig:
        vendor.answers.append(Answer(422, {"message": "card 4111111111111111 is refused"}))
        result = await rig.call("write", id="4111111111111111")
    assert "41111111" not in result.detail
    assert "card ... is refused" in result.detail


async def test_a_cancelled_call_leaves_the_connection_usable_for_the_next() -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        vendor.troubles.append("slow")
        task = asyncio.create_task(rig.call("read", id="7"))
        await vendor.stuck.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        vendor.answers.append(Answer(200, {"state": "sent"}))
        assert (await rig.call("read", id="7")).status == "ok"


async def test_the_http_library_does_not_log_what_callers_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    vendor = FakeWebhook()
    tools: dict[str, JsonValue] = {
        "read": {**READ, "http": {"method": "GET", "url": "orders", "auth": "shop", "query": {"id": "{id}"}}}
    }
    async with vendor.running(), http_rig(shop(vendor), tools, vendor.secrets) as rig:
        vendor.answers.append(Answer(200, {"state": "sent"}))
        await rig.call("read", id="4111111111111111")
    assert "41111111" not in caplog.text
    assert "token-0" not in caplog.text


WRONG: list[tuple[dict[str, JsonValue], str]] = [
    ({"http": {"method": "GET", "url": "orders/{order}", "auth": "shop"}}, "no such argument: order"),
    ({"http": {"method": "GET", "url": "orders", "auth": "nobody"}}, "no HTTP connection is called 'nobody'"),
    ({"http": {"method": "GET", "url": "orders"}}, "is relative"),
    ({"http": {"method": "GET", "url": "https://other.example.com/orders", "auth": "shop"}}, "another host"),
    ({"http": {"method": "GET", "url": "https://{id}.example.com/x"}}, "fixed host"),
    ({"http": {"method": "GET", "url": "orders?id={id}", "auth": "shop"}}, "http.query"),
    ({"http": {"method": "GET", "url": "orders/{id", "auth": "shop"}}, "brace"),
    ({"returns": {"state": "state["}}, "expected a JMESPath expression"),
    (
        {"http": {"method": "GET", "url": "orders", "auth": "shop", "codes": {"a ==": "conflict"}}},
        "expected a JMESPath expression",
    ),
]


@pytest.mark.parametrize(("changed", "message"), WRONG)
async def test_a_tool_that_cannot_work_is_refused_before_the_first_call(
    changed: dict[str, JsonValue], message: str
) -> None:
    vendor = FakeWebhook()
    async with vendor.running():
        with pytest.raises(SettingsError, match=message):
            async with http_rig(shop(vendor), {"read": {**READ, **changed}}, vendor.secrets):
                pass


async def test_a_json_document_may_not_hold_what_json_has_not() -> None:
    vendor = FakeWebhook()
    async with vendor.running(), http_rig(shop(vendor), TOOLS, vendor.secrets) as rig:
        vendor.answers.append(Answer(200, {"state": float("nan")}))
        with pytest.raises(ToolFailure, match="expected JSON"):
            await rig.call("read", id="7")
