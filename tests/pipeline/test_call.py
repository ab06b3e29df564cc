"""A call's behaviour, under virtual time: who hears what, when, and what the log says of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from itertools import pairwise

import pytest

from models.types import SpeechChunk
from pipeline import events as ev
from pipeline.call import Call
from pipeline.call_services import CallServices
from pipeline.escalation import HandOver
from pipeline.state import NotSaved
from pipeline.tools.calls import ToolResult
from tests.pipeline.agents import AGENT, KEYPAD_AGENT
from tests.pipeline.fakes import FakeModels, FakeTools
from tests.pipeline.rig import BOOKING, SLOW, Step, booked, play


def test_greets_then_answers_from_the_knowledge() -> None:
    played = play([(3.0, "what are your hours")], for_s=9, prepare=lambda m: setattr(m, "first_clause_s", 0.05))
    assert played.heard() == ["Hello, this is the test desk.", "Sure, we are open Monday to Friday from eight to five."]
    (decided,) = played.of(ev.TurnDecided)
    assert isinstance(decided, ev.TurnDecided)
    assert decided.reason == "model"
    assert decided.speech_end_s == pytest.approx(4.0, abs=0.04)


def test_the_reply_is_prepared_while_the_turn_is_still_being_decided() -> None:
    """An unsure model costs the time-out, not the time-out plus the work."""
    played = play([(3.0, "what are your hours")], for_s=9, prepare=lambda m: setattr(m, "score", lambda audio: 0.0))
    (decided,) = played.of(ev.TurnDecided)
    first = next(e for e in played.of(ev.FirstAudio) if isinstance(e, ev.FirstAudio) and e.turn == 1)
    assert decided.at_s == pytest.approx(4.0 + AGENT.turn_taking.timeout_ms / 1000, abs=0.06)
    assert first.at_s - decided.at_s < AGENT.turn_taking.settle_ms / 1000 + 0.03


def test_nothing_is_audible_before_the_turn_is_decided_and_going_on_voids_the_reply() -> None:
    played = play(
        [(3.0, "what are your"), (4.1, "hours today")],
        for_s=9,
        prepare=lambda m: setattr(m, "score", lambda audio: 0.95 if audio.size > 1.9 * 16_000 else 0.0),
    )
    assert len(played.of(ev.TurnResumed)) == 1
    assert played.heard()[1:] == ["Sure, we are open Monday to Friday from eight to five."]
    finals = [e.text for e in played.log if isinstance(e, ev.FinalTranscript)]
    assert finals[-1] == "what are your hours today"


def test_a_trailing_and_gets_patience() -> None:
    played = play([(3.0, "the hours and"), (4.6, "the price")], for_s=10)
    decided = played.of(ev.TurnDecided)
    assert len(decided) == 1
    assert decided[0].at_s > 5.0


def test_words_that_mean_nothing_yet_get_the_whole_time_out() -> None:
    """A confident Smart Turn does not end 'how much is', since there is no answer to it."""
    played = play([(3.0, "so tell me"), (4.2, "the price")], for_s=10)
    assert len(played.of(ev.TurnDecided)) == 1
    assert played.heard()[1:] == ["A cleaning costs ninety dollars."]


def test_a_caller_who_was_cut_off_is_answered_as_a_whole() -> None:
    """The reply comes into a pause; the caller goes on as it begins: both halves are one question."""
    played = play([(3.0, "the price please"), (4.3, "and the hours")], for_s=12)
    questions = [request.messages[-1].content for request in played.models.requests]
    assert "Caller: the price please and the hours" in questions[-1]
    users = [message.content for message in played.call.manager.history if message.role == "user"]
    assert users == ["the price please and the hours"]


def test_generated_words_that_the_fact_does_not_bear_out_are_replaced_by_the_fact() -> None:
    played = play(
        [(3.0, "the price please")],
        for_s=9,
        prepare=lambda m: setattr(m, "generated", {"price": ["A cleaning costs fifty dollars.", "Great!"]}),
    )
    assert played.heard()[1:] == ["A cleaning costs ninety dollars."]
    clause = next(e for e in played.log if isinstance(e, ev.ClauseDecided) and e.turn == 1)
    assert (clause.source, clause.rejected) == ("knowledge", "A cleaning costs fifty dollars.")


def test_a_question_outside_the_knowledge_gets_the_honest_line() -> None:
    played = play([(3.0, "is the moon out")], for_s=9)
    assert played.heard()[1:] == ["I don't have that information."]
    assert not played.models.requests


def test_barge_in_silences_the_agent_and_history_keeps_only_what_was_heard() -> None:
    played = play([(3.0, "what are your hours"), (6.0, "the price please")], for_s=12)
    (barge_in,) = played.of(ev.BargeIn)
    assert isinstance(barge_in, ev.BargeIn)
    whole = "Sure, we are open Monday to Friday from eight to five."
    assert barge_in.heard
    assert whole.startswith(barge_in.heard)
    assert barge_in.heard != whole
    contents = [message.content for message in played.call.manager.history]
    assert barge_in.heard in contents
    assert whole not in contents
    assert contents[-1] == "A cleaning costs ninety dollars."
    assert barge_in.at_s == pytest.approx(6.0 + AGENT.turn_taking.barge_in_ms / 1000, abs=0.07)


def test_a_cough_holds_the_reply_which_then_goes_on_where_it_stopped() -> None:
    def no_words_in_noise(models: FakeModels) -> None:
        models.utterances[1] = ""

    played = play([(3.0, "what are your hours"), (5.5, "rumble rumble")], for_s=14, prepare=no_words_in_noise)
    (dropped,) = played.of(ev.TurnDropped)
    (resumed,) = played.of(ev.ReplyResumed)
    assert isinstance(dropped, ev.TurnDropped)
    assert isinstance(resumed, ev.ReplyResumed)
    assert dropped.why == "no_words"
    assert played.heard()[1:] == ["Sure, we are open Monday to Friday from eight to five."]
    said_again = [text for _, text in played.line.timeline][-1]
    assert said_again == "Sure, we are open Monday to Friday from eight to five.".removeprefix(resumed.heard).strip()
    assert said_again


def test_an_mm_hm_leaves_the_floor_to_the_agent() -> None:
    played = play([(3.0, "what are your hours"), (5.2, "okay")], for_s=14)
    assert [event.why for event in played.log if isinstance(event, ev.TurnDropped)] == ["backchannel"]
    assert played.heard()[1:] == ["Sure, we are open Monday to Friday from eight to five."]
    users = [message.content for message in played.call.manager.history if message.role == "user"]
    assert users == ["what are your hours"]


def test_a_yes_as_the_agent_finishes_its_question_is_an_answer() -> None:
    played = play(
        [
            (3.0, "I want to book"),
            (9.5, "Tuesday at ten please"),
            (15.0, "my name is John Miller"),
            (20.3, "yes"),
        ],
        for_s=26,
    )
    assert not played.of(ev.TurnDropped)
    assert booked(played)


def test_speech_without_words_is_asked_about() -> None:
    def mumble(models: FakeModels) -> None:
        models.utterances[0] = ""

    played = play([(3.0, "mumble mumble mumble mumble mumble")], for_s=9, prepare=mumble)
    assert played.heard()[1:] == ["Sorry, could you say that again?"]


@pytest.mark.parametrize("stage", ["transcribe", "route", "reply", "speak"])
@pytest.mark.parametrize("how", ["broken", "stuck"])
def test_a_failing_stage_is_apologised_for_and_the_call_goes_on(stage: str, how: str) -> None:
    def mend(call: Call) -> None:
        for broken in (models_used[0].broken, models_used[0].stuck):
            broken.clear()

    models_used: list[FakeModels] = []

    def prepare(models: FakeModels) -> None:
        models_used.append(models)
        getattr(models, how).add(stage)

    played = play(
        [(3.0, "what are your hours"), (11.0, mend), (14.0, "the price please")],
        for_s=20,
        prepare=prepare,
    )
    assert "Sorry, something went wrong." in played.heard()
    assert "A cleaning costs ninety dollars." in played.heard()
    assert any(isinstance(e, ev.StageFailed) for e in played.log)


def test_while_the_language_model_stays_down_the_facts_are_said_as_written() -> None:
    played = play(
        [(3.0, "what are your hours"), (9.0, "the price please")],
        for_s=16,
        prepare=lambda m: m.broken.add("reply"),
    )
    assert played.heard()[1:] == ["Sorry, something went wrong.", "A cleaning costs ninety dollars."]
    assert [e.stage for e in played.log if isinstance(e, ev.StageFailed)] == ["reply", "reply"]


def test_a_booking_is_talked_through_and_logged() -> None:
    played = play(
        [
            (3.0, "I want to book"),
            (9.5, "Tuesday at ten please"),
            (15.0, "my name is John Miller"),
            (23.0, "yes that is right"),
        ],
        for_s=31,
    )
    assert booked(played) == [{"opening": "Tuesday at ten in the morning", "name": "John Miller"}]
    assert played.heard()[-1] == "Booked, John Miller."
    known = {event.name: event for event in played.log if isinstance(event, ev.VariableSet)}
    assert known["name"].words == "John Miller"
    assert known["name"].confirmed


def test_goodbye_is_answered_and_the_agent_hangs_up() -> None:
    played = play([(3.0, "okay bye now")], for_s=12)
    assert played.heard()[-1] == "Goodbye."
    assert played.line.hung_up
    assert played.log[-1] == ev.CallEnded(seq=played.log[-1].seq, at_s=played.log[-1].at_s, reason="farewell")


def test_a_minute_of_silence_is_asked_into_twice_and_then_ends_the_call() -> None:
    played = play([], for_s=60)
    assert played.heard() == [
        "Hello, this is the test desk.",
        "Are you there?",
        "Are you there?",
        "I'll hang up now.",
    ]
    assert isinstance(played.log[-1], ev.CallEnded)
    assert played.log[-1].reason == "silence"


def test_the_longest_call_is_ended_with_words() -> None:
    agent = AGENT.model_copy(update={"longest_call_s": 12.0})
    played = play([], for_s=30, agent=agent)
    assert played.heard()[-1] == "This call has reached its limit."
    assert played.log[-1].reason == "too_long"  # type: ignore[attr-defined]


@pytest.mark.parametrize("at_s", [3.3, 4.2, 6.0])
def test_a_caller_who_hangs_up_mid_word_or_mid_reply_ends_the_call_cleanly(at_s: float) -> None:
    played = play(
        [(3.0, "what are your hours"), (at_s, lambda call: call.caller_gone("caller_hung_up"))],
        for_s=9,
    )
    assert isinstance(played.log[-1], ev.CallEnded)
    assert played.log[-1].reason == "caller_hung_up"
    assert played.log[-1].at_s == pytest.approx(at_s, abs=0.03)


def test_a_key_silences_the_agent() -> None:
    played = play([(1.0, lambda call: call.press("5"))], for_s=3)
    assert [type(e) for e in played.log if isinstance(e, ev.Keypress | ev.BargeIn)] == [ev.Keypress, ev.BargeIn]


@pytest.mark.parametrize("at_s", [4.3, 4.9])
def test_a_key_without_a_meaning_leaves_the_goodbye_alone(at_s: float) -> None:
    lines = AGENT.lines.model_copy(update={"farewell": "Thank you for calling, and have a good day."})
    said_so = AGENT.model_copy(update={"lines": lines})
    played = play([(3.0, "bye"), (at_s, lambda call: call.press("9"))], for_s=30, agent=said_so)
    assert played.heard()[-1] == "Thank you for calling, and have a good day."
    assert isinstance(played.log[-1], ev.CallEnded)
    assert played.log[-1].reason == "farewell"


def written(text: str, *, unclear: bool = False) -> Callable[[Call], None]:
    """The caller's words come without sound."""
    return lambda call: call.hear_words(text, unclear=unclear)


