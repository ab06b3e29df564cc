"""What a small model may say, and what it may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clauses import split_clauses
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


LUNCH = "The kitchen is open Tuesday to Sunday, from noon to nine."
ROOM = "A room starts at ninety dollars."
AGE = "We take guests from the age of twelve."
WEIGHT = "We take dogs up to twenty kilograms."
NIGHT = "We don't serve on Mondays, and the bar is closed."
COCINA = "La cocina abre de martes a domingo, de doce a nueve."
CUARTO = "Un cuarto cuesta desde noventa dólares."
PERROS = "Aceptamos perros hasta veinte kilos."


@pytest.mark.parametrize(
    ("clause", "fact"),
    [
        ("The kitchen is open Tuesday and Sunday, from noon to nine.", LUNCH),
        ("The kitchen is open on Tuesday or Sunday.", LUNCH),
        ("The kitchen is open until noon.", LUNCH),
        ("The kitchen is open at noon and nine.", LUNCH),
        ("A room is ninety dollars.", ROOM),
        ("A room is up to $90.", ROOM),
        ("A room is over $90.", ROOM),
        ("We take guests up to the age of 12.", AGE),
        ("We take guests of twelve.", AGE),
        ("We take dogs from twenty kilograms.", WEIGHT),
        ("We take dogs of more than twenty kilograms.", WEIGHT),
        ("The balance is $15.", "The balance is -$15."),
        ("The bar is not closed.", NIGHT),
        ("We serve on Mondays.", NIGHT),
        ("La cocina abre martes y domingo.", COCINA),
        ("La cocina abre de domingo a martes.", COCINA),
        ("La cocina abre de 12 a 8.", COCINA),
        ("Un cuarto cuesta noventa dólares.", CUARTO),
        ("Un cuarto cuesta hasta noventa dólares.", CUARTO),
        ("Aceptamos perros desde veinte kilos.", PERROS),
        ("No aceptamos perros.", PERROS),
    ],
)
def test_a_clause_that_turns_a_bound_a_range_a_sign_or_a_denial_is_not(clause: str, fact: str) -> None:
    assert not is_borne_out(clause, fact)


@pytest.mark.parametrize(
    ("clause", "fact"),
    [
        ("We're open Tuesday to Sunday.", f"We're open. {LUNCH}"),
        ("The kitchen is open noon to 9.", LUNCH),
        ("The kitchen is open from noon.", LUNCH),
        ("On Sunday the kitchen is open from noon to nine.", LUNCH),
        ("Rooms start at $90.", ROOM),
        ("A room is from $90.", ROOM),
        ("We take dogs up to 20 kilograms.", WEIGHT),
        ("We do not serve on Mondays.", NIGHT),
        ("The balance is minus fifteen dollars.", "The balance is -15 dollars."),
        ("De martes a domingo, de 12 a 9.", COCINA),
        ("Los cuartos cuestan desde 90 dólares.", CUARTO.replace("cuesta", "cuestan")),
        ("Sí, aceptamos perros de hasta 20 kilos.", PERROS),
    ],
)
def test_a_clause_that_keeps_bounds_ranges_signs_and_denials_is(clause: str, fact: str) -> None:
    assert is_borne_out(clause, fact)


@given(st.sampled_from([COCINA, CUARTO, PERROS]))
def test_a_spanish_fact_bears_itself_out_and_answers(fact: str) -> None:
    assert is_borne_out(fact, fact)
    assert answers(fact, fact)


def test_every_clause_of_a_fact_as_it_is_written_is_borne_out_by_it() -> None:
    fact = "We don't work on Mondays, and the back door stays locked."
    assert all(is_borne_out(clause, fact) for clause in split_clauses(fact))
    assert not is_borne_out("we work on Mondays", fact)


@pytest.mark.parametrize(
    ("fact", "clause"),
    [
        ("We are closed now. We open again on Tuesday at nine.", "We are open now."),
        ("We are closed now. We open again on Tuesday at nine.", "Yes, we are open now, until Tuesday."),
        ("Parking is free; a bicycle costs two dollars.", "A bicycle is free."),
        ("Ahora estamos cerrados. Volvemos a abrir el martes.", "Ahora estamos abiertos."),
        ("Los lunes cerramos y los martes abrimos a las nueve.", "Los lunes abrimos a las nueve."),
    ],
)
def test_of_two_opposites_in_a_fact_none_is_said_of_the_other_s_matter(fact: str, clause: str) -> None:
    assert not is_borne_out(clause, fact)
    for written in split_clauses(fact):
        assert is_borne_out(written, fact)
