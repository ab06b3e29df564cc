"""The carrier's back office, over HTTP: who may know and change what, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta

import httpx
import pytest
import pytest_asyncio

from bench.backoffice.logistics import CODES, PARCELS, open_office
from bench.backoffice.office import serving

MARYS, MARYS_ON_THE_VAN, ROBERTS = "40018823", "40027719", "40031146"
FRIDAY_AFTERNOON = {"day": "2026-11-27", "window": "afternoon"}


class Clock:
    """Local time, moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 10, 0)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def office(clock: Clock) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with (
        serving(open_office(None, clock)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        yield client


async def challenge_of(office: httpx.AsyncClient, parcel: str) -> str:
    challenge: str = (await office.post("/codes", json={"parcel": parcel})).json()["challenge"]
    return challenge


async def check(office: httpx.AsyncClient, challenge: str, code: str, key: str = "") -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await office.post(f"/codes/{challenge}/check", json={"code": code}, headers=headers)


async def session_of(office: httpx.AsyncClient, parcel: str) -> dict[str, str]:
    """The header of a caller who has given the code back."""
    challenge = await challenge_of(office, parcel)
    sent = (await office.get("/messages")).json()[-1]["text"]
    code = "".join(character for character in sent if character.isdigit())
    return {"X-Session": (await check(office, challenge, code)).json()["session"]}


async def parcel_row(office: httpx.AsyncClient, number: str) -> dict[str, str]:
    rows = (await office.get("/state")).json()["parcels"]
    found: dict[str, str] = next(row for row in rows if row["number"] == number)
    return found


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# -- what anybody may know -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [parcel[0] for parcel in PARCELS])
async def test_where_a_parcel_is_tells_nothing_of_whose_it_is(office: httpx.AsyncClient, number: str) -> None:
    answer = (await office.get(f"/parcels/{number}")).text
    for _, customer, sender, *_ in PARCELS:
        assert customer not in answer
        assert sender not in answer
    assert "+1415" not in answer


@pytest.mark.parametrize(
    ("number", "news", "can_change"),
    [
        (MARYS, "is at our depot, and is due on Wednesday, the twenty-fifth of November, in the morning", True),
        (MARYS_ON_THE_VAN, "is on the van, and comes today, in the afternoon, between twelve and four", False),
        ("40040592", "was delivered on Saturday, the twenty-first of November", False),
    ],
)
async def test_news_are_in_words(office: httpx.AsyncClient, number: str, news: str, can_change: bool) -> None:
    found = (await office.get(f"/parcels/{number}")).json()
    assert found["news"].startswith(news)
    assert found["can_change"] is can_change


async def test_what_is_not_there_is_not_found(office: httpx.AsyncClient) -> None:
    assert told(await office.get("/parcels/99999999")) == (404, "not_found")
    assert (await office.get("/parcels/4001")).status_code == 422


async def test_a_caller_s_number_is_known_or_not_without_a_name(office: httpx.AsyncClient) -> None:
    known = (await office.get("/callers/+14155550101")).json()
    assert known == {"phone": "+14155550101", "customer_phone": "+14155550101"}
    assert (await office.get("/callers/+14155550100")).json()["customer_phone"] is None


# -- codes -----------------------------------------------------------------------------------------------------------


async def test_the_code_goes_to_the_phone_on_file_and_not_back_to_who_asks(office: httpx.AsyncClient) -> None:
    answer = await office.post("/codes", json={"parcel": ROBERTS})
    assert answer.json()["ending"] == "zero two"
    assert CODES[0] not in answer.text
    messages = (await office.get("/messages")).json()
    assert messages == [{"phone": "+14155550102", "text": f"Your Northway code is {CODES[0]}."}]


async def test_a_right_code_opens_a_session_once(office: httpx.AsyncClient) -> None:
    challenge = await challenge_of(office, MARYS)
    assert (await check(office, challenge, CODES[0])).json()["level"] == 1
    assert told(await check(office, challenge, CODES[0])) == (409, "locked")


async def test_the_third_wrong_code_locks_even_the_right_one_out(office: httpx.AsyncClient) -> None:
    challenge = await challenge_of(office, MARYS)
    answers = [told(await check(office, challenge, "000000", f"k{count}")) for count in range(3)]
    assert answers == [(409, "wrong"), (409, "wrong"), (409, "locked")]
    assert told(await check(office, challenge, CODES[0])) == (409, "locked")


async def test_a_repeat_under_the_same_key_costs_no_try(office: httpx.AsyncClient) -> None:
    challenge = await challenge_of(office, MARYS)
    for _ in range(5):
        assert told(await check(office, challenge, "000000", "same")) == (409, "wrong")
    assert (await check(office, challenge, CODES[0], "next")).status_code == 200


async def test_a_code_expires(office: httpx.AsyncClient, clock: Clock) -> None:
    challenge = await challenge_of(office, MARYS)
    clock.now += timedelta(minutes=11)
    assert told(await check(office, challenge, CODES[0])) == (410, "expired")


async def test_one_phone_gets_three_texts_in_ten_minutes(office: httpx.AsyncClient, clock: Clock) -> None:
    answers = [(await office.post("/codes", json={"parcel": MARYS})).status_code for _ in range(4)]
    assert answers == [201, 201, 201, 409]
    assert (await office.post("/codes", json={"parcel": ROBERTS})).status_code == 201
    clock.now += timedelta(minutes=11)
    assert (await office.post("/codes", json={"parcel": MARYS})).status_code == 201


@pytest.mark.parametrize("body", [{}, {"parcel": MARYS, "phone": "+14155550101"}])
async def test_a_code_needs_one_of_parcel_and_phone(office: httpx.AsyncClient, body: dict[str, str]) -> None:
    assert told(await office.post("/codes", json=body)) == (422, "invalid")


async def test_a_phone_that_is_not_on_file_gets_no_code(office: httpx.AsyncClient) -> None:
    assert told(await office.post("/codes", json={"phone": "+14155550188"})) == (404, "not_found")
    assert (await office.get("/messages")).json() == []


# -- what takes a session --------------------------------------------------------------------------------------------


async def test_a_customer_sees_her_own_parcels(office: httpx.AsyncClient) -> None:
    found = (await office.get("/parcels", headers=await session_of(office, MARYS))).json()
    assert [one["value"] for one in found["parcels"]] == [MARYS, MARYS_ON_THE_VAN]
    assert found["only"] is None
    roberts = (await office.get("/parcels", headers=await session_of(office, ROBERTS))).json()
    assert roberts["only"] == ROBERTS


@pytest.mark.parametrize("headers", [{}, {"X-Session": "guessed"}])
async def test_nothing_personal_is_told_or_changed_without_a_session(
    office: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    before = (await office.get("/state")).json()
    for answer in (
        await office.get("/parcels", headers=headers),
        await office.put(f"/parcels/{MARYS}/schedule", json=FRIDAY_AFTERNOON, headers=headers),
        await office.put(f"/parcels/{MARYS}/place", json={"place": "safe_place"}, headers=headers),
    ):
        assert told(answer) == (403, "no_session")
    assert (await office.get("/state")).json() == before


async def test_a_session_does_not_reach_another_customer_s_parcel(office: httpx.AsyncClient) -> None:
    headers = await session_of(office, ROBERTS)
    answer = await office.put(f"/parcels/{MARYS}/schedule", json=FRIDAY_AFTERNOON, headers=headers)
    assert told(answer) == (403, "forbidden")


async def test_a_delivery_is_moved(office: httpx.AsyncClient) -> None:
    headers = await session_of(office, MARYS) | {"Idempotency-Key": "CA1/move"}
    for _ in range(2):
        answer = await office.put(f"/parcels/{MARYS}/schedule", json=FRIDAY_AFTERNOON, headers=headers)
        assert answer.status_code == 200
    row = await parcel_row(office, MARYS)
    assert (row["day"], row["slot"]) == ("2026-11-27", "afternoon")


@pytest.mark.parametrize(
    ("day", "window", "refusal"),
    [
        ("2026-11-29", "morning", (422, "closed")),
        ("2026-11-23", "evening", (422, "too_soon")),
        ("2026-12-08", "morning", (422, "too_far")),
        ("2026-11-24", "evening", (409, "conflict")),
    ],
)
async def test_a_day_or_window_that_does_not_go_is_refused_and_nothing_changes(
    office: httpx.AsyncClient, day: str, window: str, refusal: tuple[int, str]
) -> None:
    before = await parcel_row(office, MARYS)
    headers = await session_of(office, MARYS)
    answer = await office.put(f"/parcels/{MARYS}/schedule", json={"day": day, "window": window}, headers=headers)
    assert told(answer) == refusal
    assert await parcel_row(office, MARYS) == before


async def test_a_parcel_on_the_van_cannot_be_changed_any_more(office: httpx.AsyncClient) -> None:
    headers = await session_of(office, MARYS)
    await office.post(f"/dispatch/load/{MARYS}")
    for path, body in (("schedule", FRIDAY_AFTERNOON), ("place", {"place": "safe_place", "detail": "porch"})):
        answer = await office.put(f"/parcels/{MARYS}/{path}", json=body, headers=headers)
        assert told(answer) == (409, "too_late")


async def test_a_delivery_place_is_kept(office: httpx.AsyncClient) -> None:
    headers = await session_of(office, MARYS)
    await office.put(f"/parcels/{MARYS}/place", json={"place": "neighbour", "detail": "Anna Fisher"}, headers=headers)
    row = await parcel_row(office, MARYS)
    assert (row["place"], row["place_detail"]) == ("neighbour", "Anna Fisher")


# -- windows ---------------------------------------------------------------------------------------------------------


async def test_windows_say_whether_the_wanted_one_is_free(office: httpx.AsyncClient) -> None:
    path = f"/parcels/{MARYS}/windows"
    full = (await office.get(path, params={"day": "2026-11-24", "window": "evening"})).json()
    assert [one["value"] for one in full["windows"]] == ["morning", "afternoon"]
    assert (full["free"], full["taken"]) == (None, "evening")
    free = (await office.get(path, params={"day": "2026-11-24", "window": "morning"})).json()
    assert (free["free"], free["taken"]) == ("morning", None)


async def test_a_day_without_a_free_window_is_full(office: httpx.AsyncClient) -> None:
    for window in ("morning", "afternoon", "evening"):
        await office.post("/dispatch/full", json={"day": "2026-11-26", "window": window})
    assert told(await office.get(f"/parcels/{MARYS}/windows", params={"day": "2026-11-26"})) == (409, "day_full")


@pytest.mark.parametrize("days", range(7))
async def test_no_delivery_ahead_falls_on_a_sunday_whatever_the_day_it_is_started(clock: Clock, days: int) -> None:
    clock.now += timedelta(days=days)
    async with (
        serving(open_office(None, clock)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        rows = (await client.get("/state")).json()["parcels"]
    ahead = [day for row in rows if (day := datetime.fromisoformat(row["day"])).date() > clock.now.date()]
    assert len(ahead) == 3
    assert all(day.strftime("%A") != "Sunday" for day in ahead)


# -- tickets ---------------------------------------------------------------------------------------------------------


async def test_tickets_have_six_digits_and_each_its_own(office: httpx.AsyncClient) -> None:
    complaint = {"category": "damaged", "description": "The box was wet.", "parcel": MARYS, "phone": "+14155550100"}
    first = await office.post("/tickets", json=complaint, headers={"Idempotency-Key": "CA1/file"})
    again = await office.post("/tickets", json=complaint, headers={"Idempotency-Key": "CA1/file"})
    other = await office.post("/tickets", json=complaint, headers={"Idempotency-Key": "CA2/file"})
    assert first.json() == again.json() == {"ticket": "520417"}
    assert other.json()["ticket"] != "520417"
    assert len((await office.get("/state")).json()["tickets"]) == 2


async def test_a_ticket_about_a_parcel_that_is_not_there_is_refused(office: httpx.AsyncClient) -> None:
    complaint = {"category": "late", "description": "A week late.", "parcel": "99999999"}
    assert told(await office.post("/tickets", json=complaint)) == (404, "not_found")
    assert (await office.get("/state")).json()["tickets"] == []


async def test_a_dropped_answer_has_taken_effect_and_is_given_again(office: httpx.AsyncClient) -> None:
    await office.put("/faults", json=[{"kind": "drop", "path": "/tickets", "times": 1}])
    complaint = {"category": "driver", "description": "He shouted."}
    headers = {"Idempotency-Key": "CA1/file"}
    with pytest.raises(httpx.RemoteProtocolError):
        await office.post("/tickets", json=complaint, headers=headers)
    assert (await office.post("/tickets", json=complaint, headers=headers)).json() == {"ticket": "520417"}
    assert len((await office.get("/state")).json()["tickets"]) == 1
