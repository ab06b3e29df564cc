"""Templates: each value escaped for its place, so that no value can become anything but a value."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.connectors.templates import (
    TemplateError,
    escape_header,
    escape_path,
    escape_sosl,
    fill_fields,
    fill_json,
    fill_text,
    placeholders,
)

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(ANY_TEXT)
def test_a_value_in_a_path_stays_one_segment_or_is_refused(value: str) -> None:
    try:
        path = fill_text("/orders/{id}/lines", {"id": value}, escape_path)
    except TemplateError:
        assert value in ("", ".", "..")
        return
    assert path.count("/") == 3
    assert not set(path) & set("?#%") - {"%"}
    assert unquote(path.split("/")[2]) == value


@given(ANY_TEXT)
def test_a_value_in_json_stays_a_value(value: str) -> None:
    filled = fill_json({"a": "{x}", "b": ["<{x}>"]}, {"x": value})
    assert json.loads(json.dumps(filled)) == {"a": value, "b": [f"<{value}>"]}


@given(ANY_TEXT)
def test_a_value_in_sosl_cannot_end_the_search_text(value: str) -> None:
    query = fill_text("FIND {{{x}}} IN ALL FIELDS", {"x": value}, escape_sosl)
    inside = query.removeprefix("FIND {").removesuffix("} IN ALL FIELDS")
    assert not re.search(r"(?<!\\)(?:\\\\)*[{}]", inside)
    assert not re.search(r'(?<!")\b(AND|OR|NOT)\b(?!")', inside)


def test_sosl_reserved_characters_are_escaped() -> None:
    assert escape_sosl("O'Brien & Sons (UK)") == r"O\'Brien \& Sons \(UK\)"


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "caf\u00e9", "\x00"])
def test_a_value_that_would_end_a_header_is_refused(value: str) -> None:
    with pytest.raises(TemplateError, match="printable ASCII"):
        fill_fields({"X-Name": "{x}"}, {"x": value}, escape_header)


def test_a_whole_placeholder_keeps_the_type_and_disappears_with_its_argument() -> None:
    template = {"count": "{n}", "ok": "{b}", "note": "{note}", "who": {"id": "{who}"}, "ids": ["{who}"], "kind": "x"}
    assert fill_json(template, {"n": 3, "b": False}) == {"count": 3, "ok": False, "kind": "x"}


def test_an_absent_argument_inside_text_is_empty() -> None:
    assert fill_text("Hello {name}!", {}) == "Hello !"


def test_numbers_can_be_written_as_systems_index_them() -> None:
    arguments = {"phone": "+44 20 7946 0018"}
    assert fill_text("{phone|digits}", arguments) == "442079460018"
    assert fill_text("{phone|national}", arguments) == "2079460018"
    with pytest.raises(TemplateError, match="international form"):
        fill_text("{phone|national}", {"phone": "12"})


@pytest.mark.parametrize("template", ["{", "a}b", "{A b}", "{x|upper}", "{0}", "{x.y}"])
def test_a_template_that_cannot_be_read_is_named(template: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(repr(template))):
        list(placeholders(template))


def test_every_argument_that_a_template_names_is_found() -> None:
    assert list(placeholders({"a": ["{x} {{y}}", {"b": "{z|digits}"}], "c": 1})) == ["x", "z"]
