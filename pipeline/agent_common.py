"""What every business has, by language: lines and routes that become part of an agent file when it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import get_args

from pydantic import JsonValue, TypeAdapter, ValidationError

from models.settings import SettingsError, StrictModel, load_settings
from pipeline.agent_examples import plain, with_examples
from pipeline.agent_library import with_library
from pipeline.agent_questions import with_second_wordings
from pipeline.agent_trouble import TroubleWords, with_trouble
from pipeline.hours_said import HOURS_FACT, HOURS_QUESTIONS
from pipeline.slots.types import Language
from pipeline.understanding.phrases import phrases

_HONEST = "robot"
"""Whoever asks whether a human speaks gets an answer, from every agent."""
_MANY = ("say", "flow")
"""Kinds of which an agent has many routes; of the others one is enough, whatever it is called."""
_NAME = "{name}"
_Entries = list[dict[str, JsonValue]]
_ENTRIES: TypeAdapter[_Entries] = TypeAdapter(_Entries)


class CommonLines(StrictModel):
    """As in `pipeline.agent.Lines`, of which these are the ones that an agent file need not have."""

    greeting: str
    fallback: tuple[str, ...]
    not_understood: tuple[str, ...]
    filler: str
    resumed: str
    apology: str
    reprompt: str
    farewell: str
    silence_farewell: str
    too_long: str
    warning: str
    abuse_farewell: str


class CommonRoute(StrictModel):
    """As `pipeline.agent.Route`, with `utterances` as an agent has them by route."""

    name: str
    kind: str
    description: str = ""
    line: str | None = None
    flow: str | None = None
    examples: tuple[str, ...]
    utterances: tuple[str, ...] = ()


class Common(StrictModel):
    """One language's. {name} in its texts is the agent's name."""

    persona: str
    lines: CommonLines
    hand_over: str
    """`escalation.line`."""
    frustration_words: tuple[str, ...]
    """`escalation.frustration_words`."""
    trouble: TroubleWords
    routes: tuple[CommonRoute, ...]


class CommonUse(StrictModel):
    """What of it an agent takes."""

    without: tuple[str, ...] = ()
    """Routes that it leaves out: nothing of them is added to its own."""


@cache
def common(language: Language) -> Common:
    """What every business has, in that language. Raises SettingsError if its file is damaged."""
    return load_settings(Path(__file__).parent / "common" / f"{language}.yaml", Common)


def with_common(data: Mapping[str, JsonValue], path: Path) -> dict[str, JsonValue]:
    """An agent file's content with what every business has, with the flows that it takes from the library, and with
    what its files of examples say (`with_examples`).

    What the file has of its own counts: of a route what it says, and its examples come before the common ones; an
    example that it uses for something else is left out. Raises SettingsError as `with_examples` does, and for a route
    that cannot be left out.
    """
    language = next((known for known in get_args(Language) if known == data.get("language", "en")), None)
    own = _entries(data.get("routes", []))
    if language is None or own is None:
        return with_examples(data, path)  # What is wrong with it is said when it is read.
    data, offered = with_library(data, language, str(path)), common(language)
    left_out = _left_out(data, offered, path)
    routes, beside = _routes(data, own, [route for route in offered.routes if route.name not in left_out])
    filled = with_examples({**data, "routes": routes}, path)
    _add_examples(filled, beside, language)
    filled.setdefault("persona", offered.persona)
    filled["lines"] = _over(offered.lines.model_dump(mode="json"), filled.get("lines", {}))
    if "escalation" in filled:
        said: dict[str, JsonValue] = {"line": offered.hand_over, "frustration_words": [*offered.frustration_words]}
        filled["escalation"] = _over(said, filled["escalation"])
    filled, words = with_trouble(filled, offered.trouble), phrases(language)
    filled = with_second_wordings(filled, {"ask": words.not_got, "confirm": words.yes_or_no})
    name = str(data.get("name", ""))
    return filled | {key: _named(filled[key], name) for key in ("persona", "lines", "routes", "utterances")}


def _left_out(data: Mapping[str, JsonValue], offered: Common, path: Path) -> Sequence[str]:
    use = data.get("common")
    named = use.get("without") if isinstance(use, dict) else None
    without = [str(name) for name in named] if isinstance(named, list) else []
    names = [route.name for route in offered.routes]
    if strange := [name for name in without if name not in names]:
        raise SettingsError(
            f"{path}: common.without: there is no {', '.join(strange)}; expected some of {', '.join(names)}"
        )
    if _HONEST in without:
        raise SettingsError(
            f"{path}: common.without: {_HONEST} stays: who asks gets an honest answer; to word it yourself, give a "
            f"route {_HONEST} with a line"
        )
    return without


def _routes(
    data: Mapping[str, JsonValue], own: _Entries, offered: Sequence[CommonRoute]
) -> tuple[list[JsonValue], list[tuple[int, CommonRoute]]]:
    """The agent's own routes and then the common ones, yet without the common examples; and which of them get those."""
    routes: list[JsonValue] = [*own]
    beside: list[tuple[int, CommonRoute]] = []
    for route in offered:
        said: dict[str, JsonValue] = {
            key: value for key, value in route.model_dump(mode="json").items() if value and key != "utterances"
        }
        number = _number(own, route)
        if number is None and not _fits(data, route):
            continue
        if number is None:
            number = len(routes)
            routes.append({**said, "examples": []})
        else:
            entry = own[number]
            if entry.get("kind", route.kind) != route.kind:
                said = {"description": route.description} if route.description else {}
            routes[number] = {**said, "examples": [], **entry}
        beside.append((number, route))
    return routes, beside


