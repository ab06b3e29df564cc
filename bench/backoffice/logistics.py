"""The back office of the parcel carrier: parcels, delivery windows, codes by text message, tickets.

Days are relative to the day on which it is started. Where a parcel is, anybody who has its number may know; whose it
is, and any change, takes a session: the code that was sent to the telephone on file, given back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI, Header, Request, Response
from pydantic import Field

from bench.backoffice.office import Answer, Body, Business, Database, Key, Phone, Refused, fingerprint, office, respond
from bench.results import Json
from pipeline.slots.reading import ReadingContext, spoken
from pipeline.slots.variables import Variable

CUSTOMERS = (
    ("Mary Johnson", "+14155550101"),
    ("Robert Smith", "+14155550102"),
    ("Linda Garcia", "+14155550103"),
    ("David Lee", "+14155550104"),
)
PARCELS = (
    ("40018823", "Mary Johnson", "Alder Books", "at_depot", 2, "morning"),
    ("40027719", "Mary Johnson", "Penrose Shoes", "on_van", 0, "afternoon"),
    ("40031146", "Robert Smith", "Kettle and Company", "in_transit", 3, "afternoon"),
    ("40040592", "Linda Garcia", "Fernway Garden", "delivered", -2, "morning"),
    ("40055307", "David Lee", "Lumen Lamps", "delayed", 4, "morning"),
)
"""Number, customer, sender, status, days from the start, window."""
WINDOWS = {
    "morning": "in the morning, between eight and twelve",
    "afternoon": "in the afternoon, between twelve and four",
    "evening": "in the evening, between four and eight",
}
"""How it is said."""
FULL = ((1, "evening"), (4, "morning"))
"""Windows that are full from the start: days from the start, window."""
FURTHEST_DAYS = 14
SUNDAY = 6
CODES = ("471902", "306518", "829437", "150263", "694175")
"""What is texted, one after another: this office is a stand-in, and scripts must be able to say its codes."""
CODE_MINUTES = 10
CODE_TRIES = 3
CODES_A_NUMBER = 3
"""So many texts go to one telephone within `CODE_MINUTES`."""
FIRST_TICKET, TICKET_STEP = 520417, 37

TABLES = """
CREATE TABLE IF NOT EXISTS customers (name TEXT PRIMARY KEY, phone TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS parcels (
  number TEXT PRIMARY KEY, customer TEXT NOT NULL REFERENCES customers, sender TEXT NOT NULL, status TEXT NOT NULL,
  day TEXT NOT NULL, slot TEXT NOT NULL, place TEXT NOT NULL DEFAULT 'door', place_detail TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS full_windows (day TEXT, slot TEXT, PRIMARY KEY (day, slot)) STRICT;
CREATE TABLE IF NOT EXISTS challenges (
  id TEXT PRIMARY KEY, phone TEXT NOT NULL, code TEXT NOT NULL, sent_at TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
  token TEXT PRIMARY KEY, customer TEXT NOT NULL REFERENCES customers, challenge TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tickets (
  number TEXT PRIMARY KEY, category TEXT NOT NULL, description TEXT NOT NULL, parcel TEXT NOT NULL, phone TEXT NOT NULL
) STRICT;
"""

Window = Literal["morning", "afternoon", "evening"]
Category = Literal["damaged", "late", "missing", "driver", "other"]
Number = Annotated[str, Field(pattern=r"^\d{8}$")]
Session = Annotated[str, Header(alias="X-Session", max_length=100)]


class NewCode(Body):
    """Exactly one of them."""

    parcel: str = Field("", pattern=r"^(\d{8})?$")
    """The code goes to the telephone on file for this parcel."""
    phone: str = Field("", pattern=r"^(\+[1-9]\d{6,14})?$")
    """A customer's telephone."""


class Check(Body):
    code: str = Field(pattern=r"^\d{6}$")


class Schedule(Body):
    day: date
    window: Window


class Place(Body):
    place: Literal["neighbour", "safe_place", "door"]
    detail: str = Field("", max_length=200)


class NewTicket(Body):
    category: Category
    description: str = Field(min_length=3, max_length=400)
    parcel: str = Field("", pattern=r"^(\d{8})?$")
    phone: str = Field("", pattern=r"^(\+[1-9]\d{6,14})?$")


class Carrier(Business):
    """What the office knows and does."""

    def _fill(self, today: date) -> None:
        change = self._database.change
        for name, phone in CUSTOMERS:
            change("INSERT INTO customers VALUES (?, ?)", name, phone)
        for number, customer, sender, status, days, window in PARCELS:
            day = today + timedelta(days=days)
            if day.weekday() == SUNDAY and days > 0:
                day += timedelta(days=1)
            change(
                "INSERT INTO parcels (number, customer, sender, status, day, slot) VALUES (?, ?, ?, ?, ?, ?)",
                number,
                customer,
                sender,
                status,
                day.isoformat(),
                window,
            )
        for days, window in FULL:
            change("INSERT INTO full_windows VALUES (?, ?)", (today + timedelta(days=days)).isoformat(), window)

    # -- reads -----------------------------------------------------------------------------------------------------

    def caller(self, phone: str) -> dict[str, Json]:
        """Whether the number is a customer's; not whose."""
        known = self._database.row("SELECT 1 FROM customers WHERE phone = ?", phone) is not None
        return {"phone": phone, "customer_phone": phone if known else None}

    def parcel(self, number: str) -> dict[str, Json]:
        """Where it is, and nothing about who gets it. Raises Refused."""
        row = self._parcel(number)
        return {
            "number": number,
            "status": row["status"],
            "news": self._news(row["status"], date.fromisoformat(row["day"]), row["slot"]),
            "can_change": row["status"] not in ("on_van", "delivered"),
        }

    def parcels(self, session: str) -> dict[str, Json]:
        """Those of a customer that are under way. Raises Refused."""
        customer = self._customer(session)
        rows = self._database.rows(
            "SELECT * FROM parcels WHERE customer = ? AND status != 'delivered' ORDER BY number", customer
        )
        if not rows:
            raise Refused(404, "not_found", "There is no parcel under way for this customer.")
        listed: list[Json] = [
            {"value": row["number"], "spoken": f"the one from {row['sender']}", "keywords": [row["sender"]]}
            for row in rows
        ]
        return {"parcels": listed, "only": rows[0]["number"] if len(rows) == 1 else None}

    def windows(self, number: str, day: date, window: str) -> dict[str, Json]:
        """What is free on a day; `window` comes back as `free` or as `taken`. Raises Refused."""
        self._parcel(number)
        self._must_be_a_delivery_day(day)
        free = [name for name in WINDOWS if not self._is_full(day, name)]
        if not free:
            raise Refused(409, "day_full", "Nothing is free on this day.")
        listed: list[Json] = [{"value": name, "spoken": f"in the {name}"} for name in free]
        return {
            "windows": listed,
            "free": window if window in free else None,
            "taken": window if window and window not in free else None,
        }

    # -- proving who calls -----------------------------------------------------------------------------------------

    def send_code(self, wanted: NewCode) -> Answer:
        if bool(wanted.parcel) == bool(wanted.phone):
            raise Refused(422, "invalid", "Expected either parcel or phone.")
        if wanted.parcel:
            customer = self._parcel(wanted.parcel)["customer"]
            row = self._database.row("SELECT phone FROM customers WHERE name = ?", customer)
        else:
            row = self._database.row("SELECT phone FROM customers WHERE phone = ?", wanted.phone)
        if row is None:
            raise Refused(404, "not_found", "This telephone is not on file.")
        phone: str = row["phone"]
        since = (self._now() - timedelta(minutes=CODE_MINUTES)).isoformat()
        sent = self._database.rows("SELECT 1 FROM challenges WHERE phone = ? AND sent_at > ?", phone, since)
        if len(sent) >= CODES_A_NUMBER:
            raise Refused(409, "too_many", "Too many codes were sent to this telephone.")
        count = len(self._database.rows("SELECT 1 FROM challenges"))
        challenge = secrets.token_urlsafe(9)
        self._database.change(
            "INSERT INTO challenges (id, phone, code, sent_at) VALUES (?, ?, ?, ?)",
            challenge,
            phone,
            CODES[count % len(CODES)],
            self._now().isoformat(),
        )
        ending = spoken(Variable(type="digits"), phone[-2:], ReadingContext(today=self._now().date()))
        return 201, {"challenge": challenge, "ending": ending}

    def check(self, challenge: str, code: str) -> Answer:
        row = self._database.row("SELECT * FROM challenges WHERE id = ?", challenge)
        if row is None:
            raise Refused(404, "not_found", "There is no such challenge.")
        if self._now() - datetime.fromisoformat(row["sent_at"]) > timedelta(minutes=CODE_MINUTES):
            raise Refused(410, "expired", "This code has expired.")
        if row["tries"] >= CODE_TRIES:
            raise Refused(409, "locked", "This code was tried too often.")
        self._database.change("UPDATE challenges SET tries = tries + 1 WHERE id = ?", challenge)
        if not secrets.compare_digest(row["code"], code):
            # An answer, not a Refused: that would undo the count.
            left = CODE_TRIES - row["tries"] - 1
            return 409, {"code": "wrong" if left else "locked", "message": f"Wrong code; tries left: {left}."}
        # A code is used once.
        self._database.change("UPDATE challenges SET tries = ? WHERE id = ?", CODE_TRIES, challenge)
        customer = self._database.row("SELECT name FROM customers WHERE phone = ?", row["phone"])
        assert customer is not None
        token = secrets.token_urlsafe(18)
        self._database.change("INSERT INTO sessions VALUES (?, ?, ?)", token, customer["name"], challenge)
        return 200, {"session": token, "level": 1}

    # -- changes ---------------------------------------------------------------------------------------------------

    def schedule(self, number: str, session: str, wanted: Schedule) -> Answer:
        row = self._own_parcel(number, session)
        self._must_be_a_delivery_day(wanted.day)
        if self._is_full(wanted.day, wanted.window):
            raise Refused(409, "conflict", "This window is full.")
        status = "at_depot" if row["status"] == "delayed" else row["status"]
        self._database.change(
            "UPDATE parcels SET day = ?, slot = ?, status = ? WHERE number = ?",
            wanted.day.isoformat(),
            wanted.window,
            status,
            number,
        )
        return 200, {"number": number, "day": wanted.day.isoformat(), "window": wanted.window}

    def place(self, number: str, session: str, wanted: Place) -> Answer:
        self._own_parcel(number, session)
        self._database.change(
            "UPDATE parcels SET place = ?, place_detail = ? WHERE number = ?", wanted.place, wanted.detail, number
        )
        return 200, {"number": number, "place": wanted.place}

    def ticket(self, wanted: NewTicket) -> Answer:
        if wanted.parcel:
            self._parcel(wanted.parcel)
        number = str(FIRST_TICKET + TICKET_STEP * len(self._database.rows("SELECT 1 FROM tickets")))
        self._database.change(
            "INSERT INTO tickets VALUES (?, ?, ?, ?, ?)",
            number,
            wanted.category,
            wanted.description,
            wanted.parcel,
            wanted.phone,
        )
        return 201, {"ticket": number}

    # -- for tests -------------------------------------------------------------------------------------------------

    def fill_window(self, day: date, window: str) -> Answer:
        """Others have taken the last place in a window."""
        self._database.change("INSERT OR IGNORE INTO full_windows VALUES (?, ?)", day.isoformat(), window)
        return 200, {"day": day.isoformat(), "window": window}

    def load(self, number: str) -> Answer:
        """The parcel is put on the van."""
        self._parcel(number)
        self._database.change(
            "UPDATE parcels SET status = 'on_van', day = ? WHERE number = ?", self._now().date().isoformat(), number
        )
        return 200, {"number": number}

    def messages(self) -> list[Json]:
        """The text messages that were sent."""
        rows = self._database.rows("SELECT phone, code FROM challenges ORDER BY rowid")
        return [{"phone": row["phone"], "text": f"Your Northway code is {row['code']}."} for row in rows]

    def state(self) -> dict[str, Json]:
        """Everything that calls may have changed."""
        tables = {
            "parcels": "SELECT number, status, day, slot, place, place_detail FROM parcels ORDER BY number",
            "tickets": "SELECT * FROM tickets ORDER BY number",
        }
        return {name: [dict(row) for row in self._database.rows(query)] for name, query in tables.items()}

    # -- rules -----------------------------------------------------------------------------------------------------

    def _parcel(self, number: str) -> dict[str, str]:
        row = self._database.row("SELECT * FROM parcels WHERE number = ?", number)
        if row is None:
            raise Refused(404, "not_found", "There is no such parcel.")
        return dict(row)

    def _customer(self, session: str) -> str:
        row = self._database.row("SELECT customer FROM sessions WHERE token = ?", session)
        if row is None:
            raise Refused(403, "no_session", "There is no such session.")
        customer: str = row["customer"]
        return customer

    def _own_parcel(self, number: str, session: str) -> dict[str, str]:
        """A parcel that this customer may still change. Raises Refused."""
        customer, row = self._customer(session), self._parcel(number)
        if row["customer"] != customer:
            raise Refused(403, "forbidden", "This parcel is another customer's.")
        if row["status"] in ("on_van", "delivered"):
            raise Refused(409, "too_late", "This parcel can no longer be changed.")
        return row

    def _must_be_a_delivery_day(self, day: date) -> None:
        days = (day - self._now().date()).days
        if days < 1:
            raise Refused(422, "too_soon", "The first day that can be chosen is tomorrow.")
        if days > FURTHEST_DAYS:
            raise Refused(422, "too_far", f"The last day that can be chosen is {FURTHEST_DAYS} days ahead.")
        if day.weekday() == SUNDAY:
            raise Refused(422, "closed", "There are no deliveries on Sundays.")

    def _is_full(self, day: date, window: str) -> bool:
        taken = self._database.row("SELECT 1 FROM full_windows WHERE (day, slot) = (?, ?)", day.isoformat(), window)
        return taken is not None

    def _news(self, status: str, day: date, window: str) -> str:
        """A parcel's status as a sentence's second half."""
        today = self._now().date()
        context = ReadingContext(today=today)
        near = {today: "today", today + timedelta(days=1): "tomorrow", today - timedelta(days=1): "yesterday"}
        when = near.get(day) or f"on {spoken(Variable(type='date', ahead=day >= today), day.isoformat(), context)}"
        slot = WINDOWS[window]
        return {
            "in_transit": f"is on its way to our depot, and is due {when}, {slot}",
            "at_depot": f"is at our depot, and is due {when}, {slot}",
            "on_van": f"is on the van, and comes {when}, {slot}",
            "delayed": f"is delayed, and is now due {when}, {slot}",
            "delivered": f"was delivered {when}",
        }[status]


def create_app(database: Database, now: Callable[[], datetime] = datetime.now) -> FastAPI:
    """The office's HTTP interface. `now`: local time where the carrier is."""
    carrier = Carrier(database, now)
    app = office("Northway Logistics, back office")
    _add_reads(app, carrier)
    _add_test_controls(app, carrier)

    @app.post("/codes")
    async def send_code(request: Request, body: NewCode, key: Key = None) -> Response:
        return respond(database.once(key, fingerprint(request, body), lambda: carrier.send_code(body)))

    @app.post("/codes/{challenge}/check")
    async def check(request: Request, challenge: str, body: Check, key: Key = None) -> Response:
        return respond(database.once(key, fingerprint(request, body), lambda: carrier.check(challenge, body.code)))

    @app.put("/parcels/{number}/schedule")
    async def schedule(
        request: Request, number: Number, body: Schedule, session: Session = "", key: Key = None
    ) -> Response:
        return respond(database.once(key, fingerprint(request, body), lambda: carrier.schedule(number, session, body)))

    @app.put("/parcels/{number}/place")
    async def place(request: Request, number: Number, body: Place, session: Session = "", key: Key = None) -> Response:
        return respond(database.once(key, fingerprint(request, body), lambda: carrier.place(number, session, body)))

    @app.post("/tickets")
    async def ticket(request: Request, body: NewTicket, key: Key = None) -> Response:
        return respond(database.once(key, fingerprint(request, body), lambda: carrier.ticket(body)))

    @app.post("/reset")
    async def reset() -> Response:
        carrier.reset()
        return Response(status_code=204)

    return app


def _add_reads(app: FastAPI, carrier: Carrier) -> None:
    @app.get("/callers/{phone}")
    async def caller(phone: Phone) -> Response:
        return respond((200, carrier.caller(phone)))

    @app.get("/parcels")
    async def parcels(session: Session = "") -> Response:
        return respond((200, carrier.parcels(session)))

    @app.get("/parcels/{number}")
    async def parcel(number: Number) -> Response:
        return respond((200, carrier.parcel(number)))

    @app.get("/parcels/{number}/windows")
    async def windows(number: Number, day: date, window: Window | None = None) -> Response:
        return respond((200, carrier.windows(number, day, window or "")))

    @app.get("/state")
    async def state() -> Response:
        return respond((200, carrier.state()))


def _add_test_controls(app: FastAPI, carrier: Carrier) -> None:
    """What other people do meanwhile, and what only the customer's telephone shows."""

    @app.post("/dispatch/full")
    async def fill_window(body: Schedule) -> Response:
        return respond(carrier.fill_window(body.day, body.window))

    @app.post("/dispatch/load/{number}")
    async def load(number: Number) -> Response:
        return respond(carrier.load(number))

    @app.get("/messages")
    async def messages() -> Response:
        return respond((200, carrier.messages()))


def open_office(file: Path | None, now: Callable[[], datetime] = datetime.now) -> FastAPI:
    """The office over its database."""
    return create_app(Database(TABLES, file), now)
