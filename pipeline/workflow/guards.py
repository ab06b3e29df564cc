"""Whether a condition of an agent file holds: what is known in the call, and what time it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta

from pipeline.hours import Hours, minute_at
from pipeline.slots.spans import minute_of
from pipeline.slots.variables import SlotType, Variable
from pipeline.state import CallState
from pipeline.workflow.definition import CALLER, NOW, Bound, Guard

_TODAY = re.compile(r"today(?:\s*([+-])\s*(\d{1,3})(?: days?)?)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Conditions:
    """Of one agent, for one call."""

    def __init__(
        self, variables: Mapping[str, Variable], hours: Hours, now: Callable[[], datetime], *, caller: str = ""
    ) -> None:
        """`now`: what a clock on the business's wall says; `caller`: the number that calls, or nothing."""
        self._variables = variables
        self._caller = caller
        self._hours = hours
        self._now = now

    def hold(self, guard: Guard, state: CallState) -> bool:
        """Whether the condition holds. What compares a variable without a value does not.

        Raises ValueError for a bound that does not fit its variable's type.
        """
        if guard.known is not None and not self._knows(guard.known, state):
            return False
        if guard.unknown is not None and self._knows(guard.unknown, state):
            return False
        if guard.level is not None and state.level < guard.level:
            return False
        if any(name not in state.values for name in guard.compared()):
            return False
        if any(state.values[name].value != wanted for name, wanted in guard.equals.items()):
            return False
        if not self._within(guard, state):
            return False
        if guard.open is not None and not self._is_open(guard, state):
            return False
        if guard.any_of and not any(self.hold(one, state) for one in guard.any_of):
            return False
        return not any(self.hold(one, state) for one in guard.none_of)

    def _knows(self, name: str, state: CallState) -> bool:
        return bool(self._caller) if name == CALLER else state.knows(name)

    def _within(self, guard: Guard, state: CallState) -> bool:
        ranges: list[tuple[str, Bound | None, Bound | None]] = [
            *((name, least, None) for name, least in guard.at_least.items()),
            *((name, None, most) for name, most in guard.at_most.items()),
            *((name, least, most) for name, (least, most) in guard.between.items()),
        ]
        return all(self._lies(state, *each) for each in ranges) and all(
            _day(state.values[name].value).weekday() in weekdays for name, weekdays in guard.weekdays().items()
        )

    def _lies(self, state: CallState, name: str, least: Bound | None, most: Bound | None) -> bool:
        kind, today = self._type(name), self._now().date()
        try:
            value = measure(kind, state.values[name].value, today)
        except ValueError:
            return False  # A tool's return that is no number, say.
        low = measure(kind, least, today) if least is not None else value
        high = measure(kind, most, today) if most is not None else value
        if kind == "time" and least is not None and most is not None and low > high:
            return value >= low or value <= high
        return low <= value <= high

    def _is_open(self, guard: Guard, state: CallState) -> bool:
        now = self._now()
        if guard.open == NOW:
            return self._hours.is_open(now.date(), minute_at(now))
        said = {self._type(name): state.values[name].value for name in guard.moment()}
        day = _day(said["date"]) if "date" in said else now.date()
        if "time" not in said:
            return bool(self._hours.on(day))
        return self._hours.is_open(day, minute_of(said["time"]))

    def _type(self, name: str) -> SlotType:
        return self._variables[name].type if name in self._variables else "number"


def measure(kind: SlotType, bound: Bound, today: date) -> float:
    """A value or bound as a number that others of its type can be compared with: days, minutes, or the number itself.

    Raises ValueError for one that is none of the type.
    """
    match kind, bound:
        case "date", str():
            return _day(bound, today).toordinal()
        case "time", str():
            return minute_of(bound)
        case "time", _:
            return float(bound)  # YAML reads an unquoted 17:30 as 17 * 60 + 30, which is what is meant.
        case (("number" | "money" | "digits" | "choice" | "text"), _):
            return float(bound)
    raise ValueError(f"{bound!r} cannot be compared with a variable of type {kind}")


def _day(text: str, today: date | None = None) -> date:
    said = _TODAY.fullmatch(text) if today is not None else None
    if said is not None and today is not None:
        return today + timedelta(days=int((said[1] or "") + (said[2] or "0")))
    if _DATE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no date; expected one such as 2026-12-24, today, or today+3")
    return date.fromisoformat(text)
