"""The back office of the dental practice: patients, openings, appointments, insurance plans, call-backs.

Days are relative to the day on which it is started, so that its openings always lie in the next seven days.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Header, Request, Response
from pydantic import Field

from bench.backoffice.office import (
    Answer,
    Body,
    Business,
    Database,
    Key,
    Name,
    Phone,
    Refused,
    Start,
    fingerprint,
    office,
    respond,
)
from bench.results import Json
from pipeline.slots.reading import ReadingContext, spoken
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable

OPENINGS = ((1, "10:00"), (1, "14:30"), (3, "09:00"), (4, "15:30"))
"""Weekday (Monday is 0) and time, in the order in which they are offered."""
PATIENTS = (
    ("Mary Johnson", "+14155550101"),
    ("Robert Smith", "+14155550102"),
    ("Linda Garcia", "+14155550103"),
    ("David Lee", "+14155550104"),
)
APPOINTMENTS = (
    ("Mary Johnson", 9, "11:00"),
    ("Robert Smith", 10, "09:30"),
    ("Robert Smith", 17, "16:00"),
    ("Linda Garcia", 0, "16:30"),
)
"""Patient, days from the start, time."""
PLANS = {
    "delta": ("Delta Dental", True),
    "cigna": ("Cigna", True),
    "aetna": ("Aetna", True),
    "metlife": ("MetLife", True),
    "guardian": ("Guardian", False),
    "humana": ("Humana", False),
    "kaiser": ("Kaiser", False),
}
"""Insurance plans: name, and whether the practice takes them."""
SUNDAY = 6
HOURS = {**dict.fromkeys(range(5), ("08:00", "17:00")), 5: ("09:00", "13:00")}
FREE_UNTIL = timedelta(days=1)
"""An appointment that is nearer than this is changed by a person only."""

_WEEKDAYS_ES = ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo")

TABLES = """
CREATE TABLE IF NOT EXISTS patients (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, phone TEXT NOT NULL, UNIQUE (name, phone)
) STRICT;
CREATE TABLE IF NOT EXISTS openings (start TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS appointments (
  start TEXT PRIMARY KEY, name TEXT NOT NULL, phone TEXT NOT NULL, reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS call_backs (
  id INTEGER PRIMARY KEY, phone TEXT NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
"""


class NewAppointment(Body):
    start: Start
    name: Name
    phone: str = Field("", pattern=r"^(\+[1-9]\d{6,14})?$")
    reason: str = Field("", max_length=200)


class Move(Body):
    start: Start


class CallBack(Body):
    phone: Phone
    name: str = Field("", max_length=100)
    reason: str = Field("", max_length=400)


class Practice(Business):
    """What the office knows and does."""

    def _fill(self, today: date) -> None:
        phones = dict(PATIENTS)
        for name, phone in PATIENTS:
            self._database.change("INSERT INTO patients (name, phone) VALUES (?, ?)", name, phone)
        for position, (weekday, at) in enumerate(OPENINGS):
            day = today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)
            self._database.change("INSERT INTO openings VALUES (?, ?)", f"{day}T{at}", position)
        for name, days, at in APPOINTMENTS:
            day = today + timedelta(days=days)
            start = f"{day + timedelta(days=day.weekday() == SUNDAY)}T{at}"
            self._database.change(
                "INSERT INTO appointments (start, name, phone) VALUES (?, ?, ?)", start, name, phones[name]
            )

    def spoken(self, start: str, language: Language = "en") -> str:
        """In words: 'Tuesday at ten in the morning'; beyond seven days with the date."""
        today = self._now().date()
        moment = datetime.fromisoformat(start)
        context = ReadingContext(today=today, language=language)
        if 0 < (moment.date() - today).days <= 7:
            at = spoken(Variable(type="time"), f"{moment:%H:%M}", context)
            return f"el {_WEEKDAYS_ES[moment.weekday()]} a {at}" if language == "es" else f"{moment:%A} at {at}"
        return spoken(Variable(type="choice"), start, context)

    def _entry(self, start: str) -> dict[str, Json]:
        return {"start": start, "spoken": self.spoken(start)}

    def desk(self) -> dict[str, Json]:
        """Whether somebody is there now."""
        now = self._now()
        hours = HOURS.get(now.weekday())
        is_open = hours is not None and hours[0] <= f"{now:%H:%M}" < hours[1]
        return {"open": is_open}

    def caller(self, phone: str) -> dict[str, Json]:
        rows = self._database.rows("SELECT id, name FROM patients WHERE phone = ?", phone)
        # A telephone that several patients share does not tell who calls.
        patient = {"id": rows[0]["id"], "name": rows[0]["name"]} if len(rows) == 1 else None
        return {"phone": phone, "patient": patient}

    def openings(self, language: Language) -> dict[str, Json]:
        now = f"{self._now():%Y-%m-%dT%H:%M}"
        rows = self._database.rows("SELECT start FROM openings WHERE start > ? ORDER BY position", now)
        entries = [{"start": row["start"], "spoken": self.spoken(row["start"], language)} for row in rows]
        return {"openings": [*entries]}

    def appointments(self, name: str, phone: str) -> dict[str, Json]:
        """Those of a patient who knows the name and the number they were made with. Raises Refused."""
        now = f"{self._now():%Y-%m-%dT%H:%M}"
        rows = self._database.rows(
            "SELECT start, name FROM appointments WHERE phone = ? AND start > ? ORDER BY start", phone, now
        )
        own = [row["start"] for row in rows if _same_name(row["name"], name)]
        if not own:
            raise Refused(404, "not_found", "There is no appointment under this name and number.")
        return {
            "appointments": [self._entry(start) for start in own],
            "only": own[0] if len(own) == 1 else None,
            "level": 1,
        }

    def book(self, wanted: NewAppointment) -> Answer:
        if not self._database.change("DELETE FROM openings WHERE start = ?", wanted.start):
            raise Refused(409, "conflict", "This time is no longer free.")
        self._database.change(
            "INSERT INTO appointments VALUES (?, ?, ?, ?)", wanted.start, wanted.name, wanted.phone, wanted.reason
        )
        return 201, {**self._entry(wanted.start), "name": wanted.name}

    def move(self, start: str, to: str) -> Answer:
        self._must_be_free_to_change(start)
        if not self._database.change("DELETE FROM openings WHERE start = ?", to):
            raise Refused(409, "conflict", "This time is no longer free.")
        self._database.change("UPDATE appointments SET start = ? WHERE start = ?", to, start)
        self._is_free_again(start)
        return 200, self._entry(to)

    def cancel(self, start: str) -> Answer:
        self._must_be_free_to_change(start)
        self._database.change("DELETE FROM appointments WHERE start = ?", start)
        self._is_free_again(start)
        return 200, {"cancelled": start}

    def _must_be_free_to_change(self, start: str) -> None:
        if self._database.row("SELECT 1 FROM appointments WHERE start = ?", start) is None:
            raise Refused(404, "not_found", "There is no such appointment.")
        if datetime.fromisoformat(start) - self._now() < FREE_UNTIL:
            raise Refused(409, "too_late", "It is too near to be changed without a person.")

    def _is_free_again(self, start: str) -> None:
        if (datetime.fromisoformat(start).date() - self._now().date()).days <= 7:
            self._database.change("INSERT INTO openings SELECT ?, coalesce(max(position), 0) + 1 FROM openings", start)

    def plan(self, plan: str) -> dict[str, Json]:
        if plan not in PLANS:
            raise Refused(404, "not_found", "This plan is not known here.")
        name, accepted = PLANS[plan]
        return {"plan": plan, "name": name, "accepted": accepted}

    def call_back(self, wanted: CallBack) -> Answer:
        self._database.change(
            "INSERT INTO call_backs (phone, name, reason) VALUES (?, ?, ?)", wanted.phone, wanted.name, wanted.reason
        )
        return 201, {"phone": wanted.phone}

    def take(self, start: str) -> Answer:
        """Somebody else takes an opening, at the front desk."""
        return self.book(NewAppointment(start=start, name="Front Desk", phone="", reason=""))

    def state(self) -> dict[str, Json]:
        """Everything that calls may have changed."""
        tables = {
            "appointments": "SELECT start, name, phone FROM appointments ORDER BY start",
            "call_backs": "SELECT phone, name, reason FROM call_backs ORDER BY id",
        }
        return {name: [dict(row) for row in self._database.rows(query)] for name, query in tables.items()}


def create_app(database: Database, now: Callable[[], datetime] = datetime.now) -> FastAPI:
    """The office's HTTP interface. `now`: local time where the practice is."""
    practice = Practice(database, now)
    app = office("Bright Dental, back office")
    _add_reads(app, practice)

    @app.post("/appointments")
    async def book(request: Request, body: NewAppointment, key: Key = None) -> Response:
        return respond(database.once(key, fingerprint(request, body), lambda: practice.book(body)))

    @app.patch("/appointments/{start}")
    async def move(request: Request, start: Start, body: Move, key: Key = None) -> Response:
        return respond(database.once(key, fingerprint(request, body), lambda: practice.move(start, body.start)))

    @app.delete("/appointments/{start}")
    async def cancel(request: Request, start: Start, key: Key = None) -> Response:
        return respond(database.once(key, fingerprint(request, None), lambda: practice.cancel(start)))

    @app.post("/call_backs")
    async def call_back(request: Request, body: CallBack, key: Key = None) -> Response:
        return respond(database.once(key, fingerprint(request, body), lambda: practice.call_back(body)))

    @app.post("/front_desk/{start}")
    async def front_desk(request: Request, start: Start) -> Response:
        """For tests: somebody at the desk gives an opening away."""
        return respond(database.once(None, fingerprint(request, None), lambda: practice.take(start)))

    @app.post("/reset")
    async def reset() -> Response:
        practice.reset()
        return Response(status_code=204)

    return app


def _add_reads(app: FastAPI, practice: Practice) -> None:
    @app.get("/desk")
    async def desk() -> Response:
        return respond((200, practice.desk()))

    @app.get("/callers/{phone}")
    async def caller(phone: Phone) -> Response:
        return respond((200, practice.caller(phone)))

    @app.get("/openings")
    async def openings(accept_language: Annotated[str, Header()] = "en") -> Response:
        return respond((200, practice.openings("es" if accept_language.startswith("es") else "en")))

    @app.get("/appointments")
    async def appointments(name: Name, phone: Phone) -> Response:
        return respond((200, practice.appointments(name, phone)))

    @app.get("/plans/{plan}")
    async def plan(plan: str) -> Response:
        return respond((200, practice.plan(plan)))

    @app.get("/state")
    async def state() -> Response:
        return respond((200, practice.state()))


def open_office(file: Path | None, now: Callable[[], datetime] = datetime.now) -> FastAPI:
    """The office over its database."""
    return create_app(Database(TABLES, file), now)


def _same_name(one: str, other: str) -> bool:
    """Names as people say them: without case, punctuation and middle initials."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> list[str]:
    return [word for word in re.findall(r"[^\W\d_]+", name.lower()) if len(word) > 1]
