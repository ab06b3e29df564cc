"""All back ends together: what is missing is said before anything starts."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from models.settings import SettingsError
from pipeline.tools.calls import ToolCall
from serve.connectors.opening import open_connectors
from serve.connectors.presets import expand
from serve.connectors.secret_values import SecretReader
from tests.serve.connectors.fakes import Answer, FakeWebhook
from tests.serve.connectors.mcp_shop import FakeMcpServer
from tests.serve.connectors.rig import FakeClock

MCP_TOOL: dict[str, JsonValue] = {
    "description": "Cancel an order.",
    "effect": "write",
    "arguments": {"order_id": {"type": "string"}},
    "mcp": {"server": "desk", "tool": "cancel_order"},
    "returns": {"said": "result || text"},
}


async def test_every_missing_secret_is_named_at_once() -> None:
    found = expand(
        {
            "crm": {"preset": "hubspot", "token": {"env": "HUBSPOT_TOKEN"}},
            "desk": {
                "kind": "mcp",
                "command": ["server"],
                "environment": {"KEY": {"env": "DESK_KEY"}},
                "allow": {"cancel_order": "write"},
            },
        },
        {},
        source="agent.yaml",
    )
    with pytest.raises(SettingsError, match=r"(?s)connections.crm: .*HUBSPOT_TOKEN.*connections.desk: .*DESK_KEY"):
        async with open_connectors(found, secrets=SecretReader({}), clock=FakeClock()):
            pass


@pytest.mark.parametrize(
    ("mcp", "message"),
    [
        ({"server": "dsk", "tool": "cancel_order"}, "no MCP server is called 'dsk'; known: desk"),
        ({"server": "desk", "tool": "refund"}, "'refund' is not in the `allow` of 'desk'"),
    ],
)
async def test_a_tool_of_a_server_that_is_not_there_is_refused(mcp: JsonValue, message: str) -> None:
    desk: dict[str, JsonValue] = {"kind": "mcp", "command": ["server"], "allow": {"cancel_order": "write"}}
    found = expand({"desk": desk}, {"cancel": {**MCP_TOOL, "mcp": mcp}}, source="agent.yaml")
    with pytest.raises(SettingsError, match=message):
        async with open_connectors(found, secrets=SecretReader({}), clock=FakeClock()):
            pass


async def test_each_tool_goes_to_its_own_back_end() -> None:
    vendor, server = FakeWebhook(), FakeMcpServer()
    async with vendor.running(), server.running():
        found = expand(
            {
                "hook": {
                    "preset": "webhook",
                    "base_url": vendor.url,
                    "token": {"env": "TOKEN"},
                    "allow_private": True,
                },
                "desk": {
                    "kind": "mcp",
                    "url": server.url,
                    "auth": {"kind": "bearer", "token": {"env": "TOKEN"}},
                    "allow_private": True,
                    "allow": {"cancel_order": "write"},
                },
            },
            {"find": {"use": "hook.find_caller"}, "cancel": MCP_TOOL},
            source="agent.yaml",
        )
        async with open_connectors(found, secrets=SecretReader({"TOKEN": "token-0"}), clock=FakeClock()) as connectors:
            vendor.answers.append(Answer(200, {"id": "c-1", "name": "Ada"}))
            caller = await connectors.call(found.tools["find"], ToolCall("find", {"phone": "+15551234567"}, "k"))
            said = await connectors.call(found.tools["cancel"], ToolCall("cancel", {"order_id": "7"}, "k"))
            served = await connectors.served()
    assert caller.values["name"] == "Ada"
    assert said.values == {"said": "order 7 is cancelled"}
    assert set(served["desk"].tools) == {"cancel_order"}
