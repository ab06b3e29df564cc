from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.speech_text import PAUSES, spoken_text, spoken_words


@pytest.mark.parametrize(
    ("written", "said"),
    [
        # times
        ("We open at 8:30 AM.", "We open at eight thirty AM."),
        ("at 9:05 pm, 10:00 a.m. or 5pm", "at nine oh five PM, ten AM or five PM"),
        ("at 5:00", "at five o'clock"),
        ("8-5, 8:30-5:00, 8am-5pm", "eight to five, eight thirty to five, eight AM to five PM"),
        ("We're here 24/7!", "We're here twenty four seven!"),
        # money
        ("$95", "ninety five dollars"),
        ("$1,250.50.", "one thousand two hundred fifty dollars and fifty cents."),
        ("$0.99, £3.20, $1", "ninety nine cents, three pounds and twenty pence, one dollar"),
        ("$95-$120 or $2 million", "ninety five to one hundred twenty dollars or two million dollars"),
        # telephone numbers
        ("Call 415-555-0132.", "Call four one five, five five five, zero one three two."),
        ("(415) 555-0132", "four one five, five five five, zero one three two"),
        ("415 555 0132", "four one five, five five five, zero one three two"),
        ("1-800-555-0199", "one, eight hundred, five five five, zero one nine nine"),
        # dates and ordinals
        ("March 3rd, 3/3 and Jan. 5", "March third, March third and January fifth"),
        ("on March 3, 2026", "on March third, twenty twenty six"),
        ("12/25/2026 or 2026-03-04", "December twenty fifth twenty twenty six or March fourth twenty twenty six"),
        ("the 22nd", "the twenty second"),
        # numbers
        ("20% of 1,200 is 3.5", "twenty percent of one thousand two hundred is three point five"),
        ("10-15 minutes, 1 1/2 hours", "ten to fifteen minutes, one and one half hours"),
        ("room 12B, code 007", "room twelve B, code zero zero seven"),
        # abbreviations
        ("Dr. Smith lives at 12 Oak Dr. now", "doctor Smith lives at twelve Oak drive now"),
        ("123 Main St., near St. Mary", "one hundred twenty three Main street, near saint Mary"),
        ("Mon-Fri, Tue. and Sat 9-1", "Monday to Friday, Tuesday and Saturday nine to one"),
        ("He sat in the sun.", "He sat in the sun."),
        ("I am here. No. I am not.", "I am here. No. I am not."),
        ("No. 5, e.g. this", "number five, for example this"),
        ("U.S. rules", "U S rules"),
        ("It's A B C, one, A at ten", "It's eigh B C, one, eigh at ten"),
        ("X A is option B. A person helps.", "X eigh is option B. A person helps."),
        # addresses
        ("help@dental.com", "help at dental dot com"),
        ("https://www.dental.com/book?x=1", "double you double you double you dot dental dot com slash book"),
        # marks
        ("“Hello,” she said (quietly)…", "Hello, she said quietly…"),
        ("A check-up — it's **great**... really", "A check up— it's great… really"),
        ("Smith & Sons, #3", "Smith and Sons, number three"),
        ("It’s fine", "It's fine"),
        ("٣ cafés", "three cafés"),
        ("", ""),
        (" ... — 😀 ", ""),
    ],
)
def test_written_text_is_said_as_a_person_would_say_it(written: str, said: str) -> None:
    assert spoken_text(written) == said


def test_every_said_word_knows_the_written_word_it_belongs_to() -> None:
    written = "It costs $95 at 8:30 AM — ok?"
    belongs: dict[str, list[str]] = {}
    for word in spoken_words(written):
        belongs.setdefault(written.split()[word.written], []).append(word.text)
    assert belongs == {
        "It": ["It"],
        "costs": ["costs"],
        "$95": ["ninety", "five", "dollars"],
        "at": ["at"],
        "8:30": ["eight", "thirty"],
        "AM": ["AM"],
        "ok?": ["ok"],
    }


_PLAIN_WORDS = st.text(string.ascii_letters, min_size=1, max_size=9)
_NUMBERS = st.integers(0, 99_999)
_USUAL = st.one_of(
    _PLAIN_WORDS,
    _NUMBERS.map(str),
    _NUMBERS.map("{:,}".format),
    _NUMBERS.map("${:,}".format),
    st.floats(0, 999, allow_nan=False).map("${:.2f}".format),
    st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda t: f"{t[0]}:{t[1]:02}"),
    st.tuples(st.integers(1, 40), st.integers(1, 40)).map(lambda t: f"{t[0]}/{t[1]}"),
    st.tuples(st.integers(1, 12), st.sampled_from(["am", "PM", "a.m.", "p.m."])).map(lambda t: f"{t[0]}{t[1]}"),
    st.tuples(st.integers(0, 999), st.integers(0, 9999)).map(lambda t: f"{t[0]:03}-{t[1]:04}"),
    st.integers(1, 31).map("{}th".format),
    st.integers(0, 100).map("{}%".format),
    st.sampled_from(
        ["Dr.", "St.", "Mon-Fri", "24/7", "&", "-", "—", "A1B2", "x@y.com", "www.a-b.org/c1", "#4", "½", "3×4"]
    ),
)
_MARKED = st.tuples(_USUAL, st.sampled_from(["", "", "", ".", ",", "?", "!", ":", "...", ")", '"'])).map("".join)


@given(st.lists(_MARKED, max_size=8).map(" ".join))
def test_usual_text_becomes_letters_only_and_keeps_its_plain_words_in_order(text: str) -> None:
    said = spoken_words(text)
    for word in said:
        assert word.text.replace("'", "").isalpha(), f"{word.text!r} cannot be said"
        assert word.pause == "" or (len(word.pause) == 1 and word.pause in PAUSES)
    belongs = [word.written for word in said]
    assert belongs == sorted(belongs)
    speakable = {i for i, word in enumerate(text.split()) if any(c.isalnum() for c in word)}
    assert set(belongs) >= speakable


@given(st.text(max_size=60))
def test_any_text_at_all_becomes_letters_only(text: str) -> None:
    count = len(text.split())
    for word in spoken_words(text):
        assert word.text.replace("'", "").isalpha()
        assert 0 <= word.written < count
