"""Generated text becomes clauses early, and never a word is lost."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.clauses import LONGEST_CLAUSE_WORDS, ClauseSplitter, split_clauses


def test_a_sentence_is_a_clause_as_soon_as_the_next_begins() -> None:
    splitter = ClauseSplitter()
    assert splitter.feed("We are open. ") == ["We are open."]
    assert splitter.feed("Come by") == []
    assert splitter.finish() == ["Come by"]


def test_the_first_clause_may_end_at_a_comma_later_ones_are_longer() -> None:
    assert split_clauses("We are open today, from eight, to five, Monday through Friday, all year long. Bye.") == [
        "We are open today,",
        "from eight, to five, Monday through Friday, all year long.",
        "Bye.",
    ]


def test_numbers_and_abbreviations_do_not_end_a_clause() -> None:
    assert split_clauses("Dr. Lee sees you at 8.30 a.m. for $1,250.50 in all.") == [
        "Dr. Lee sees you at 8.30 a.m. for $1,250.50 in all."
    ]


def test_text_without_punctuation_is_cut_before_it_gets_too_long() -> None:
    clauses = split_clauses("word " * 60)
    assert max(len(clause.split()) for clause in clauses) <= LONGEST_CLAUSE_WORDS


@given(st.text(alphabet="ab .,!?;: $1\n", max_size=200), st.integers(1, 9))
def test_any_cutting_of_the_stream_gives_the_same_words(text: str, step: int) -> None:
    splitter = ClauseSplitter()
    clauses = [clause for start in range(0, len(text), step) for clause in splitter.feed(text[start : start + step])]
    clauses += splitter.finish()
    assert " ".join(clauses).split() == text.split()


def test_while_text_is_generated_the_first_clause_may_end_before_a_phrase() -> None:
    splitter = ClauseSplitter(early=True)
    assert splitter.feed("We open at nine in the morning from ") == ["We open at nine in the morning"]
    assert splitter.feed("Monday to Saturday, and on Sunday from ten. Bye") == [
        "from Monday to Saturday, and on Sunday from ten.",
    ]


def test_no_phrase_is_torn_from_a_word_that_it_leans_on() -> None:
    assert split_clauses("You can always come and ask for it is free of charge.", early=True) == [
        "You can always come and ask for it is free of charge."
    ]


@given(st.text(alphabet="ab at in .,", max_size=120), st.integers(1, 9))
def test_early_cuts_do_not_depend_on_how_the_text_comes(text: str, step: int) -> None:
    splitter = ClauseSplitter(early=True)
    pieces = [text[start : start + step] for start in range(0, len(text), step)]
    clauses = [clause for piece in pieces for clause in splitter.feed(piece)] + splitter.finish()
    assert " ".join(clauses).split() == text.split()
