"""An operation of an OpenAPI file as a tool."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import JsonValue

from models.settings import SettingsError
from serve.connectors.presets import expand
from serve.connectors.schemas import arguments_of
from tests.serve.connectors.fakes import Answer, FakeVendor, FakeWebhook
from tests.serve.connectors.rig import Rig, http_rig

FILE = Path(__file__).with_name("shop_openapi.yaml")
AGENT = str(FILE.with_name("agent.yaml"))
"""Where an agent file beside it would be."""


SERVER = "https://api.shop.example/v1"


def tool(name: str, **more: JsonValue) -> dict[str, JsonValue]:
    return {
        "description": "About an order.",
        "effect": "read",
        "openapi": {"file": FILE.name, "operation": name},
        **more,
    }


def shop(url: str = SERVER) -> dict[str, JsonValue]:
    return {
        "shop": {
            "base_url": url,
            "allow_private": True,
            "auth": {"kind": "bearer", "token": {"env": "WEBHOOK_TOKEN"}},
        }
    }


@asynccontextmanager
async def shop_rig(vendor: FakeVendor, folder: Path, **tools: JsonValue) -> AsyncGenerator[Rig, None]:
    """The file, its server replaced by the fake's, beside an agent file."""
    async with vendor.running():
        (folder / FILE.name).write_text(FILE.read_text(encoding="utf-8").replace(SERVER, vendor.url), encoding="utf-8")
        agent = str(folder / "agent.yaml")
        async with http_rig(shop(vendor.url), tools, vendor.secrets, source=agent) as rig:
            yield rig


async def test_an_operation_is_called_as_its_file_says(tmp_path: Path) -> None:
    vendor = FakeWebhook()
    async with shop_rig(vendor, tmp_path, order=tool("getOrder")) as rig:
        vendor.answers.append(Answer(200, {"state": "sent", "total": 12.5, "secret": "x"}))
        result = await rig.call("order", order_id="77", include_lines=True, x_channel="phone")
    assert result.values == {"state": "sent", "total": 12.5}
    [seen] = vendor.seen
    assert (seen.method, seen.target) == ("GET", "/orders/77?includeLines=true")
    assert seen.headers["x-channel"] == "phone"


async def test_a_body_is_made_of_the_arguments_under_their_own_names(tmp_path: Path) -> None:
    vendor = FakeWebhook()
    cancel = tool("POST /orders/{orderId}/cancellation", effect="write")
    async with shop_rig(vendor, tmp_path, cancel=cancel) as rig:
        vendor.answers.append(Answer(204))
        result = await rig.call("cancel", order_id="77", reason="moved", refund_cents=900)
    assert result.status == "ok"
    assert vendor.seen[0].target == "/orders/77/cancellation"
    assert vendor.seen[0].json() == {"reason": "moved", "refundCents": 900}


def test_arguments_have_the_types_and_limits_of_the_file() -> None:
    arguments = expand(shop(), {"x": tool("cancelOrder")}, source=AGENT).tools["x"].arguments
    assert {name: (argument.type, argument.required) for name, argument in arguments.items()} == {
        "order_id": ("string", True),
        "reason": ("string", True),
        "refund_cents": ("integer", False),
        "since": ("string", False),
    }
    assert arguments["reason"].max_length == 200
    assert arguments["order_id"].pattern == "^[0-9]+$"
    assert arguments["since"].format == "date"


def test_the_connection_on_the_files_server_is_used_and_no_other() -> None:
    connections = {"other": {"base_url": "https://other.example"}, **shop()}
    for given, used in ((connections, "shop"), ({"other": connections["other"]}, None)):
        http = expand(given, {"x": tool("getOrder")}, source=AGENT).tools["x"].http
        assert http is not None
        assert http.url == f"{SERVER}/orders/{{order_id}}"
        assert http.auth == used


def test_two_connections_on_the_files_server_are_one_too_many() -> None:
    with pytest.raises(SettingsError, match="fits the connections shop, again"):
        expand({**shop(), "again": {"base_url": SERVER}}, {"x": tool("getOrder")}, source=AGENT)


def test_a_tool_names_one_of_several_connections_on_the_files_server() -> None:
    connections: dict[str, JsonValue] = {**shop(), "again": {"base_url": SERVER}, "other": {"base_url": "https://a.b"}}

    def called_by(auth: str) -> str | None:
        call = {"file": FILE.name, "operation": "getOrder", "auth": auth}
        http = expand(connections, {"x": tool("getOrder", openapi=call)}, source=AGENT).tools["x"].http
        assert http is not None
        return http.auth

    assert [called_by("shop"), called_by("again")] == ["shop", "again"]
    for wrong in ("other", "agian"):
        with pytest.raises(SettingsError, match=f"no connection '{wrong}' is on its server .* one of shop, again"):
            called_by(wrong)


def test_a_pattern_that_python_cannot_read_is_left_to_whoever_wrote_it() -> None:
    schema: dict[str, JsonValue] = {"properties": {"name": {"type": "string", "pattern": r"^\p{L}+$"}}}
    assert arguments_of(schema)["name"].pattern is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("getOrdr", "no operation is called 'getOrdr'; it has getOrder, cancelOrder"),
        ("placeOrder", "'lines' is required but neither"),
        ("broken", "there is no 'Nowhere'"),
    ],
)
def test_an_operation_that_cannot_be_a_tool_says_why(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"tools.x: .*{message}"):
        expand(shop(), {"x": tool(name)}, source=AGENT)


@pytest.mark.parametrize(
    "text",
    [
        "swagger: '2.0'",
        "[",
        "openapi: 3.0.0\nservers: [{url: https://a.example}]\npaths: {/a: {get: {$ref: '#/paths/~1a/get'}}}",
    ],
)
def test_a_file_that_is_none_or_runs_in_circles_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "api.yaml"
    file.write_text(text, encoding="utf-8")
    entry = tool("x")
    entry["openapi"] = {"file": "api.yaml", "operation": "x"}
    with pytest.raises(SettingsError, match=r"api\.yaml"):
        expand(shop(), {"x": entry}, source=str(tmp_path / "agent.yaml"))
