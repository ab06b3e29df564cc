"""What a small model may say, and what it may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grounding import answers, critical_words, is_borne_out

HOURS = "We are open Monday to Friday, from eight to five, and Saturday from nine to one."
SUNDAY = "We are closed on Sunday."
PRICE = "A cleaning is one hundred and twenty dollars."


@pytest.mark.parametrize(
    ("clause", "fact"),
    [
        ("We're open Monday to Friday from 8 to 5.", HOURS),
        ("Sure, I can help you with that!", HOURS),
        ("On Saturday, nine to one.", HOURS),
        ("A cleaning costs $120.", PRICE),
        ("The cleaning is 120 dollars.", PRICE),
        ("We are closed on Sundays.", SUNDAY),
    ],
)
def test_a_clause_that_says_what_the_fact_says_is_borne_out(clause: str, fact: str) -> None:
    assert is_borne_out(clause, fact)


@pytest.mark.parametrize(
    ("clause", "fact"),
    [
        ("We are open from nine to five.", HOURS),
        ("We are open on Sunday.", HOURS),
        ("We are open Monday to five.", HOURS),
        ("We are not open on Saturday from nine to one.", HOURS),
        ("Whitening is one hundred and twenty dollars.", PRICE),
        ("A cleaning costs $210.", PRICE),
        ("A cleaning costs $20.", PRICE),
        ("We never charge for a cleaning.", PRICE),
        ("A cleaning is free.", PRICE),
    ],
)
def test_a_clause_that_says_more_or_other_is_not(clause: str, fact: str) -> None:
    assert not is_borne_out(clause, fact)


def test_a_reply_answers_once_it_has_said_the_fact_s_numbers() -> None:
    assert not answers("Sure, I can help.", PRICE)
    assert answers("A cleaning costs $120.", PRICE)
    assert answers("Yes, closed.", "We are closed.")


@given(st.integers(0, 999_999))
def test_numbers_are_the_same_in_digits_and_words(number: int) -> None:
    from num2words import num2words

    assert critical_words(str(number)) == critical_words(num2words(number))


@given(st.sampled_from([HOURS, SUNDAY, PRICE]))
def test_a_fact_bears_itself_out_and_answers(fact: str) -> None:
    assert is_borne_out(fact, fact)
    assert answers(fact, fact)
