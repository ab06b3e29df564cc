"""The head and the text's form by themselves; the whole router on the real encoder and a small dental practice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.router import (
    Embeddings,
    IntentRouter,
    KnowledgePassage,
    LinearHead,
    SentenceEncoder,
    familiarity,
    spoken_form,
)
from models.types import ModelFailure

EXAMPLES = {
    "hours": [
        "What are your opening hours?",
        "When are you open?",
        "What time do you close?",
        "Are you open on Saturday?",
    ],
    "price": [
        "How much is a cleaning?",
        "What does whitening cost?",
        "What do you charge for a filling?",
        "Prices please",
    ],
    "booking": [
        "I'd like to book an appointment",
        "Can I come in on Tuesday?",
        "I need to see the dentist",
        "Schedule a cleaning for me",
        "Do you have anything free this week?",
    ],
    "location": ["Where are you located?", "What is your address?", "How do I find you?", "Is there parking?"],
    "insurance": [
        "Do you take my insurance?",
        "Do you accept Delta Dental?",
        "Which plans do you take?",
        "Am I covered?",
    ],
    "goodbye": ["Goodbye", "Thanks, bye", "That's all, thank you", "Have a nice day, bye"],
    "human": ["Can I talk to a person?", "Let me speak to a human", "Operator please", "Put me through to someone"],
    "other": ["What's the weather like?", "Tell me a joke", "Who won the game?", "Order me a pizza", "Play some music"],
}
HELD_OUT = {
    "hours": ["what hours do you keep", "till when are you there on friday", "uh do you open on weekends"],
    "price": ["how expensive is a crown", "what would a cleaning cost me", "how much do you want for a check up"],
    "booking": ["i want to make an appointment", "could you fit me in on monday", "set me up with a visit please"],
    "location": ["what street are you on", "where is your office", "where can i park my car"],
    "insurance": ["will you bill my insurance", "is cigna accepted", "do you work with my dental plan"],
    "goodbye": ["okay bye bye", "alright thank you goodbye", "no that was all thanks bye"],
    "human": ["i want to talk to a real person", "can you put me through to a human", "get me somebody at the desk"],
    "other": ["who is the president of france", "can you sing me a song", "will it rain tomorrow"],
}
PASSAGES = (
    KnowledgePassage("hours", "We are open Monday to Friday, from eight to five.", ("What are your opening hours?",)),
    KnowledgePassage("cleaning", "A cleaning is one hundred and twenty dollars.", ("How much is a cleaning?",)),
    KnowledgePassage("whitening", "Whitening is three hundred dollars.", ("What does whitening cost?",)),
    KnowledgePassage("parking", "Parking behind the building is free."),
)


def clouds(*sizes: int) -> tuple[Embeddings, list[str]]:
    """Unit vectors round one axis a label."""
    random = np.random.default_rng(7)
    rows = [
        np.eye(384)[label] + 0.05 * random.normal(size=384) for label, size in enumerate(sizes) for _ in range(size)
    ]
    stacked = np.array(rows, np.float32)
    labels = [f"label{label}" for label, size in enumerate(sizes) for _ in range(size)]
    return stacked / np.linalg.norm(stacked, axis=1, keepdims=True), labels


def test_case_punctuation_and_fillers_do_not_count() -> None:
    assert spoken_form("Um, what's your ADDRESS?") == spoken_form("what’s your address") == "what's your address"
    assert spoken_form("Uh.") == "uh", "an utterance of nothing but a filler keeps it"


def test_head_separates_what_can_be_separated_and_its_probabilities_sum_to_one() -> None:
    rows, labels = clouds(6, 5, 7)
    head = LinearHead.fit(rows[1:], labels[1:])
    probabilities = head.probabilities(rows[0])
    assert head.labels[int(probabilities.argmax())] == "label0"
    assert probabilities.max() > 0.8
    assert probabilities.sum() == pytest.approx(1.0)


def test_a_label_with_many_examples_does_not_swallow_the_undecided() -> None:
    rows, labels = clouds(40, 4)
    undecided = (rows[0] + rows[-1]) / np.linalg.norm(rows[0] + rows[-1])
    rare = LinearHead.fit(rows, labels).probabilities(undecided)[1]
    assert 0.2 < rare < 0.8


def test_labels_that_cannot_be_told_apart_get_no_confidence() -> None:
    rows, _ = clouds(40)
    head = LinearHead.fit(rows, [f"label{number % 2}" for number in range(40)])
    assert head.probabilities(rows[0]).max() < 0.75, "even on an example it was trained on"


def test_the_same_examples_give_the_same_head() -> None:
    rows, labels = clouds(5, 5)
    first, second = LinearHead.fit(rows, labels), LinearHead.fit(rows, labels)
    assert first.probabilities(rows[3]).tolist() == second.probabilities(rows[3]).tolist()


@pytest.mark.parametrize("sizes", [(5,), (5, 1)])
def test_too_few_labels_or_examples_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ModelFailure, match=r"at least two labels with two examples each, got label0: 5"):
        LinearHead.fit(*clouds(*sizes))


def test_familiarity_rises_from_strange_to_known() -> None:
    assert familiarity(-0.1) == familiarity(0.2) == 0.0
    assert familiarity(0.35) == pytest.approx(0.5)
    assert familiarity(0.5) == familiarity(1.0) == 1.0


def test_a_folder_without_weights_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ModelFailure, match=r"cannot load .*expected model\.onnx and tokenizer\.json"):
        SentenceEncoder(tmp_path)


@pytest.fixture(scope="module")
def folder() -> Path:
    from models.weights import prepare

    return prepare("minilm-l6-v2")


@pytest.fixture(scope="module")
def router(folder: Path) -> IntentRouter:
    return IntentRouter(folder, examples=EXAMPLES, passages=PASSAGES)


@pytest.mark.slow
def test_embeddings_are_of_length_one_and_do_not_depend_on_their_company(folder: Path) -> None:
    encoder = SentenceEncoder(folder)
    alone = encoder.encode(["when are you open"])
    padded = encoder.encode(["when are you open", "i would like to make an appointment for a cleaning on tuesday"])
    assert np.linalg.norm(padded, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert padded[0] == pytest.approx(alone[0], abs=1e-5)


@pytest.mark.slow
def test_meaning_not_words_makes_sentences_near(folder: Path) -> None:
    texts = ["how much is a cleaning", "what do you charge to polish teeth", "how much is a helicopter"]
    rows = SentenceEncoder(folder).encode(texts)
    assert float(rows[0] @ rows[1]) > float(rows[0] @ rows[2])


@pytest.mark.slow
def test_new_phrasings_as_a_transcriber_writes_them_are_routed_right(router: IntentRouter) -> None:
    wrong = [
        (text, decision.label, round(decision.confidence, 2))
        for label, texts in HELD_OUT.items()
        for text in texts
        if (decision := router.route(text)).label != label
    ]
    assert len(wrong) <= 2, wrong


@pytest.mark.slow
def test_confidence_tells_familiar_from_foreign(router: IntentRouter) -> None:
    asked = [router.route(text).confidence for label, texts in HELD_OUT.items() if label != "other" for text in texts]
    foreign = ["the mitochondria is the powerhouse of the cell", "blue banana tuxedo", "is the moon made of cheese"]
    strange = [decision.confidence for text in foreign if (decision := router.route(text)).label != "other"]
    assert np.median(asked) > 0.6
    assert max(strange, default=0.0) < 0.4
    assert router.route(" ...?! ").confidence == 0.0
    assert router.route("").passages == ()


@pytest.mark.slow
def test_passages_come_best_first_found_by_question_or_text(router: IntentRouter) -> None:
    found = router.route("how much does teeth whitening cost", top_k=2).passages
    assert [passage.id for passage in found] == ["whitening", "cleaning"]
    assert 1 >= found[0].score > found[1].score >= -1
    assert found[0].text == PASSAGES[2].text
    assert router.route("can i leave my car behind the building").passages[0].id == "parking"


@pytest.mark.slow
def test_a_very_long_utterance_is_judged_by_its_end(router: IntentRouter) -> None:
    story = "my neighbour told me about her garden and her two cats " * 30
    assert router.route(story + "anyway i would like to book an appointment").label == "booking"


@pytest.mark.slow
def test_a_router_without_knowledge_still_routes(folder: Path) -> None:
    decision = IntentRouter(folder, examples=EXAMPLES, passages=()).route("what is your address")
    assert (decision.label, decision.passages) == ("location", ())