def test_words_without_sound_silence_the_agent_and_are_answered() -> None:
    played = play([(3.0, "what are your hours"), (6.0, written("the price please"))], for_s=12)
    (barge_in,) = played.of(ev.BargeIn)
    assert isinstance(barge_in, ev.BargeIn)
    assert barge_in.at_s == pytest.approx(6.0)
    assert played.heard()[1:] == [barge_in.heard, "A cleaning costs ninety dollars."]
    assert [event.text for event in played.log if isinstance(event, ev.FinalTranscript)][-1] == "the price please"


def test_an_mm_hm_without_sound_leaves_the_floor_to_the_agent() -> None:
    played = play([(3.0, "what are your hours"), (5.5, written("okay"))], for_s=12)
    assert [event.why for event in played.log if isinstance(event, ev.TurnDropped)] == ["backchannel"]
    assert played.heard()[1:] == ["Sure, we are open Monday to Friday from eight to five."]


def test_words_without_sound_that_come_as_the_answer_begins_belong_to_what_was_answered() -> None:
    played = play([(3.0, written("the price please")), (3.5, written("and the hours"))], for_s=12)
    questions = [request.messages[-1].content for request in played.models.requests]
    assert "Caller: the price please and the hours" in questions[-1]


def test_words_without_sound_put_an_end_to_what_was_being_heard() -> None:
    played = play([(3.0, "hello"), (3.24, written("what are your hours"))], for_s=12)
    assert played.heard()[1:] == ["Sure, we are open Monday to Friday from eight to five."]


