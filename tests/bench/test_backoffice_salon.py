"""The salon's back office, over HTTP: what it offers for whom, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime

import httpx
import pytest_asyncio

from bench.backoffice.office import serving
from bench.backoffice.salon import open_office

TUESDAY = datetime(2026, 12, 1, 10, 0)
OPENING = {"start": "2026-12-02T10:00", "stylist": "anyone", "service": "cut", "name": "Ida Bloom"}


@pytest_asyncio.fixture
async def office() -> AsyncGenerator[httpx.AsyncClient, None]:
    async with (
        serving(open_office(None, lambda: TUESDAY)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        yield client


async def offered(office: httpx.AsyncClient, service: str, stylist: str) -> list[str]:
    found = await office.get("/openings", params={"service": service, "stylist": stylist})
    return [one["spoken"] for one in found.json()["openings"]]


async def test_a_time_at_which_two_are_free_is_offered_once_and_the_soonest_comes_first(
    office: httpx.AsyncClient,
) -> None:
    anyone = await offered(office, "colour", "anyone")
    assert anyone[:2] == ["Wednesday at ten in the morning", "Wednesday at three thirty in the afternoon"]
    assert await offered(office, "highlights", "anyone") == await offered(office, "highlights", "nadia")


async def test_a_stylist_who_does_not_do_that_is_refused(office: httpx.AsyncClient) -> None:
    found = await office.get("/openings", params={"service": "manicure", "stylist": "nadia"})
    assert (found.status_code, found.json()["code"]) == (422, "not_theirs")


async def test_two_may_book_a_time_at_which_two_are_free_and_a_third_is_refused(office: httpx.AsyncClient) -> None:
    answers = [await office.post("/appointments", json=OPENING) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert [answer.json()["stylist"] for answer in answers[:2]] == ["Marco", "Nadia"]


async def test_the_same_key_books_once(office: httpx.AsyncClient) -> None:
    for _ in range(2):
        await office.post("/appointments", json=OPENING, headers={"Idempotency-Key": "CA1/book"})
    state = (await office.get("/state")).json()
    assert [row["name"] for row in state["appointments"]].count("Ida Bloom") == 1


async def test_only_ones_own_appointment_is_called_off_and_not_within_a_day(office: httpx.AsyncClient) -> None:
    async def cancelled(start: str, phone: str) -> int:
        return (await office.delete(f"/appointments/{start}", params={"phone": phone})).status_code

    assert await cancelled("2026-12-09T11:00", "+14155550122") == 404
    assert await cancelled("2026-12-09T11:00", "+14155550121") == 200
    assert await cancelled("2026-12-01T16:00", "+14155550123") == 409
    assert "Wednesday, the ninth of December, at eleven in the morning" in await offered(office, "colour", "nadia")
