"""What of an answer a tool returns."""

from __future__ import annotations

import pytest

from serve.connectors.answers import AnswerError, Projection
from serve.connectors.text import TextLimits

ROOMS = {"rooms": [{"number": 4, "title": "the blue room"}, {"number": 5, "title": "the green one"}]}


def test_a_list_of_which_nothing_can_be_chosen_is_named_with_what_was_expected() -> None:
    with pytest.raises(
        AnswerError, match=r"returns\.rooms: its entries have number, title; expected `value`, and `spoken`"
    ):
        Projection({"rooms": "rooms"}, TextLimits()).values(ROOMS)


def test_lists_of_values_and_of_plain_texts_can_be_chosen_from() -> None:
    returns = {
        "rooms": "rooms[*].{value: number, spoken: title}",
        "titles": "rooms[*].title",
        "none": "rooms[?number==`9`]",
    }
    found = Projection(returns, TextLimits()).values(ROOMS)
    assert found["rooms"] == [{"value": 4, "spoken": "the blue room"}, {"value": 5, "spoken": "the green one"}]
    assert found["titles"] == ["the blue room", "the green one"]
    assert found["none"] == []