def test_words_without_sound_come_to_nothing_once_the_call_is_over() -> None:
    played = play([(3.0, "bye"), (6.0, written("the price please"))], for_s=8)
    played.call.hear_words("the price please")
    assert isinstance(played.log[-1], ev.CallEnded)
    assert len(played.of(ev.FinalTranscript)) == 1


def test_a_key_with_a_meaning_is_answered() -> None:
    played = play([(1.0, lambda call: call.press("1"))], for_s=6, agent=KEYPAD_AGENT)
    assert played.heard()[-1] == "Sure, we are open Monday to Friday from eight to five."


def test_poor_transcripts_are_asked_about_then_the_keypad_is_offered_then_a_person() -> None:
    played = play(
        [(3.0, "grumble mumble"), (7.0, "fumble stumble"), (11.0, "tumble rumble"), (17.0, "jumble bumble")],
        for_s=24,
        agent=KEYPAD_AGENT,
        prepare=lambda m: setattr(m, "log_probability", -1.3),
    )
    assert played.heard()[1:] == [
        "Sorry, could you say that again?",
        "Sorry, could you say that again?",
        "For our hours, press one.",
        "I'll put you through.",
    ]
    assert played.log[-1].reason == "transferred"  # type: ignore[attr-defined]


def test_a_slow_answer_is_announced_once_and_not_talked_over() -> None:
    played = play(
        [(3.0, "what are your hours")],
        for_s=14,
        agent=KEYPAD_AGENT,
        prepare=lambda m: setattr(m, "first_clause_s", 3.0),
    )
    assert played.heard()[1:] == ["One moment. Sure, we are open Monday to Friday from eight to five."]
    filler = next(e for e in played.log if isinstance(e, ev.ClauseDecided) and e.source == "filler")
    decided = next(e for e in played.log if isinstance(e, ev.TurnDecided))
    assert filler.at_s - decided.at_s == pytest.approx(1.5, abs=0.05)


