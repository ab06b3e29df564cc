"""Who has the word in a call in more than one language."""

from __future__ import annotations

from collections.abc import Callable

from models.types import FloatAudio, Languages
from pipeline import events as ev
from pipeline.call_services import CallServices
from pipeline.escalation import HandOver
from pipeline.language_switcher import taken_over
from pipeline.state import CallState, HangUp, Memory, Place, Transfer, Value
from pipeline.tools.calls import ToolResult
from tests.pipeline.agents import AGENT, SPANISH
from tests.pipeline.fakes import FakeModels, FakeTools, decision
from tests.pipeline.rig import GENERATED, ROUTES, Played, Step, booked, play

SPANISH_ROUTES = {
    "horario": decision("pregunta", "hours"),
    "cita": decision("cita"),
    "persona": decision("persona"),
    **ROUTES,
}


def language_of(text: str) -> str:
    return "es" if any(word in text for word in ("qué", "una", "gracias")) else "en"


def talk(
    steps: list[Step],
    *,
    for_s: float,
    tools: FakeTools | None = None,
    services: CallServices | None = None,
    ends: Callable[[FloatAudio], float] = lambda audio: 0.95,
) -> Played:
    def prepare(models: FakeModels) -> None:
        models.language_of, models.routes, models.score = language_of, SPANISH_ROUTES, ends

    return play(steps, for_s=for_s, prepare=prepare, others=(SPANISH,), tools=tools, services=services)


def changes(played: Played) -> list[tuple[int, str, str]]:
    return [(e.turn, e.language, e.agent) for e in played.log if isinstance(e, ev.LanguageChanged)]


def test_the_first_utterance_decides_who_answers_and_in_which_voice() -> None:
    played = talk([(3.0, "qué horario tienen ustedes"), (8.0, "muchas gracias")], for_s=13)
    assert changes(played) == [(1, "es", "Mesa de pruebas")]
    assert played.heard()[:2] == ["Hello, this is the test desk.", "Abrimos de lunes a viernes."]
    assert played.models.asked_for[0] == Languages("en", ("es",))
    assert played.models.asked_for[-1] == Languages("es", ("en",), settled=True)


def test_an_agent_without_others_hears_its_own_language_only() -> None:
    played = play([(3.0, "what are your hours")], for_s=9)
    assert set(played.models.asked_for) == {Languages("en")}


def test_a_call_goes_on_in_the_language_it_is_in() -> None:
    played = talk([(3.0, "what are your hours"), (9.0, "what is the price")], for_s=15)
    assert not changes(played)
    assert played.models.asked_for[-1] == Languages("en", ("es",), settled=True)


def test_what_was_not_understood_settles_nothing() -> None:
    played = talk([(3.0, "the moon is green"), (9.0, "qué horario tienen ustedes")], for_s=15)
    assert played.models.asked_for[-1] == Languages("en", ("es",))
    assert played.heard()[-1] == "Abrimos de lunes a viernes."


def test_the_caller_may_change_the_language_and_change_it_back() -> None:
    played = talk([(3.0, "qué horario tienen ustedes"), (8.0, "what are your hours")], for_s=14)
    assert [language for _, language, _ in changes(played)] == ["es", "en"]
    assert played.heard()[-1] == GENERATED["hours"][0]


def test_a_turn_that_goes_on_changes_nothing() -> None:
    """A candidate in another language is thrown away with the turn it answered."""
    played = talk([(3.0, "una"), (3.6, "what are your hours")], for_s=10, ends=lambda audio: 0.0)
    finals = [event.text for event in played.log if isinstance(event, ev.FinalTranscript)]
    assert finals == ["una", "una what are your hours"]
    assert not played.of(ev.FirstAudio)[2:]


def test_what_is_on_offer_is_looked_up_again_in_the_other_language() -> None:
    played = talk([(3.0, "qué horario tienen ustedes"), (8.0, "quería una cita")], for_s=14)
    assert [call.tool for call in played.tools.calls] == ["find_openings", "find_openings"]
    assert played.heard()[-1].startswith("Tengo ")


def test_the_other_agent_asks_for_what_it_needs_when_it_begins_with_a_flow() -> None:
    played = talk([(3.0, "quería una cita")], for_s=10)
    assert changes(played) == [(1, "es", "Mesa de pruebas")]
    assert [(place.flow, place.node) for place in played.call.manager.state.stack] == [("book", "choose")]


def test_a_write_under_way_is_told_of_in_the_language_it_was_asked_for_in() -> None:
    steps: list[Step] = [
        (3.0, "I want to book"),
        (9.5, "Tuesday at ten please"),
        (15.0, "my name is John Miller"),
        (23.0, "yes that is right"),
        (26.0, "qué horario tienen ustedes"),
    ]
    played = talk(steps, for_s=36, tools=FakeTools(takes_s=6.0))
    assert booked(played)
    said = " ".join(played.heard())
    assert "Booked, John Miller." in said
    assert not changes(played)


def test_each_agent_s_memory_is_saved_as_its_own_and_it_hands_over_itself() -> None:
    packages: list[HandOver] = []

    async def keep(package: HandOver) -> None:
        packages.append(package)

    played = talk(
        [(3.0, "qué horario tienen ustedes"), (9.0, "con una persona por favor")],
        for_s=16,
        services=CallServices(hand_over=keep),
    )
    assert played.saves[-1][0] == "Mesa de pruebas"
    assert played.heard()[-1] == "Le paso con un compañero."
    (package,) = packages
    assert "caller: qué horario tienen ustedes" in package.transcript


def test_what_the_caller_said_of_themselves_goes_with_them_and_what_was_on_offer_does_not() -> None:
    state = CallState(
        values={"name": Value("John Miller"), "opening": Value("tue", source="caller"), "caller_id": Value("7")},
        lists={"openings": ()},
        stack=(Place("book", "right"),),
        waiting="answer",
        visits=3,
        level=1,
    )
    after = taken_over(Memory(state), AGENT, SPANISH).state
    assert set(after.values) == {"name", "caller_id"}
    assert (after.stack, after.waiting, after.lists) == ((), "free", {})
    # Keys of tool calls never come twice; who the caller is stays proven.
    assert (after.visits, after.level) == (3, 1)


def test_lost_patience_and_a_hand_over_under_way_go_with_the_caller_and_a_goodbye_does_not() -> None:
    for closing, goes in (
        (Transfer("request", "desk", ""), True),
        (Transfer("request", "nobody", ""), False),
        (HangUp(), False),
    ):
        after = taken_over(Memory(CallState(impatience=2, closing=closing)), AGENT, SPANISH).state
        assert after.impatience == 2
        assert after.closing == (closing if goes else None)


def test_a_failed_look_up_does_not_keep_the_caller() -> None:
    tools = FakeTools(answers={"find_openings": ToolResult("failed", {})})
    played = talk([(3.0, "qué horario tienen ustedes")], for_s=9, tools=tools)
    assert played.heard()[-1] == "Abrimos de lunes a viernes."
