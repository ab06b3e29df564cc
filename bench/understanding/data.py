"""Public data as agents of this product: CLINC150 with one domain and with all, NLU++ with both of its.

CLINC150 (Larson et al. 2019, CC BY 3.0): an utterance means one of its intents or is out of scope. Here as few-shot:
`EXAMPLES` of each intent from the train split, and as many of its out-of-scope ones for what an agent does not know.

NLU++ (Casanueva et al. 2022, CC BY 4.0): an utterance means any number of intents. 20 folds: here 0 to 15 are learnt
from, on 16 and 17 what has to be chosen is chosen, 18 and 19 are asked.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from models.types import ModelFailure
from pipeline.agent import Agent, Fact, Lines, Route
from pipeline.understanding.acts import CHANGE

EXAMPLES = 20
"""Of each intent of CLINC150."""
BANKING = (
    "freeze_account routing pin_change bill_due pay_bill account_blocked interest_rate min_payment bill_balance "
    "transfer order_checks balance spending_history transactions report_fraud"
).split()
"""The intents of one of CLINC150's ten domains (data/domains.json in its repository)."""
LEARNT, CHOSEN_ON, ASKED = range(16), range(16, 18), range(18, 20)
"""Folds of NLU++."""
WHERE = {
    "clinc150": "data/data_full.json of github.com/clinc/oos-eval, as clinc150/data_full.json",
    "nlupp": "nlupp/data of github.com/PolyAI-LDN/task-specific-datasets, as nlupp/banking.json, nlupp/hotels.json "
    "(a list each, every utterance with its `fold`) and nlupp/ontology.json",
}
"""What is needed of each, and where it is."""
NO_FACT = "nothing"
"""Id of the one fact that an agent has to have. It is never asked for."""
_SEED = 20
_LEAST_EXAMPLES = 3
"""Of a route."""
_T = TypeVar("_T")


class DataMissing(RuntimeError):
    """The public data are not on this machine, or are others."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """An utterance and what it means."""

    text: str
    meant: frozenset[str]
    """Intents; none of them: it is out of scope."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """One task, sampled."""

    name: str
    business: str
    intents: Mapping[str, str]
    """What each means, as a predicate of the caller; empty: its name says it."""
    examples: tuple[Labelled, ...]
    validation: tuple[Labelled, ...]
    """What has to be chosen is chosen on these, and on no others."""
    test: tuple[Labelled, ...]
    several: bool = False
    """Whether an utterance may mean several intents."""
    shown: int = 3
    """Examples of each intent in the model's prompt."""
    among: int | None = None
    """The model chooses among so many, nearest by the votes; None: among all."""


class _Clinc(BaseModel):
    train: list[tuple[str, str]]
    val: list[tuple[str, str]]
    test: list[tuple[str, str]]
    oos_train: list[tuple[str, str]]
    oos_val: list[tuple[str, str]]
    oos_test: list[tuple[str, str]]


class _Utterance(BaseModel):
    fold: int
    text: str
    intents: list[str] = []


class _Intent(BaseModel):
    description: str


class _Ontology(BaseModel):
    intents: dict[str, _Intent]


def load(folder: Path, sample: int) -> list[DataSet]:
    """Every task. `sample`: utterances in scope to be asked of each at most; out of scope a third of that, and half of
    either to choose on. The same ones each time. Raises DataMissing."""
    clinc = _read(folder / "clinc150" / "data_full.json", TypeAdapter(_Clinc), "clinc150")
    ontology = _read(folder / "nlupp" / "ontology.json", TypeAdapter(_Ontology), "nlupp")
    everything = list(dict.fromkeys(label for _, label in clinc.train))
    return [
        _clinc150("CLINC150, 15 intents", "a bank", clinc, BANKING, sample, shown=3, among=None),
        # With one example each, the catalogue is all that fits into the prompt; of 128 words at once the engine says
        # how likely they are.
        _clinc150("CLINC150, 150 intents", "an assistant", clinc, everything, sample, shown=1, among=10),
        *(
            _nlupp(
                f"NLU++ {name}",
                business,
                _read(folder / "nlupp" / f"{name}.json", TypeAdapter(list[_Utterance]), "nlupp"),
                ontology,
                sample,
            )
            for name, business in (("banking", "a bank"), ("hotels", "a hotel"))
        ),
    ]