def test_partials_come_at_least_every_400_ms_while_the_caller_speaks() -> None:
    played = play([(3.0, "what are your hours on every single day of the week please")], for_s=10)
    partials = [e for e in played.log if isinstance(e, ev.PartialTranscript)]
    assert len(partials) >= 5
    gaps = [later.at_s - earlier.at_s for earlier, later in pairwise(partials)]
    assert max(gaps) <= 0.45


def test_a_turn_longer_than_the_transcriber_can_hear_is_cut_and_answered() -> None:
    agent = AGENT.model_copy(update={"turn_taking": AGENT.turn_taking.model_copy(update={"longest_turn_s": 5.0})})
    played = play([(3.0, "what are your hours " * 8)], for_s=14, agent=agent)
    assert any(isinstance(e, ev.TurnDecided) and e.reason == "too_long" for e in played.log)


def test_every_request_to_the_language_model_carries_the_call_s_id_and_no_two_replies_share_one() -> None:
    played = play([(3.0, "what are your hours"), (9.0, "the price please")], for_s=14)
    ids = [request.request_id for request in played.models.requests]
    assert ids == ["CA1/t1.2", "CA1/t2.3"]


def test_the_log_reads_back_as_it_was_written() -> None:
    played = play([(3.0, "what are your hours")], for_s=9)
    assert ev.read_events([ev.to_json(event) for event in played.log]) == played.log
    assert [event.seq for event in played.log] == list(range(len(played.log)))


