"""Presets: an agent file names a vendor, its settings and the tools it wants; everything else is the preset's."""

from __future__ import annotations

import re

import pytest
from pydantic import JsonValue

from models.settings import SettingsError, load_settings
from serve.connectors.connection import RefreshTokenAuth
from serve.connectors.presets import PRESETS, Preset, expand

HUBSPOT: dict[str, JsonValue] = {"preset": "hubspot", "token": {"env": "HUBSPOT_TOKEN"}}
FIND: dict[str, JsonValue] = {"use": "crm.find_caller"}


def test_a_preset_becomes_a_connection_and_a_tool() -> None:
    expanded = expand({"crm": HUBSPOT}, {"find_caller": FIND}, source="agent.yaml")
    assert expanded.connections["crm"].base_url == "https://api.hubapi.com/crm/v3/objects"
    tool = expanded.tools["find_caller"]
    assert tool.effect == "read"
    assert tool.http is not None
    assert tool.http.auth == "crm"


def test_the_same_vendor_may_be_used_twice() -> None:
    connections: dict[str, JsonValue] = {
        "sales": HUBSPOT,
        "service": {"preset": "hubspot", "token": {"env": "OTHER_TOKEN"}, "pipeline": "7"},
    }
    expanded = expand(
        connections, {"a": {"use": "sales.create_ticket"}, "b": {"use": "service.create_ticket"}}, source="x"
    )
    pipelines = []
    for name in "ab":
        http = expanded.tools[name].http
        assert http is not None
        pipelines.append(http.model_dump()["body"]["properties"]["hs_pipeline"])
    assert pipelines == ["0", "7"]


def test_keys_of_the_connection_and_of_the_tool_may_be_replaced() -> None:
    connection: dict[str, JsonValue] = {
        **HUBSPOT,
        "redirects": 0,
        "auth": {
            "kind": "refresh_token",
            "token_url": "https://api.hubapi.com/oauth/v1/token",
            "client_id": "us",
            "client_secret": {"env": "A"},
            "refresh_token": {"env": "B"},
        },
    }
    expanded = expand({"crm": connection}, {"find": {**FIND, "description": "Who calls?"}}, source="agent.yaml")
    assert expanded.connections["crm"].redirects == 0
    assert isinstance(expanded.connections["crm"].auth, RefreshTokenAuth)
    assert expanded.tools["find"].description == "Who calls?"


def test_a_setting_that_is_left_out_leaves_out_what_uses_it() -> None:
    sms: dict[str, JsonValue] = {
        "preset": "twilio",
        "account_sid": "AC0",
        "key_sid": "SK0",
        "key_secret": {"env": "S"},
        "messaging_service_sid": "MG0",
    }
    http = expand({"sms": sms}, {"text": {"use": "sms.send_sms"}}, source="agent.yaml").tools["text"].http
    assert http is not None
    assert http.body == {"To": "{to}", "MessagingServiceSid": "MG0", "Body": "{text}"}


WRONG: list[tuple[dict[str, JsonValue], dict[str, JsonValue], str]] = [
    ({"crm": {"preset": "siebel"}}, {}, "connections.crm.preset: expected one of calendly, hubspot"),
    ({"crm": {"preset": "hubspot"}}, {}, "connections.crm.token: missing; hubspot needs it: access token"),
    ({"crm": {**HUBSPOT, "tokn": "x"}}, {}, "connections.crm: unknown key tokn"),
    ({"crm": {**HUBSPOT, "token": "pat-in-the-file"}}, {}, "connections.crm"),
    ({"crm": {**HUBSPOT, "objects": "crm/{x}"}}, {}, "connections.crm.objects: braces"),
    ({"crm": HUBSPOT}, {"a": {"use": "crm.find_callr"}}, "tools.a.use: hubspot has the tools find_caller"),
    ({"crm": HUBSPOT}, {"a": {"use": "mcr.find_caller"}}, "tools.a.use: expected CONNECTION.TOOL"),
    ({"crm": HUBSPOT}, {"a": {"use": "crm.add_note", "lookup": "b"}}, "tools.a.lookup: expected a tool"),
    ({"crm": HUBSPOT}, {"a": {**FIND, "timeouts": 3}}, "tools.a.timeouts: unknown key"),
    ({"x": {"base_url": "https://a.example/?x=1"}}, {}, "connections.x"),
    ({"x": {"base_url": "https://user:password@a.example"}}, {}, "connections.x"),
    ({"x": {"kind": "mcp", "allow": {"a": "read"}}}, {}, "either `url` or `command`"),
]


@pytest.mark.parametrize(("connections", "tools", "message"), WRONG)
def test_a_mistake_is_named_with_its_place(
    connections: dict[str, JsonValue], tools: dict[str, JsonValue], message: str
) -> None:
    with pytest.raises(SettingsError, match=f"(?s)agent.yaml: .*{re.escape(message).replace('agent.yaml: ', '')}"):
        expand(connections, tools, source="agent.yaml")


def test_every_preset_says_what_its_settings_are() -> None:
    for path in PRESETS.glob("*.yaml"):
        preset = load_settings(path, Preset)
        assert preset.name == path.stem
        assert all(setting.description for setting in preset.settings.values())