def _read(path: Path, kind: TypeAdapter[_T], source: str) -> _T:
    try:
        return kind.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise DataMissing(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); expected public data that are not part of this "
            f"repository: {WHERE[source]}; name their folder with --data"
        ) from error


def _clinc150(
    name: str, business: str, data: _Clinc, intents: Sequence[str], sample: int, *, shown: int, among: int | None
) -> DataSet:
    def in_scope(split: Iterable[tuple[str, str]]) -> list[Labelled]:
        return [Labelled(text, frozenset({called(label)})) for text, label in split if label in intents]

    def out_of_scope(split: Iterable[tuple[str, str]]) -> list[Labelled]:
        return [Labelled(text, frozenset()) for text, _ in split]

    return DataSet(
        name,
        business,
        {called(intent): f"means {intent.replace('_', ' ')}" for intent in intents},
        (
            *(
                one
                for intent in intents
                for one in drawn(in_scope((text, label) for text, label in data.train if label == intent), EXAMPLES)
            ),
            *drawn(out_of_scope(data.oos_train), EXAMPLES),
        ),
        (*drawn(in_scope(data.val), sample // 2), *drawn(out_of_scope(data.oos_val), sample // 6)),
        (*drawn(in_scope(data.test), sample), *drawn(out_of_scope(data.oos_test), sample // 3)),
        shown=shown,
        among=among,
    )


def _nlupp(name: str, business: str, utterances: Sequence[_Utterance], ontology: _Ontology, sample: int) -> DataSet:
    def of(folds: range) -> list[Labelled]:
        return [
            Labelled(one.text, frozenset(called(intent) for intent in one.intents))
            for one in utterances
            if one.fold in folds
        ]

    examples = of(LEARNT)
    known = sorted({intent for one in utterances for intent in one.intents})
    return DataSet(
        name,
        business,
        {called(intent): described(ontology.intents[intent].description) for intent in known},
        tuple(drawn(examples, len(examples))),
        tuple(drawn(of(CHOSEN_ON), sample // 2)),
        tuple(drawn(of(ASKED), sample)),
        several=True,
    )


def drawn(of: Sequence[Labelled], most: int) -> list[Labelled]:
    """At most so many, in random order, the same each time."""
    return random.Random(_SEED).sample(of, min(most, len(of)))


def called(intent: str) -> str:
    """An intent's name as a route may have it: without digits, and not the one of what every agent understands."""
    return "alter" if intent == CHANGE else re.sub(r"[0-9]+", "", intent).strip("_")


def described(question: str) -> str:
    """NLU++ asks "is the intent to change something?"; here, what the caller does: "means to change something"."""
    rest = question.removeprefix("is the intent ").removesuffix("?")
    return f"means {rest}" if rest.startswith("to ") else f"is {rest}"


def as_agent(data: DataSet) -> Agent:
    """The agent that has the intents for routes. Raises ModelFailure if one has fewer than three examples."""
    said = {intent: tuple(one.text for one in data.examples if intent in one.meant) for intent in data.intents}
    strange = tuple(one.text for one in data.examples if not one.meant)
    for intent, texts in (*said.items(), ("out of scope", strange)):
        if len(texts) < _LEAST_EXAMPLES:
            raise ModelFailure(f"{data.name}: {intent}: expected at least {_LEAST_EXAMPLES} examples, got {len(texts)}")
    line = "Yes."
    return Agent(
        name=data.business,
        persona=f"You answer the phone for {data.business}.",
        voice="af_heart",
        lines=Lines(
            greeting=line,
            fallback=(line,),
            not_understood=(line,),
            apology=line,
            reprompt=line,
            farewell=line,
            silence_farewell=line,
            too_long=line,
            warning=line,
            abuse_farewell=line,
        ),
        # The classifier on routes has no part in this: it gets as few examples as it may.
        routes=(
            *(
                Route(
                    name=intent,
                    kind="say",
                    line=line,
                    description=description,
                    examples=said[intent][:_LEAST_EXAMPLES],
                )
                for intent, description in data.intents.items()
            ),
            Route(name="out_of_scope", kind="fallback", examples=strange),
        ),
        facts=(Fact(id=NO_FACT, text=line),),
        utterances=said,
    )
