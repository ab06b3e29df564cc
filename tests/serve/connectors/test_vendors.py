"""Every preset against its vendor's fake: the exact request of each tool, and what each way to fail comes to."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import Field, JsonValue, TypeAdapter

from models.settings import StrictModel
from serve.connectors.presets import PRESETS
from tests.serve.connectors.fakes import VENDORS, Answer, FakeVendor, Trouble
from tests.serve.connectors.rig import Rig, http_rig

GOLDEN = Path(__file__).parent / "golden"


class GoldenRequest(StrictModel):
    method: str
    target: str
    headers: dict[str, str]
    json_body: JsonValue = None
    form: dict[str, str] | None = None


class GoldenAnswer(StrictModel):
    status: int
    body: JsonValue = None


class GoldenResult(StrictModel):
    status: Literal["ok", "rejected"]
    values: dict[str, JsonValue] = Field(default_factory=dict)
    code: str = ""


class Exchange(StrictModel):
    tool: str
    arguments: dict[str, JsonValue]
    request: GoldenRequest | None = None
    answer: GoldenAnswer
    result: GoldenResult


@functools.cache
def preset_tools(vendor: str) -> tuple[str, ...]:
    return tuple(yaml.safe_load((PRESETS / f"{vendor}.yaml").read_text(encoding="utf-8"))["tools"])


@functools.cache
def exchanges(vendor: str) -> list[Exchange]:
    entries = yaml.safe_load((GOLDEN / f"{vendor}.yaml").read_text(encoding="utf-8"))
    for entry in entries:
        entry["answer"]["body"] = entry["answer"].pop("json", None)
        if "request" in entry:
            entry["request"]["json_body"] = entry["request"].pop("json", None)
    return TypeAdapter(list[Exchange]).validate_python(entries)


@asynccontextmanager
async def vendor_rig(vendor: FakeVendor, **extra: JsonValue) -> AsyncGenerator[Rig, None]:
    async with vendor.running():
        connection: dict[str, object] = {
            "preset": vendor.name,
            "base_url": vendor.url,
            "allow_private": True,
            **({"accounts_url": vendor.url} if vendor.name == "zoho" else {}),
            **vendor.settings,
        }
        tools = {name: {"use": f"crm.{name}", **extra} for name in preset_tools(vendor.name)}
        async with http_rig({"crm": connection}, tools, vendor.secrets) as rig:  # type: ignore[dict-item]
            yield rig


def example(vendor: FakeVendor, effect: str, rig: Rig) -> Exchange:
    """A golden exchange of that effect which succeeds."""
    return next(
        item
        for item in exchanges(vendor.name)
        if item.result.status == "ok" and rig.expanded.tools[item.tool].effect == effect
    )


ALL_EXCHANGES = [
    pytest.param(vendor, exchange, id=f"{vendor.name}-{exchange.tool}-{exchange.result.code or 'ok'}-{index}")
    for vendor in VENDORS
    for index, exchange in enumerate(exchanges(vendor.name))
]


@pytest.mark.parametrize(("kind", "exchange"), ALL_EXCHANGES)
async def test_a_tool_sends_exactly_this_and_makes_that_of_the_answer(
    kind: type[FakeVendor], exchange: Exchange
) -> None:
    vendor = kind()
    async with vendor_rig(vendor) as rig:
        vendor.answers.append(Answer(exchange.answer.status, exchange.answer.body))
        result = await rig.call(exchange.tool, **exchange.arguments)
    assert result.status == exchange.result.status
    assert result.code == exchange.result.code
    assert dict(result.values) == exchange.result.values
    [seen] = vendor.seen
    if exchange.request is not None:
        assert (seen.method, seen.target) == (exchange.request.method, exchange.request.target)
        assert exchange.request.headers.items() <= seen.headers.items()
        assert seen.headers["host"] == vendor.url.removeprefix("http://")
        if exchange.request.form is not None:
            assert seen.form() == exchange.request.form
        elif exchange.request.json_body is not None:
            assert seen.json() == exchange.request.json_body
        else:
            assert seen.body == b""


def test_every_tool_of_every_preset_has_a_golden_request() -> None:
    for path in PRESETS.glob("*.yaml"):
        tools = set(preset_tools(path.stem))
        assert {item.tool for item in exchanges(path.stem) if item.request is not None} == tools


FETCHES_TOKENS = [kind for kind in VENDORS if kind.token_path is not None]
FIXED_SECRETS = [kind for kind in VENDORS if kind.token_path is None]


@pytest.mark.parametrize("kind", FETCHES_TOKENS)
async def test_a_token_that_expired_early_is_replaced_and_the_request_sent_again(kind: type[FakeVendor]) -> None:
    vendor = kind()
    async with vendor_rig(vendor) as rig:
        exchange = example(vendor, "write", rig)
        vendor.troubles.append("expired")
        vendor.answers.append(Answer(exchange.answer.status, exchange.answer.body))
        result = await rig.call(exchange.tool, **exchange.arguments)
    assert result.status == "ok"
    assert len(vendor.token_requests) == 2
    assert len(vendor.seen) == 2
    assert vendor.seen[0].body == vendor.seen[1].body


@pytest.mark.parametrize("kind", FETCHES_TOKENS)
async def test_a_second_401_is_a_failure_that_did_nothing(kind: type[FakeVendor]) -> None:
    vendor = kind()
    async with vendor_rig(vendor) as rig:
        exchange = example(vendor, "write", rig)
        vendor.troubles.extend(["expired", "expired"])
        failure = await rig.failure(exchange.tool, **exchange.arguments)
    assert (failure.retryable, failure.sent) == (False, False)
    assert "credentials" in failure.detail


@pytest.mark.parametrize("kind", FIXED_SECRETS)
async def test_a_refused_secret_is_not_tried_again(kind: type[FakeVendor]) -> None:
    vendor = kind()
    async with vendor_rig(vendor) as rig:
        exchange = example(vendor, "write", rig)
        vendor.troubles.append("expired")
        failure = await rig.failure(exchange.tool, **exchange.arguments)
    assert (failure.retryable, failure.sent) == (False, False)
    assert len(vendor.seen) == 1


WAITS_S = {"zendesk": 7.0, "calendly": 30.0, "webhook": 2.0}


@pytest.mark.parametrize("kind", VENDORS)
async def test_a_vendor_with_too_much_to_do_did_nothing_and_says_when_to_come_back(kind: type[FakeVendor]) -> None:
    vendor = kind()
    async with vendor_rig(vendor) as rig:
        exchange = example(vendor, "write", rig)
        vendor.troubles.append("busy")
        failure = await rig.failure(exchange.tool, **exchange.arguments)
    assert (failure.retryable, failure.sent) == (True, False)
    assert failure.retry_after_s == WAITS_S.get(vendor.name)


AFTER_SENDING: list[tuple[Trouble, bool]] = [
    ("down", True),
    ("slow", True),
    ("half", True),
    ("cut", True),
    ("no_json", True),
    ("huge", False),
]
"""Trouble, and whether another try may help."""


@pytest.mark.parametrize("kind", VENDORS)
@pytest.mark.parametrize(("trouble", "retryable"), AFTER_SENDING)
async def test_after_trouble_in_the_answer_a_write_may_have_been_done(
    kind: type[FakeVendor], trouble: Trouble, retryable: bool
) -> None:
    vendor = kind()
    async with vendor_rig(vendor, timeout_s=0.15 if trouble == "slow" else 5.0) as rig:
        exchange = example(vendor, "write", rig)
        vendor.troubles.append(trouble)
        failure = await rig.failure(exchange.tool, **exchange.arguments)
    assert (failure.retryable, failure.sent) == (retryable, True)
    assert len(vendor.seen) == 1


@pytest.mark.parametrize("kind", VENDORS)
async def test_no_secret_is_in_errors_or_reprs(kind: type[FakeVendor]) -> None:
    vendor = kind()
    shown = []
    async with vendor_rig(vendor, timeout_s=0.15) as rig:
        exchange = example(vendor, "write", rig)
        troubles: list[Trouble] = ["down", "slow", "half", "no_json", "busy"]
        for trouble in troubles:
            vendor.troubles.append(trouble)
            failure = await rig.failure(exchange.tool, **exchange.arguments)
            shown += [str(failure), repr(failure), failure.detail, repr(failure.__cause__)]
        shown += [repr(rig.expanded), repr(rig.backend), str(vars(rig.backend))]
    text = "\n".join(shown)
    for secret in (*vendor.secrets.values(), "token-1"):
        assert secret not in text
