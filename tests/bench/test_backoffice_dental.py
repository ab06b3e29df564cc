"""The dental practice's back office, over HTTP: what it offers, what it refuses, and how it fails on demand."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from bench.backoffice.dental import open_office
from bench.backoffice.office import serving

MONDAY = datetime(2026, 11, 23, 10, 0)
MARY = {"name": "Mary Johnson", "phone": "+14155550101"}
OPENING = {"start": "2026-11-24T10:00", "name": "John Miller", "phone": "+14155550100"}


@pytest_asyncio.fixture
async def office() -> AsyncGenerator[httpx.AsyncClient, None]:
    async with (
        serving(open_office(None, lambda: MONDAY)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        yield client


async def booked(office: httpx.AsyncClient) -> list[str]:
    state = (await office.get("/state")).json()
    return [row["name"] for row in state["appointments"] if row["start"] == OPENING["start"]]


async def test_openings_are_offered_by_weekday_in_the_order_of_the_week(office: httpx.AsyncClient) -> None:
    found = (await office.get("/openings")).json()["openings"]
    assert [opening["spoken"] for opening in found] == [
        "Tuesday at ten in the morning",
        "Tuesday at two thirty in the afternoon",
        "Thursday at nine in the morning",
        "Friday at three thirty in the afternoon",
    ]


@pytest.mark.parametrize("days", range(7))
async def test_openings_lie_in_the_next_seven_days_whatever_the_day(days: int) -> None:
    today = MONDAY + timedelta(days=days)
    async with (
        serving(open_office(None, lambda: today)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        found = (await client.get("/openings")).json()["openings"]
    ahead = [(datetime.fromisoformat(one["start"]).date() - today.date()).days for one in found]
    assert len(found) == 4
    assert all(0 < day <= 7 for day in ahead)
    assert [one["spoken"].split()[0] for one in found] == ["Tuesday", "Tuesday", "Thursday", "Friday"]


async def test_the_same_key_books_once_and_gets_the_same_answer(office: httpx.AsyncClient) -> None:
    first = await office.post("/appointments", json=OPENING, headers={"Idempotency-Key": "CA1/book"})
    again = await office.post("/appointments", json=OPENING, headers={"Idempotency-Key": "CA1/book"})
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert first.status_code == 201
    assert await booked(office) == ["John Miller"]


async def test_a_key_is_not_taken_for_another_request(office: httpx.AsyncClient) -> None:
    await office.post("/appointments", json=OPENING, headers={"Idempotency-Key": "CA1/book"})
    other = OPENING | {"start": "2026-11-24T14:30"}
    answer = await office.post("/appointments", json=other, headers={"Idempotency-Key": "CA1/book"})
    assert (answer.status_code, answer.json()["code"]) == (422, "key_reused")


async def test_an_opening_goes_once(office: httpx.AsyncClient) -> None:
    await office.post("/appointments", json=OPENING, headers={"Idempotency-Key": "CA1/book"})
    answer = await office.post("/appointments", json=OPENING, headers={"Idempotency-Key": "CA2/book"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_a_refusal_is_kept_under_its_key(office: httpx.AsyncClient) -> None:
    taken = OPENING | {"start": "2026-11-25T10:00"}
    first = await office.post("/appointments", json=taken, headers={"Idempotency-Key": "k"})
    again = await office.post("/appointments", json=taken, headers={"Idempotency-Key": "k"})
    assert first.status_code == again.status_code == 409


async def test_moving_takes_the_new_time_and_keeps_the_old_if_it_is_gone(office: httpx.AsyncClient) -> None:
    await office.post("/front_desk/2026-11-24T10:00")
    gone = await office.patch("/appointments/2026-12-02T11:00", json={"start": "2026-11-24T10:00"})
    assert gone.status_code == 409
    moved = await office.patch("/appointments/2026-12-02T11:00", json={"start": "2026-11-26T09:00"})
    assert moved.json()["spoken"] == "Thursday at nine in the morning"
    found = (await office.get("/appointments", params=MARY)).json()
    assert (found["only"], len(found["appointments"])) == ("2026-11-26T09:00", 1)


async def test_an_appointment_that_is_near_is_not_cancelled(office: httpx.AsyncClient) -> None:
    answer = await office.delete("/appointments/2026-11-23T16:30")
    assert (answer.status_code, answer.json()["code"]) == (409, "too_late")
    assert (await office.delete("/appointments/2026-12-02T11:00")).status_code == 200
    assert (await office.delete("/appointments/2026-12-02T11:00")).status_code == 404


async def test_appointments_are_told_to_who_knows_name_and_number_only(office: httpx.AsyncClient) -> None:
    assert (await office.get("/appointments", params=MARY | {"name": "mary johnson"})).json()["level"] == 1
    for wrong in (MARY | {"name": "Mary Jones"}, MARY | {"phone": "+14155550102"}):
        assert (await office.get("/appointments", params=wrong)).status_code == 404


async def test_what_is_no_number_or_time_is_refused(office: httpx.AsyncClient) -> None:
    assert (await office.get("/callers/anonymous")).status_code == 422
    assert (await office.post("/appointments", json=OPENING | {"start": "tomorrow"})).status_code == 422


@pytest.mark.parametrize(
    ("now", "is_open"),
    [("2026-11-23T08:00", True), ("2026-11-23T17:00", False), ("2026-11-28T12:59", True), ("2026-11-29T10:00", False)],
)
async def test_the_desk_keeps_the_hours(now: str, is_open: bool) -> None:
    async with (
        serving(open_office(None, lambda: datetime.fromisoformat(now))) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        assert (await client.get("/desk")).json() == {"open": is_open}


async def test_it_remembers_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "dental.sqlite"
    for expected in (201, 409):
        async with (
            serving(open_office(file, lambda: MONDAY)) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            assert (await client.post("/appointments", json=OPENING)).status_code == expected


# -- faults --------------------------------------------------------------------------------------------------------


async def test_a_500_does_nothing(office: httpx.AsyncClient) -> None:
    await office.put("/faults", json=[{"kind": "error", "times": 1}])
    assert (await office.post("/appointments", json=OPENING)).status_code == 500
    assert await booked(office) == []


@pytest.mark.parametrize("kind", ["half", "drop"])
async def test_a_lost_answer_comes_after_the_effect(office: httpx.AsyncClient, kind: str) -> None:
    await office.put("/faults", json=[{"kind": kind, "method": "POST", "times": 1}])
    with pytest.raises(httpx.RemoteProtocolError):
        await office.post("/appointments", json=OPENING)
    assert await booked(office) == ["John Miller"]


async def test_faults_choose_their_requests_and_end(office: httpx.AsyncClient) -> None:
    await office.put("/faults", json=[{"kind": "error", "path": "/openings", "after": 1, "times": 1}])
    codes = [(await office.get(path)).status_code for path in ("/desk", "/openings", "/openings", "/openings")]
    assert codes == [200, 200, 500, 200]
    await office.put("/faults", json=[{"kind": "error"}])
    await office.delete("/faults")
    assert (await office.get("/desk")).status_code == 200


async def test_an_unknown_fault_is_refused(office: httpx.AsyncClient) -> None:
    assert (await office.put("/faults", json=[{"kind": "fire"}])).status_code == 422


async def test_it_can_be_brought_back_to_where_it_began(office: httpx.AsyncClient) -> None:
    before = (await office.get("/state")).json()
    assert (await office.post("/appointments", json=OPENING, headers={"Idempotency-Key": "k"})).is_success
    assert (await office.post("/reset")).is_success
    assert (await office.get("/state")).json() == before
    # The key is forgotten too: it is another day's.
    assert (await office.post("/appointments", json=OPENING, headers={"Idempotency-Key": "k"})).is_success
    assert await booked(office) == ["John Miller"]


async def test_openings_are_said_in_the_language_that_is_asked_for(office: httpx.AsyncClient) -> None:
    found = (await office.get("/openings", headers={"Accept-Language": "es"})).json()["openings"]
    assert found[0]["spoken"] == "el martes a las diez de la mañana"
    assert found[1]["spoken"] == "el martes a las dos y media de la tarde"
