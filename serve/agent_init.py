"""`trunkline agent init`: a running agent of five answers, and conversations that it must pass."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from string import Template
from types import MappingProxyType

from models.settings import SettingsError, parse_mapping
from pipeline.agent import Agent, agent_of
from pipeline.hours import Hours
from pipeline.slots.types import Language

_SOURCE = "agent init"
_STARTERS = Path(__file__).with_name("starters")
_OPENING = re.compile(r"\s*([a-z][a-z, -]*?)[\s:]+(\d.*|closed)\s*", re.IGNORECASE)
"""Days and their hours: "monday-friday 9:00-17:00"."""
_A_MONDAY = date(2026, 11, 23)
_DAY_MIN = 24 * 60


@dataclass(frozen=True, slots=True)
class _Caller:
    """What the test's caller says, and what the agent must answer, in one language."""

    hello: str
    asks_hours: str
    asks_for_person: str
    thanks: str
    goodbye: str
    closed: str
    """Words of what is said when nobody is there."""


_CALLERS: Mapping[Language, _Caller] = MappingProxyType(
    {
        "en": _Caller(
            hello="Hello",
            asks_hours="When are you open?",
            asks_for_person="Can I speak to someone?",
            thanks="Thank you",
            goodbye="Goodbye",
            closed="nobody is here",
        ),
        "es": _Caller(
            hello="Hola",
            asks_hours="¿Cuándo abren?",
            asks_for_person="¿Puedo hablar con alguien?",
            thanks="Gracias",
            goodbye="Adiós",
            closed="no hay nadie",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Business:
    """What is asked."""

    name: str
    what: str
    """As after "is": "a bakery in Harbour Street"."""
    language: Language
    zone: str
    hours: str
    """Days with their hours, ';' between: "monday-friday 9:00-17:00; saturday 9:00-13:00"."""
    phone: str
    """E.164, or a SIP address: who takes over."""


def started(business: Business) -> dict[str, str]:
    """The text of the agent file under "agent", and of its conversations under their names. Raises SettingsError."""
    openings = _openings(business.hours)
    filled = {
        "title": " ".join(business.name.split()),
        "name": _inside(business.name),
        "business": _inside(business.what.rstrip(".")),
        "zone": _inside(business.zone),
        "phone": _inside(business.phone),
        "days": "\n".join(f"  {days}: {json.dumps(opening)}" for days, opening in openings.items()),
    }
    template = Template((_STARTERS / f"{business.language}.yaml").read_text(encoding="utf-8"))
    text = template.substitute(filled)
    agent = agent_of(parse_mapping(text, _SOURCE), Path(_SOURCE))
    return {"agent": text, **_conversations(agent)}


def _openings(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(str.strip, text.split(";")):
        match = _OPENING.fullmatch(part)
        if match is None:
            raise SettingsError(
                f'hours: {part.strip()!r}: expected days and their hours, such as "monday-friday 9:00-17:00; saturday '
                '9:00-13:00"'
            )
        found[match[1].strip().lower()] = match[2].strip().lower()
    return found


def _inside(text: str) -> str:
    """As it stands between double quotes."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False)[1:-1]


def _conversations(agent: Agent) -> dict[str, str]:
    caller = _CALLERS[agent.language]
    asks = f"""# A conversation that the agent must pass: trunkline agent eval AGENT THIS_FOLDER
description: Says hello, asks for the hours, thanks and says goodbye.
edge: happy
lines:
  - {{say: {_quoted(caller.hello)}, expect: {{all_of: [{_line(agent, "greeting")}]}}}}
  - {{say: {_quoted(caller.asks_hours)}, expect: {{all_of: [{_quoted(agent.fact("hours").text)}]}}}}
  - {{say: {_quoted(caller.thanks)}, expect: {{all_of: [{_line(agent, "thanks")}]}}}}
  - {{say: {_quoted(caller.goodbye)}}}
"""
    made = {"asks_for_the_hours": asks}
    if (at := _moment(agent.hours, open_=True)) is not None:
        made["wants_a_person"] = f"""description: Asks for a person while somebody is there, and is put through.
edge: person
now: "{at:%Y-%m-%dT%H:%M}"
lines:
  - {{say: {_quoted(caller.asks_for_person)}}}
expect: {{end: transferred, transferred_to: desk, reason: request}}
"""
    if (at := _moment(agent.hours, open_=False)) is not None:
        made["wants_a_person_at_night"] = f"""description: Asks for a person while nobody is there, and is told so.
edge: out_of_hours
now: "{at:%Y-%m-%dT%H:%M}"
lines:
  - {{say: {_quoted(caller.asks_for_person)}, expect: {{any_of: [{_quoted(caller.closed)}]}}}}
  - {{say: {_quoted(caller.goodbye)}}}
"""
    return made


def _line(agent: Agent, name: str) -> str:
    route = agent.route(name)
    assert route is not None
    assert route.line is not None
    return _quoted(route.line)


def _moment(hours: Hours, *, open_: bool) -> datetime | None:
    """Some time of a week in November when it is open, or is not, and has been for half an hour; None: never."""
    for day in (_A_MONDAY + timedelta(days=days) for days in range(7)):
        for minute in range(0, _DAY_MIN - 60, 30):
            if all(hours.is_open(day, minute + later) == open_ for later in (0, 30, 60)):
                return datetime.combine(day, time((minute + 30) // 60, (minute + 30) % 60))
    return None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
