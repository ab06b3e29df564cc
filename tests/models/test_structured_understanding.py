"""What is meant, written down within a grammar: what may be named where, and what comes of a reply. A fake engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest

from models.llm import VllmLanguageModel
from models.llm_settings import LlmSettings
from models.structured_understanding import CERTAINTY, StructuredUnderstanding, structured_prompt
from models.types import Catalogue, Exchange, GenerateRequest, Judgement, Meaning, ModelFailure, Situation

CATALOGUE = Catalogue(
    "Ferry office",
    (
        Meaning("q:dogs", 'asks something that this answers: "Dogs travel free."', ("Can Rex come?",), fact="Dogs."),
        Meaning("q:bikes", 'asks something that this answers: "Bikes are five."', ("What's a bike?",), fact="Bikes."),
        Meaning("sail", "wants a passage", ("Two seats please", "Get me over")),
        Meaning("other", "wants anything else"),
        Meaning("answer", "answers what you asked", in_flow_only=True),
    ),
    (Exchange("Which day?", "Monday", "answer"),),
)


class FakeEngine(VllmLanguageModel):
    """Replies as it is told; what it is asked is kept."""

    def __init__(self, reply: str = '{"acts":["sail"],"sure":"sure"}') -> None:
        super().__init__(LlmSettings())
        self.reply = reply
        self.asked: list[tuple[GenerateRequest, Mapping[str, object]]] = []

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        self.asked.append((request, schema))
        return self.reply


def judge(engine: FakeEngine, situation: Situation) -> Judgement:
    return asyncio.run(StructuredUnderstanding(engine, CATALOGUE, examples=1).judge(situation, "r1"))


@pytest.mark.parametrize(
    ("situation", "may_be_named"),
    [
        (Situation("hm"), ["q:dogs", "q:bikes", "sail", "other"]),
        (Situation("hm", "Which day?"), ["q:dogs", "q:bikes", "sail", "other", "answer"]),
        (Situation("hm", "Which day?", ("sail",)), ["q:dogs", "q:bikes", "other", "answer"]),
    ],
    ids=["between flows", "in a flow", "in the flow that is wished for"],
)
def test_the_grammar_names_only_what_can_be_meant_there(situation: Situation, may_be_named: list[str]) -> None:
    engine = FakeEngine('{"acts":["other"],"sure":"sure"}')
    judged = judge(engine, situation)
    ((_, schema),) = engine.asked
    acts = json.loads(json.dumps(schema))["properties"]["acts"]
    assert acts["items"]["enum"] == may_be_named
    assert (acts["minItems"], acts["maxItems"]) == (1, 3)
    assert {label for label, _ in judged.probabilities} == set(may_be_named)


@pytest.mark.parametrize("sure", list(CERTAINTY))
def test_what_is_named_is_as_probable_as_the_model_is_sure(sure: str) -> None:
    judged = judge(FakeEngine(json.dumps({"acts": ["sail"], "sure": sure})), Situation("over please"))
    assert judged.acts == ("sail",)
    assert judged.probabilities[0] == ("sail", CERTAINTY[sure])
    assert sum(share for _, share in judged.probabilities) == pytest.approx(1)


def test_several_acts_keep_their_order_and_share_what_is_sure_of_them() -> None:
    judged = judge(
        FakeEngine('{"acts":["q:dogs","sail","q:dogs"],"sure":"likely"}'), Situation("with Rex, how much, two seats")
    )
    assert judged.acts == ("q:dogs", "sail")
    assert judged.probabilities[:2] == (("q:dogs", CERTAINTY["likely"] / 2), ("sail", CERTAINTY["likely"] / 2))
    assert sum(share for _, share in judged.probabilities) == pytest.approx(1)


@pytest.mark.parametrize("reply", ["", '{"acts":[],"sure":"sure"}', '{"acts":["sail"],"sure":"very"}', '{"acts":["sa'])
def test_a_reply_that_is_none_is_a_failure(reply: str) -> None:
    with pytest.raises(ModelFailure, match="request r1"):
        judge(FakeEngine(reply), Situation("over please"))


def test_examples_are_turns_written_as_the_grammar_has_them_and_some_mean_two_things() -> None:
    prompt = structured_prompt(CATALOGUE, examples=1)
    assert prompt == structured_prompt(CATALOGUE, examples=1), "the same every time, or nothing is cached"
    assert "sail = the caller wants a passage" in prompt[0].content
    turns = {prompt[at].content: prompt[at + 1].content for at in range(1, len(prompt), 2)}
    assert turns == {
        "Can Rex come?": '{"acts":["q:dogs"],"sure":"sure"}',
        "What's a bike?": '{"acts":["q:bikes"],"sure":"sure"}',
        "Two seats please": '{"acts":["sail"],"sure":"sure"}',
        '(You said: "Which day?") Monday': '{"acts":["answer"],"sure":"sure"}',
        "Can Rex come? And What's a bike?": '{"acts":["q:dogs","q:bikes"],"sure":"sure"}',
    }


def test_what_is_asked_begins_alike_for_all_and_ends_with_the_callers_words() -> None:
    engine = FakeEngine()
    one = StructuredUnderstanding(engine, CATALOGUE, examples=2)
    asyncio.run(one.judge(Situation("When?"), "r1"))
    asyncio.run(one.judge(Situation("Monday", "Which day?"), "r2"))
    (first, _), (second, _) = engine.asked
    assert first.messages[:-1] == second.messages[:-1]
    assert [request.messages[-1].content for request, _ in engine.asked] == ["When?", '(You said: "Which day?") Monday']