QUESTION = "so tell me please what are your hours on weekdays and so on"


def test_a_stable_partial_is_routed_and_its_prompt_read_ahead() -> None:
    played = play([(3.0, QUESTION)], for_s=9, on_partials=True)
    ahead = [event.text for event in played.of(ev.PromptRead) if isinstance(event, ev.PromptRead)]
    assert ahead
    assert all(QUESTION.startswith(text) and "hours" in text for text in ahead)
    assert [text for text in played.models.read_ahead if text.startswith("Caller: so")] == [
        f"Caller: {text}\nFact: We are open Monday to Friday from eight to five." for text in ahead
    ]


def test_nothing_is_read_ahead_unless_it_is_allowed() -> None:
    played = play([(3.0, QUESTION)], for_s=9)
    assert not played.of(ev.PromptRead)
    assert not any(text.startswith("Caller: so") for text in played.models.read_ahead)


def test_nothing_is_done_before_the_turn_is_decided_and_a_yes_that_goes_on_is_not_a_yes() -> None:
    played = play([*BOOKING[:3], (23.0, "yes"), (23.5, "no wait")], for_s=30)
    assert not booked(played)


def test_a_slow_tool_is_announced_and_its_result_told() -> None:
    played = play(BOOKING, for_s=36, tools=FakeTools(takes_s=SLOW))
    assert played.heard()[-1] == "One moment while I book it. Booked, John Miller."
    assert len(booked(played)) == 1


def test_a_caller_who_speaks_up_while_a_tool_works_is_told_its_result_and_then_answered() -> None:
    played = play([*BOOKING, (26.5, "what are your hours")], for_s=40, tools=FakeTools(takes_s=SLOW))
    assert len(booked(played)) == 1
    said = " ".join(played.heard())
    assert said.count("Booked, John Miller.") == 1
    assert "from eight to five" in said


def test_a_cough_while_a_tool_works_loses_nothing() -> None:
    def mumble(models: FakeModels) -> None:
        models.utterances[-1] = ""

    played = play([*BOOKING, (26.0, "hrm hrm")], for_s=40, prepare=mumble, tools=FakeTools(takes_s=SLOW))
    assert " ".join(played.heard()).count("Booked, John Miller.") == 1


@pytest.mark.parametrize("at_s", [25.5, 26.6, 27.5, 29.2], ids=["before_filler", "filler", "waiting", "result"])
def test_a_key_without_a_meaning_while_a_tool_works_loses_nothing(at_s: float) -> None:
    played = play([*BOOKING, (at_s, lambda call: call.press("9"))], for_s=36, tools=FakeTools(takes_s=SLOW))
    assert played.heard()[-1] == "One moment while I book it. Booked, John Miller."
    assert len(booked(played)) == 1


