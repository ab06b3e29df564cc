"""What an agent file may say of a tool."""

from __future__ import annotations

import re

import pytest
from jsonschema import Draft202012Validator

from models.settings import SettingsError, StrictModel, parse_settings
from pipeline.tools.calls import ToolResult, result_from_json, result_to_json
from pipeline.tools.definition import HttpCall, Tool, check_tools
from tests.pipeline.tools.fakes import keyed_tool, read_tool, write_tool

BOOK = """
tools:
  book:
    description: Book an appointment.
    effect: write
    arguments:
      start: {type: string, format: date-time, description: when}
      people: {type: integer}
      note: {type: string, max_length: 200, required: false}
      kind: {type: string, enum: [check, cleaning]}
    returns: {reference: "data[0].id"}
    http:
      method: POST
      url: bookings
      auth: desk
      idempotency_header: Idempotency-Key
      body: {at: "{start}", people: "{people}", tags: [phone, {kind: "{kind}"}]}
      codes: {"409": conflict, "length(data) == `0`": none_free}
    timeout_s: 8
    breaker: {failures: 3, open_s: 10}
    filler: One moment.
    needs_level: 1
    confirm: true
    redact: [note]
"""


class _File(StrictModel):
    tools: dict[str, Tool]


def tools(text: str) -> dict[str, Tool]:
    return parse_settings(text, _File, "agent.yaml").tools


def test_a_tool_is_read_from_yaml() -> None:
    tool = tools(BOOK)["book"]
    assert tool.http is not None
    assert tool.http.body == {"at": "{start}", "people": "{people}", "tags": ["phone", {"kind": "{kind}"}]}
    assert tool.takes_key
    assert (tool.effect, tool.needs_level, tool.confirm, tool.breaker.failures) == ("write", 1, True, 3)


def test_its_arguments_are_a_json_schema() -> None:
    schema = tools(BOOK)["book"].json_schema()
    Draft202012Validator.check_schema(schema)
    assert schema == {
        "type": "object",
        "properties": {
            "start": {"type": "string", "format": "date-time", "description": "when"},
            "people": {"type": "integer"},
            "note": {"type": "string", "maxLength": 200},
            "kind": {"type": "string", "enum": ["check", "cleaning"]},
        },
        "required": ["start", "people", "kind"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "    http:",
            "    mcp: {server: a, tool: b}\n    http:",
            "exactly one of http, mcp and openapi; got http, mcp",
        ),
        ("effect: write", "effect: read", "confirm and lookup go with effect write"),
        ("redact: [note]", "redact: [nota]", "neither argument nor return: nota"),
        ("data[0].id", "data[0", "expected a JMESPath expression"),
        ('"409": conflict', '"999": conflict', "expected an HTTP status from 100 to 599"),
        ('"409": conflict', '"409": Slot taken', "codes"),
        ("type: integer}", "type: integer, format: date}", "go with type string, not integer"),
        ("enum: [check, cleaning]", 'pattern: "("', "expected a regular expression"),
        ("idempotency_header: Idempotency-Key", "honours_key: true", "honours_key needs {idempotency_key}"),
        ("timeout_s: 8", "timeout: 8", "unknown key"),
        ("timeout_s: 8", "attempts: 0", "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(old: str, new: str, said: str) -> None:
    assert old in BOOK
    with pytest.raises(SettingsError, match=re.escape(said)):
        tools(BOOK.replace(old, new))


def test_a_tool_needs_a_back_end() -> None:
    with pytest.raises(ValueError, match="got none"):
        Tool(description="Does nothing.", effect="read")


def test_a_system_takes_the_key_in_a_header_or_where_the_template_puts_it() -> None:
    in_body = HttpCall(method="POST", url="book", body={"ids": [{"ref": "{idempotency_key}"}]}, honours_key=True)
    reference_only = HttpCall(method="POST", url="book", body={"ref": "{idempotency_key}"})
    assert write_tool(http=in_body).takes_key
    assert keyed_tool().takes_key
    assert not write_tool(http=reference_only).takes_key
    assert not write_tool().takes_key


def test_what_is_redacted_is_not_shown() -> None:
    assert write_tool().shown({"day": "Monday", "card": "4111"}) == {"day": "Monday"}


def test_a_lookup_is_a_read_that_the_write_can_fill() -> None:
    lookup = read_tool()
    check_tools({"book": write_tool(lookup="find"), "find": lookup})
    with pytest.raises(ValueError, match=r"tools\.book\.lookup: .* 'find' is no tool"):
        check_tools({"book": write_tool(lookup="find")})
    with pytest.raises(ValueError, match="'find' is a write"):
        check_tools({"book": write_tool(lookup="find"), "find": write_tool()})
    with pytest.raises(ValueError, match="'find' needs day, which 'book' has no argument for"):
        check_tools({"book": write_tool(lookup="find", arguments={}, redact=()), "find": lookup})


def test_a_result_survives_json() -> None:
    result = ToolResult("ok", {"slots": [{"at": "09:00", "free": True, "price": 1.5}], "next": None}, "", "done")
    assert result_from_json(result_to_json(result)) == result
