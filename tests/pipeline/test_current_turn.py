"""Turns that are too long to be heard at once, and what becomes of the words before a cut."""

from __future__ import annotations

from pipeline import events as ev
from tests.pipeline.agents import AGENT
from tests.pipeline.fakes import FakeModels
from tests.pipeline.rig import Played, play

SHORT = AGENT.model_copy(update={"turn_taking": AGENT.turn_taking.model_copy(update={"longest_turn_s": 5.0})})
LONG = "well I tell you one two three four five six seven eight nine ten eleven twelve thirteen"
"""Of 17 words: 4.25 s. What follows begins 70 ms later: there the turn is cut."""


def callers_words(played: Played) -> list[str]:
    return [message.content for message in played.call.manager.history if message.role == "user"]


def test_a_caller_who_speaks_on_over_a_cut_is_answered_once_and_not_interrupted() -> None:
    played = play([(3.0, LONG), (7.32, "what are your hours then")], for_s=16, agent=SHORT)
    assert callers_words(played) == [f"{LONG} what are your hours then"]
    assert played.heard()[1:] == ["Sure, we are open Monday to Friday from eight to five."]
    assert not played.of(ev.BargeIn)


def test_words_before_a_cut_are_answered_though_only_noise_follows() -> None:
    def wordless(models: FakeModels) -> None:
        models.utterances[1] = ""

    question = "what are your hours " + " ".join(LONG.split()[:13])
    played = play([(3.0, question), (7.32, "rumble rumble rumble rumble")], for_s=18, agent=SHORT, prepare=wordless)
    assert callers_words(played) == [question]
    assert "from eight to five" in " ".join(played.heard())


def test_noise_without_end_does_not_keep_the_call_from_going_on() -> None:
    def wordless(models: FakeModels) -> None:
        models.utterances[0] = ""

    played = play([(3.0, "rumble " * 60), (24.0, "what are your hours")], for_s=32, agent=SHORT, prepare=wordless)
    assert len([e for e in played.of(ev.TurnDecided) if isinstance(e, ev.TurnDecided) and e.reason == "too_long"]) >= 2
    assert "from eight to five" in played.heard()[-1]


def test_a_cut_within_a_pause_takes_nothing_from_what_is_said_after_it() -> None:
    played = play([(3.0, LONG + " and"), (8.3, "what are your hours")], for_s=18, agent=SHORT)
    assert callers_words(played) == [f"{LONG} and what are your hours"]
