"""Whatever a caller does at whatever moment: the call goes on, and ends as it should."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import events as ev
from pipeline.call import Call
from tests.pipeline.agents import AGENT, KEYPAD_AGENT
from tests.pipeline.fakes import FakeModels, FakeTools
from tests.pipeline.rig import Played, Step, booked, play

WISHES = ("what are your hours", "the price please", "I want to book", "a person please", "is the moon out")
ANSWERS = ("Tuesday at ten please", "my name is John Miller", "yes", "okay", "thanks", "no wait", "okay bye now")
NOISE = "hrm hrm"
KEYS = ("1", "5", "#", "*")
DEEDS = st.sampled_from((*WISHES, *ANSWERS, NOISE, *KEYS))
GAPS_S = st.sampled_from((0.05, 0.12, 0.3, 0.7, 1.1, 1.9, 3.5))
LIVES = st.lists(st.tuples(GAPS_S, DEEDS), min_size=1, max_size=10)
SHORT = KEYPAD_AGENT.model_copy(update={"turn_taking": AGENT.turn_taking.model_copy(update={"longest_turn_s": 2.0})})


def pressed(key: str) -> Step:
    def press(call: Call) -> None:
        call.press(key)

    return (0.0, press)


def live(deeds: list[tuple[float, str]], *, slow_s: float, short: bool) -> Played:
    """The deeds one after another, each so long after the one before has ended."""
    steps: list[Step] = []
    at_s = 0.3
    for gap_s, deed in deeds:
        at_s += gap_s
        if deed in KEYS:
            steps.append((at_s, pressed(deed)[1]))
        else:
            steps.append((at_s, deed))
            at_s += 0.25 * len(deed.split())

    def prepare(models: FakeModels) -> None:
        models.utterances = ["" if text == NOISE else text for text in models.utterances]
        models.first_clause_s = slow_s
        models.transcribe_s = 0.05 + slow_s / 5

    return play(
        steps,
        for_s=at_s + 12,
        agent=SHORT if short else KEYPAD_AGENT,
        prepare=prepare,
        tools=FakeTools(takes_s=slow_s),
    )


@settings(max_examples=150)
@given(LIVES, st.sampled_from((0.05, 0.6, 2.5)), st.booleans())
@example([(3.0, "I want to book"), (0.05, "5")], 2.5, False)
@example([(1.9, "I want to book"), (1.1, NOISE), (0.05, "okay")], 2.5, True)
@example([(0.05, "1"), (0.3, "no wait"), (1.1, "what are your hours")], 2.5, False)
def test_no_sequence_of_deeds_breaks_a_call(deeds: list[tuple[float, str]], slow_s: float, short: bool) -> None:
    played = live(deeds, slow_s=slow_s, short=short)
    last = played.log[-1]
    assert isinstance(last, ev.CallEnded)
    assert last.reason in ("caller_hung_up", "farewell", "transferred", "escalated")
    assert sum(isinstance(event, ev.CallEnded) for event in played.log) == 1
    assert len(booked(played)) <= 1
    sounded = {event.clause_id.rpartition(".")[0] for event in played.log if isinstance(event, ev.FirstAudio)}
    assert len(played.of(ev.ReplyEnded)) == len(sounded)