def test_a_result_that_was_not_told_is_told_before_anybody_is_asked_whether_he_is_there() -> None:
    """The speaker fails over the result; the caller is silent."""

    def fail_over_the_result(models: FakeModels) -> None:
        whole = models.speak

        def speak(text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
            first = text.startswith("Booked") and text not in models.spoken
            models.broken = {"speak"} if first else set()
            if first:
                models.spoken.append(text)
            return whole(text, voice=voice)

        models.__setattr__("speak", speak)

    played = play(BOOKING, for_s=48, tools=FakeTools(takes_s=SLOW), prepare=fail_over_the_result)
    after = played.heard()[-3:]
    assert after == [
        "One moment while I book it. Sorry, something went wrong.",
        "Booked, John Miller.",
        "Are you there?",
    ]


@pytest.mark.parametrize("at_s", [25.2, 25.8, 26.3, 27.2, 28.0, 28.6])
@pytest.mark.parametrize("what", ["okay", "hrm", "9"])
def test_whatever_is_not_a_turn_while_a_tool_works_leaves_its_result_to_be_told(what: str, at_s: float) -> None:
    def coughs(models: FakeModels) -> None:
        models.utterances = ["" if text == "hrm" else text for text in models.utterances]

    step: Step = (at_s, (lambda call: call.press("9")) if what == "9" else what)
    played = play([*BOOKING, step], for_s=36, prepare=coughs, tools=FakeTools(takes_s=SLOW))
    assert len(booked(played)) == 1
    assert " ".join(played.heard()).count("Booked, John Miller.") == 1


def test_a_key_in_a_hand_over_s_words_does_not_keep_the_caller_from_being_put_through() -> None:
    played = play([(3.0, "a person please"), (5.3, lambda call: call.press("4"))], for_s=12)
    assert played.heard()[-1] == "I'll put you through."
    assert played.log[-1].reason == "transferred"  # type: ignore[attr-defined]


def test_a_caller_who_presses_keys_is_there_and_is_not_hung_up_on() -> None:
    keys: list[Step] = [(at_s, lambda call: call.press("5")) for at_s in (9.0, 20.0, 31.0, 42.0, 53.0)]
    played = play(keys, for_s=62)
    assert played.log[-1].reason == "caller_hung_up"  # type: ignore[attr-defined]


def test_a_result_that_was_broken_into_is_told_again() -> None:
    played = play([*BOOKING, (25.0, "what are your hours please tell me")], for_s=40)
    assert len(booked(played)) == 1
    assert "Booked, John Miller." in " ".join(played.heard())


def test_a_tool_that_fails_is_told_as_it_is() -> None:
    played = play(BOOKING, for_s=32, tools=FakeTools({"book": ToolResult("failed", {})}))
    assert played.heard()[-1] == "I could not book it."
    assert not booked(played)


def test_a_caller_who_hangs_up_while_a_tool_works_changes_nothing_about_it() -> None:
    played = play(
        [*BOOKING, (25.2, lambda call: call.caller_gone("caller_hung_up"))], for_s=40, tools=FakeTools(takes_s=1)
    )
    assert len(played.tools.calls) == 2


def test_a_wish_for_a_person_hands_the_call_over() -> None:
    played = play([(3.0, "a person please")], for_s=12)
    (asked,) = played.of(ev.TransferRequested)
    assert isinstance(asked, ev.TransferRequested)
    assert (asked.reason, asked.target) == ("request", "desk")
    assert played.heard()[-1] == "I'll put you through."
    assert played.log[-1].reason == "transferred"  # type: ignore[attr-defined]


def test_a_write_is_not_sent_while_the_call_s_state_cannot_be_saved() -> None:
    async def never() -> None:
        raise NotSaved("the disk is full")

    played = play(BOOKING, for_s=30, services=CallServices(saved=never))
    assert not [call for call in played.tools.calls if call.tool == "book"]
    assert "I could not book it." in " ".join(played.heard())


def test_whoever_takes_over_gets_the_package_before_the_call_is_put_through() -> None:
    packages: list[HandOver] = []

    async def keep(package: HandOver) -> None:
        packages.append(package)

    play([(3.0, "what are your hours"), (8.0, "a person please")], for_s=16, services=CallServices(hand_over=keep))
    (package,) = packages
    assert (package.reason, package.target) == ("request", "desk")
    assert "caller: what are your hours" in package.transcript
