"""The back office of the hair salon: openings, appointments, messages.

Days are relative to the day on which it is started, so that its openings always lie in the next seven days.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

from fastapi import FastAPI, Request, Response
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
from pipeline.slots.variables import Variable

OPENINGS = (
    ("june", 1, "11:00"),
    ("marco", 2, "10:00"),
    ("nadia", 2, "10:00"),
    ("marco", 2, "15:30"),
    ("june", 3, "13:00"),
    ("nadia", 3, "18:30"),
    ("june", 4, "09:30"),
    ("nadia", 4, "14:00"),
    ("marco", 5, "09:00"),
)
"""Stylist, weekday (Monday is 0) and time."""
SERVICES = {
    "nadia": ("cut", "colour", "cut_and_colour", "highlights", "blow_dry"),
    "marco": ("cut", "mens_cut", "colour", "cut_and_colour"),
    "june": ("cut", "mens_cut", "blow_dry", "manicure"),
}
"""What each stylist does."""
APPOINTMENTS = (
    ("Olive Parker", "+14155550121", "colour", "nadia", 8, "11:00"),
    ("Henry Cole", "+14155550122", "mens_cut", "marco", 9, "09:30"),
    ("Henry Cole", "+14155550122", "cut", "june", 10, "12:00"),
    ("Tess Moran", "+14155550123", "blow_dry", "june", 0, "16:00"),
)
"""Name, telephone, service, stylist, days from the start, time."""
FREE_UNTIL = timedelta(hours=24)
"""An appointment that is nearer than this is called off by a person only."""
ANYONE = "anyone"

TABLES = """
CREATE TABLE IF NOT EXISTS openings (stylist TEXT NOT NULL, start TEXT NOT NULL, UNIQUE (stylist, start)) STRICT;
CREATE TABLE IF NOT EXISTS appointments (
  start TEXT NOT NULL, stylist TEXT NOT NULL, service TEXT NOT NULL, name TEXT NOT NULL, phone TEXT NOT NULL,
  UNIQUE (stylist, start)
) STRICT;
CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, phone TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL
) STRICT;
"""


class NewAppointment(Body):
    start: Start
    stylist: str
    service: str
    name: Name
    phone: str = Field("", pattern=r"^(\+[1-9]\d{6,14})?$")


class Message(Body):
    kind: Literal["call_back", "late"]
    phone: Phone
    name: str = Field("", max_length=100)
    text: str = Field("", max_length=400)


class Salon(Business):
    """What the office knows and does."""

    def _fill(self, today: date) -> None:
        for stylist, weekday, at in OPENINGS:
            day = today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)
            self._database.change("INSERT INTO openings VALUES (?, ?)", stylist, f"{day}T{at}")
        for name, phone, service, stylist, days, at in APPOINTMENTS:
            start = f"{today + timedelta(days=days)}T{at}"
            self._database.change(
                "INSERT INTO appointments VALUES (?, ?, ?, ?, ?)", start, stylist, service, name, phone
            )

    def _spoken(self, start: str) -> str:
        """In words: 'Tuesday at ten in the morning'; beyond seven days with the date."""
        today = self._now().date()
        moment = datetime.fromisoformat(start)
        context = ReadingContext(today=today)
        if 0 < (moment.date() - today).days <= 7:
            return f"{moment:%A} at {spoken(Variable(type='time'), f'{moment:%H:%M}', context)}"
        return spoken(Variable(type="choice"), start, context)

    def _entry(self, start: str) -> dict[str, Json]:
        return {"start": start, "spoken": self._spoken(start)}

    def _free(self, service: str, stylist: str) -> list[tuple[str, str]]:
        """Start and stylist of what is free, the soonest first."""
        now = f"{self._now():%Y-%m-%dT%H:%M}"
        rows = self._database.rows("SELECT start, stylist FROM openings WHERE start > ? ORDER BY start, stylist", now)
        return [
            (row["start"], row["stylist"])
            for row in rows
            if stylist in (ANYONE, row["stylist"]) and service in SERVICES[row["stylist"]]
        ]

    def openings(self, service: str, stylist: str) -> dict[str, Json]:
        """Raises Refused where nothing is free."""
        if stylist != ANYONE and service not in SERVICES.get(stylist, ()):
            raise Refused(422, "not_theirs", "This stylist does not do that.")
        starts = dict.fromkeys(start for start, _ in self._free(service, stylist))
        if not starts:
            raise Refused(404, "not_found", "Nothing is free.")
        return {"openings": [self._entry(start) for start in starts]}

    def appointments(self, name: str, phone: str) -> dict[str, Json]:
        """Those of a customer who knows the name and the number they were made with. Raises Refused."""
        now = f"{self._now():%Y-%m-%dT%H:%M}"
        query = "SELECT start, name FROM appointments WHERE phone = ? AND start > ? ORDER BY start"
        own = [row["start"] for row in self._database.rows(query, phone, now) if _same_name(row["name"], name)]
        if not own:
            raise Refused(404, "not_found", "There is no appointment under this name and number.")
        return {"appointments": [self._entry(start) for start in own], "only": own[0] if len(own) == 1 else None}

    def book(self, wanted: NewAppointment) -> Answer:
        who = next((who for start, who in self._free(wanted.service, wanted.stylist) if start == wanted.start), None)
        if who is None:
            raise Refused(409, "conflict", "This time is no longer free.")
        self._database.change("DELETE FROM openings WHERE start = ? AND stylist = ?", wanted.start, who)
        kept = (wanted.start, who, wanted.service, wanted.name, wanted.phone)
        self._database.change("INSERT INTO appointments VALUES (?, ?, ?, ?, ?)", *kept)
        return 201, {**self._entry(wanted.start), "stylist": who.title()}

    def cancel(self, start: str, phone: str) -> Answer:
        own = "start = ? AND phone = ?"
        row = self._database.row(f"SELECT stylist FROM appointments WHERE {own}", start, phone)  # noqa: S608 (our own text)
        if row is None:
            raise Refused(404, "not_found", "There is no such appointment.")
        if datetime.fromisoformat(start) - self._now() < FREE_UNTIL:
            raise Refused(409, "too_late", "It is too near to be called off without a person.")
        self._database.change(f"DELETE FROM appointments WHERE {own}", start, phone)  # noqa: S608 (our own text)
        self._database.change("INSERT INTO openings VALUES (?, ?)", row["stylist"], start)
        return 200, {"cancelled": start}

    def message(self, told: Message) -> Answer:
        query = "INSERT INTO messages (kind, phone, name, text) VALUES (?, ?, ?, ?)"
        self._database.change(query, told.kind, told.phone, told.name, told.text)
        return 201, {"phone": told.phone}

    def state(self) -> dict[str, Json]:
        """Everything that calls may have changed."""
        tables = {
            "appointments": "SELECT start, stylist, service, name, phone FROM appointments ORDER BY start",
            "messages": "SELECT kind, phone, name, text FROM messages ORDER BY id",
        }
        return {name: [dict(row) for row in self._database.rows(query)] for name, query in tables.items()}


def create_app(database: Database, now: Callable[[], datetime] = datetime.now) -> FastAPI:
    """The office's HTTP interface. `now`: local time where the salon is."""
    salon = Salon(database, now)
    app = office("Fern & Foil, back office")

    @app.get("/openings")
    async def openings(service: str, stylist: str = ANYONE) -> Response:
        return respond((200, salon.openings(service, stylist)))

    @app.get("/appointments")
    async def appointments(name: Name, phone: Phone) -> Response:
        return respond((200, salon.appointments(name, phone)))

    @app.post("/appointments")
    async def book(request: Request, body: NewAppointment, key: Key = None) -> Response:
        return respond(database.once(key, fingerprint(request, body), lambda: salon.book(body)))

    @app.delete("/appointments/{start}")
    async def cancel(request: Request, start: Start, phone: Phone, key: Key = None) -> Response:
        return respond(database.once(key, fingerprint(request, None), lambda: salon.cancel(start, phone)))

    @app.post("/messages")
    async def message(request: Request, body: Message, key: Key = None) -> Response:
        return respond(database.once(key, fingerprint(request, body), lambda: salon.message(body)))

    @app.post("/reset")
    async def reset() -> Response:
        salon.reset()
        return Response(status_code=204)

    @app.get("/state")
    async def state() -> Response:
        return respond((200, salon.state()))

    return app


def open_office(file: Path | None, now: Callable[[], datetime] = datetime.now) -> FastAPI:
    """The office over its database."""
    return create_app(Database(TABLES, file), now)


def _same_name(one: str, other: str) -> bool:
    return one.lower().split() == other.lower().split()
