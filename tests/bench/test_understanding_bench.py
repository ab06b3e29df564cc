"""The understanding benchmark's own logic: what is sampled, chosen and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.understanding import __main__ as bench
from bench.understanding.data import EXAMPLES, DataMissing, DataSet, Labelled, as_agent, called, described, load
from bench.understanding.scores import (
    NEVER,
    Refusal,
    choose_least,
    choose_refusal,
    named,
    scope,
    scored,
    sets,
)
from bench.understanding.table import markdown, parsed
from bench.understanding.ways import BOTH, MODEL, VOTES, Measured, Taken, Ways, excluded
from models.types import Judgement, Meant, RouteDecision, Situation
from pipeline.understanding.acts import UNKNOWN
from pipeline.understanding.catalogue import catalogue
from pipeline.understanding.settings import UnderstandingPolicy


def taken(label: str, *meant: str, sure: float = 0.9, shares: tuple[tuple[str, float], ...] = ()) -> Taken:
    utterance = Labelled("words", frozenset(meant))
    return Taken(utterance, label, {"share": sure}, shares or ((label, 1.0),), 5.0, "fast")


def data_folder(folder: Path) -> Path:
    """Both data sets in small, in their published form."""
    intents = ["balance", "transfer", "w2", "change"]
    split = [[f"{intent} {number}", intent] for intent in intents for number in range(30)]
    strange = [[f"strange {number}", "oos"] for number in range(60)]
    (folder / "clinc150").mkdir()
    (folder / "clinc150" / "data_full.json").write_text(
        json.dumps(
            {
                "train": split,
                "val": split,
                "test": split,
                "oos_train": strange,
                "oos_val": strange,
                "oos_test": strange,
            }
        )
    )
    (folder / "nlupp").mkdir()
    (folder / "nlupp" / "ontology.json").write_text(
        json.dumps({"intents": {name: {"description": f"is the intent to {name}?"} for name in ("greet", "change")}})
    )
    utterances = [
        {"fold": fold, "text": f"{text} in {fold}"} | ({"intents": intents} if intents else {})
        for fold in range(20)
        for text, intents in (("hi", ["greet"]), ("hi, another", ["greet", "change"]), ("tomorrow", []))
    ]
    for name in ("banking", "hotels"):
        (folder / "nlupp" / f"{name}.json").write_text(json.dumps(utterances))
    return folder


def test_every_task_has_few_examples_and_the_sizes_asked_for(tmp_path: Path) -> None:
    few, all_intents, banking, hotels = load(data_folder(tmp_path), sample=12)
    assert sorted({next(iter(one.meant)) for one in few.test if one.meant}) == ["balance", "transfer"]
    assert len(all_intents.examples) == (4 + 1) * EXAMPLES
    assert [sum(bool(one.meant) for one in part) for part in (all_intents.validation, all_intents.test)] == [6, 12]
    assert [sum(not one.meant for one in part) for part in (all_intents.validation, all_intents.test)] == [2, 4]
    assert few.among is None
    assert all_intents.among == 10
    assert banking.several
    assert {one.text.rsplit(" ", 1)[1] for one in banking.test} == {"18", "19"}
    assert {int(one.text.rsplit(" ", 1)[1]) for one in hotels.validation} == {16, 17}
    assert {int(one.text.rsplit(" ", 1)[1]) for one in hotels.examples} == set(range(16))


def test_the_same_utterances_are_drawn_each_time(tmp_path: Path) -> None:
    folder = data_folder(tmp_path)
    assert load(folder, 10) == load(folder, 10)


def test_missing_data_say_what_and_where_from(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"data_full\.json.*clinc/oos-eval.*--data"):
        load(tmp_path, 10)
    assert bench.main(["--data", str(tmp_path)]) == 2


def test_intents_become_routes_that_an_agent_may_have(tmp_path: Path) -> None:
    assert called("rollover_401k") == "rollover_k"
    assert called("change") == "alter"
    assert described("is the intent to change something?") == "means to change something"
    assert described("is the intent asking about a loan?") == "is asking about a loan"
    agent = as_agent(load(data_folder(tmp_path), 10)[1])
    meanings = {meaning.label: meaning for meaning in catalogue(agent).meanings}
    assert len(meanings["w"].examples) == EXAMPLES
    assert meanings["w"].description == "means w2"
    assert all(text.startswith("strange") for text in meanings[UNKNOWN].examples)


def test_refused_counts_only_out_of_scope() -> None:
    found = scope([taken("pay", "pay"), taken(UNKNOWN, "pay"), taken(UNKNOWN), taken("pay")])
    assert (found.right, found.in_scope, found.refused, found.out_of_scope) == (1, 2, 1, 2)
    assert scope([taken("pay", "pay", sure=0.3), taken("pay", sure=0.3)], Refusal("share", 0.5)).refused == 1


def test_the_threshold_is_the_best_of_the_validation_split() -> None:
    validation = [
        *(taken("pay", "pay", sure=0.8) for _ in range(8)),
        taken("pay", "pay", sure=0.4),
        *(taken("pay", sure=0.5) for _ in range(4)),
    ]
    chosen = choose_refusal(validation)
    assert (chosen.measure, chosen.below) == ("share", 0.8)
    assert scope(validation, chosen).recall == 1.0
    assert choose_refusal([taken("pay", "pay", sure=0.1), taken(UNKNOWN, sure=0.9)]) == NEVER


def test_several_intents_are_named_by_their_share_beside_the_likeliest() -> None:
    one = taken("pay", "pay", "card", shares=(("pay", 0.5), ("card", 0.3), (UNKNOWN, 0.15), ("loan", 0.05)))
    assert named(one, 0.5) == {"pay", "card"}
    assert named(one, 1.0) == {"pay"}
    assert named(one, 0.01) == {"pay", "card", "loan"}
    assert named(taken(UNKNOWN, shares=((UNKNOWN, 0.6), ("pay", 0.4))), 0.1) == frozenset()


def test_sets_are_counted_whole_and_by_intent() -> None:
    both = (("pay", 0.5), ("card", 0.5))
    found = sets([taken("pay", "pay", "card", shares=both), taken("pay", "pay", shares=both)], 1.0)
    assert found.exact == 0.5
    # Four named, three meant, three of them the same.
    assert found.micro_f1 == pytest.approx(2 * 3 / (4 + 3))
    assert sets([taken(UNKNOWN)], 1.0).micro_f1 == 1.0


def test_how_many_are_named_is_chosen_on_the_validation_split() -> None:
    validation = [taken("pay", "pay", "card", shares=(("pay", 0.7), ("card", 0.25), ("loan", 0.05)))] * 3
    assert 0.05 / 0.7 < choose_least(validation) <= 0.25 / 0.7


def test_the_model_chooses_among_the_nearest_and_out_of_scope() -> None:
    meant = Meant((("a", 0.5), (UNKNOWN, 0.2), ("b", 0.2), ("c", 0.1)), 0.9)
    assert set(excluded(meant, 2)) == {"q:nothing", "c"}
    assert excluded(meant, None) == ("q:nothing",)


class VotesOf:
    """pipeline.ports.Router: the shares of the votes by utterance."""

    def __init__(self, shares: dict[str, tuple[tuple[str, float], ...]]) -> None:
        self._shares = shares

    async def route(self, text: str) -> RouteDecision:
        return RouteDecision("out_of_scope", 0.5, (), Meant(self._shares[text], 0.9))


class Judging:
    """pipeline.ports.UnderstandingModel."""

    def __init__(self, *probabilities: tuple[str, float]) -> None:
        self._judgement = Judgement(probabilities)
        self.asked: list[Situation] = []

    async def judge(self, situation: Situation, request_id: str) -> Judgement:
        self.asked.append(situation)
        return self._judgement


async def test_the_ways_differ_in_who_is_asked() -> None:
    said = tuple(
        Labelled(f"{intent} {number}", frozenset({intent})) for intent in ("pay", "card") for number in range(3)
    )
    strange = tuple(Labelled(f"strange {number}", frozenset()) for number in range(3))
    data = DataSet(
        "test",
        "a bank",
        {"pay": "", "card": ""},
        (*said, *strange),
        (said[0],),
        (said[0], Labelled("odd", frozenset())),
    )
    router = VotesOf(
        {said[0].text: (("pay", 0.95), ("card", 0.05)), "odd": (("card", 0.4), (UNKNOWN, 0.35), ("pay", 0.25))}
    )
    model = Judging((UNKNOWN, 0.7), ("card", 0.2), ("pay", 0.1))
    measured = await Ways(data, router, model, UnderstandingPolicy(), Console(quiet=True)).measure()
    labels = {one.way: [taken.label for taken in one.test] for one in measured}
    assert labels == {VOTES: ["pay", "card"], MODEL: [UNKNOWN, UNKNOWN], BOTH: ["pay", UNKNOWN]}
    assert [one.decided for one in measured[2].test] == ["fast", "model"]
    assert len(model.asked) == 3


def test_a_result_is_shown_as_tables(tmp_path: Path) -> None:
    test = (taken("pay", "pay"), taken("pay"))
    single = {way: scored(Measured(way, test, test), several=False, timeout_s=2) for way in (VOTES, MODEL, BOTH)}
    several = {way: scored(Measured(way, test, test), several=True, timeout_s=2) for way in (VOTES, MODEL, BOTH)}
    result = {
        "model": "a-model",
        "load_before": 0.0,
        "data": {
            "CLINC150, 150 intents": {"among": 10, "ways": single},
            "NLU++ hotels": {"among": None, "ways": several},
        },
    }
    shown = markdown(parsed(result))
    assert "| 150 intents | the model, among the 10 nearest by votes | 100.0% | 0% | 100.0%, 0% | 5 | 5 | 5 |" in shown
    assert "| hotels | both, as in a call | 50.0% | 50.0% | 66.7% | 5 | 5 | 5 |" in shown
    assert "CLINC150, 150 intents: 2 utterances asked; of both, the votes alone decided 100%, 1 of 2 rightly" in shown
    file = tmp_path / "result.json"
    file.write_text(json.dumps({"at": "2026-01-02T00:00:00+00:00", "result": result}))
    assert bench.main(["--table", str(file)]) == 0
    assert bench.main(["--table", str(tmp_path / "none.json")]) == 2