def _number(own: _Entries, route: CommonRoute) -> int | None:
    """Which of the agent's own routes does what the common one does."""
    numbers = range(len(own))
    same = next((number for number in numbers if own[number].get("name") == route.name), None)
    if same is None and route.flow is not None:
        same = next((number for number in numbers if own[number].get("flow") == route.flow), None)
    if same is None and route.kind not in _MANY:
        same = next((number for number in numbers if own[number].get("kind") == route.kind), None)
    return same


def _fits(data: Mapping[str, JsonValue], route: CommonRoute) -> bool:
    if route.kind == "person":
        return "escalation" in data
    flows = data.get("flows")
    return route.flow is None or (isinstance(flows, dict) and route.flow in flows)


def _add_examples(filled: dict[str, JsonValue], beside: Sequence[tuple[int, CommonRoute]], language: Language) -> None:
    routes, had = filled["routes"], filled.get("utterances", {})
    if not isinstance(routes, list) or not isinstance(had, dict):
        return
    facts = _entries(filled.get("facts", [])) or []
    asked = [question for fact in facts for question in _texts(fact.get("questions"))]
    if filled.get("hours") and all(fact.get("id") != HOURS_FACT for fact in facts):
        asked += HOURS_QUESTIONS[language]
    owned = [text for route in routes if isinstance(route, dict) for text in _texts(route.get("examples"))]
    spoken_for = {plain(text) for text in (*owned, *asked, *(text for texts in had.values() for text in _texts(texts)))}
    utterances = dict(had)
    for number, route in beside:
        entry = routes[number]
        if not isinstance(entry, dict):
            continue
        label = str(entry.get("name"))
        if route.kind == "knowledge":
            taken = {plain(text) for text in owned}
            own = _texts(entry.get("examples"))
            free = [
                text for text in dict.fromkeys((*asked, *(() if own else route.examples))) if plain(text) not in taken
            ]
            routes[number] = entry | {"examples": [*own, *free]}
            continue
        free = [text for text in route.examples if plain(text) not in spoken_for]
        if isinstance(examples := entry.get("examples"), list):  # What is none of an example is named when it is read.
            routes[number] = entry | {"examples": [*examples, *free]}
        more = [text for text in route.utterances if plain(text) not in spoken_for]
        if more:
            utterances[label] = [*_texts(had.get(label)), *more]
    filled["utterances"] = utterances


def _texts(value: JsonValue) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _entries(value: JsonValue) -> _Entries | None:
    try:
        return _ENTRIES.validate_python(value, strict=True)
    except ValidationError:
        return None


def _over(defaults: Mapping[str, JsonValue], own: JsonValue) -> JsonValue:
    """What an agent file says under a key, over what it need not say."""
    return {**defaults, **own} if isinstance(own, dict) else own


def _named(value: JsonValue, name: str) -> JsonValue:
    if isinstance(value, str):
        return value.replace(_NAME, name)
    if isinstance(value, list):
        return [_named(one, name) for one in value]
    if isinstance(value, dict):
        return {key: _named(one, name) for key, one in value.items()}
    return value
