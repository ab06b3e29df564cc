"""A chat completions endpoint as one of the product's language models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest

from models.types import GenerateRequest, Message, ModelFailure
from serve.hosted.openai_chat import OpenAiChat, strict
from serve.hosted.settings import OpenAiChatSettings, TokenCost
from tests.serve.hosted.fakes import KEY, Answer, Rig, events, patience_s, rig, says, streams, too_slow

REQUEST = GenerateRequest(
    "r1", (Message("system", "Be brief."), Message("user", "¿Abren los domingos?")), max_tokens=40, stop=("\n",)
)
SCHEMA = {
    "type": "object",
    "properties": {
        "leave": {"enum": ["booked", "declined", None]},
        "say": {"type": "string", "maxLength": 80},
    },
    "required": ["leave", "say"],
    "additionalProperties": False,
}
SETTINGS = OpenAiChatSettings(provider="openai_chat", model="gpt-4o-mini")


def told(text: str, finish: str | None = None) -> dict[str, object]:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def reply(pieces: Sequence[str], finish: str = "stop") -> list[bytes]:
    usage = {"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 20, "total_tokens": 1020}}
    first = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    return events([first, *(told(piece) for piece in pieces), told("", finish), usage], done=True)


def model(one: Rig, settings: OpenAiChatSettings = SETTINGS, **endpoint: Any) -> OpenAiChat:
    return OpenAiChat(settings, one.endpoint(**endpoint), one.spent.append)


async def said(one: Rig, request: GenerateRequest = REQUEST, **endpoint: Any) -> list[str]:
    async with aclosing(model(one, **endpoint).clauses(request)) as clauses:
        return [clause async for clause in clauses]


async def test_deltas_become_clauses_and_the_request_is_told_as_the_endpoint_wants_it() -> None:
    async with rig(streams(reply(["No, los domin", "gos cerramos. ", "Los sábados", " abrimos."]))) as one:
        assert await said(one) == ["No, los domingos cerramos.", "Los sábados abrimos."]
        body = json.loads(one.last.body)
        assert one.last.path == "/chat/completions"
        assert one.last.headers["Authorization"] == f"Bearer {KEY}"
        assert body["messages"][1] == {"role": "user", "content": "¿Abren los domingos?"}
        assert (body["max_completion_tokens"], body["stop"], body["stream"]) == (40, ["\n"], True)
        assert "response_format" not in body


async def test_a_clause_comes_before_the_answer_is_whole_and_closing_ends_the_request() -> None:
    async with rig(streams(events([told("We are closed. "), told("But")]), hang=True)) as one:
        async with aclosing(model(one).clauses(REQUEST)) as clauses:
            assert await anext(clauses) == "We are closed."
        await one.provider.gone.wait()


async def test_an_answer_as_json_is_bound_to_its_schema_and_checked() -> None:
    right = json.dumps({"leave": None, "say": "We open at nine."})
    async with rig(streams(reply([right[:9], right[9:]]))) as one:
        assert await model(one).structured(REQUEST, SCHEMA) == right
        form = json.loads(one.last.body)["response_format"]
        assert form["json_schema"]["strict"] is True
        assert form["json_schema"]["schema"]["properties"] == {
            "leave": {"enum": ["booked", "declined", None], "type": ["string", "null"]},
            "say": {"type": "string"},
        }
    for wrong in ('{"leave": "sold", "say": ""}', "Gladly!", '{"say": "x"'):
        async with rig(streams(reply([wrong]))) as one:
            with pytest.raises(ModelFailure, match=r"does not fit its JSON schema; .*schema_by: prompt"):
                await model(one).structured(REQUEST, SCHEMA)


async def test_an_answer_as_json_that_is_cut_off_by_its_limit_is_a_failure() -> None:
    async with rig(streams(reply(['{"leave": '], finish="length"))) as one:
        with pytest.raises(ModelFailure, match="not whole after 40 tokens"):
            await model(one).structured(REQUEST, SCHEMA)


async def test_an_endpoint_that_knows_no_response_format_is_told_the_schema_in_words() -> None:
    settings = SETTINGS.model_copy(update={"schema_by": "prompt", "limit_key": "max_tokens", "temperature": False})
    async with rig(streams(reply(['```json\n{"leave": "booked", "say": "Done."}\n```']))) as one:
        assert json.loads(await model(one, settings).structured(REQUEST, SCHEMA))["leave"] == "booked"
        body = json.loads(one.last.body)
        assert "response_format" not in body
        assert '"additionalProperties": false' in body["messages"][0]["content"]
        assert (body["max_tokens"], "temperature" in body) == (40, False)


async def test_one_of_several_choices_is_asked_for_by_an_enum() -> None:
    request = GenerateRequest("r2", REQUEST.messages, choices=("ten o'clock", "noon"))
    async with rig(streams(reply(['{"choice": "noon"}']))) as one:
        assert await said(one, request) == ["noon"]
        schema = json.loads(one.last.body)["response_format"]["json_schema"]["schema"]
        assert schema["properties"]["choice"]["enum"] == ["ten o'clock", "noon"]


async def test_what_it_costs_is_told_by_the_tokens_that_were_used() -> None:
    settings = SETTINGS.model_copy(update={"cost": TokenCost(per_million_in=2.0, per_million_out=10.0)})
    async with rig(streams(reply(["Yes."]))) as one:
        async for _ in model(one, settings).clauses(REQUEST):
            pass
        assert one.spent == [pytest.approx(0.0022)]


async def test_a_server_without_keys_is_sent_none() -> None:
    async with rig(streams(reply(["Yes."]))) as one:
        assert await said(one, key=None) == ["Yes."]
        assert "Authorization" not in one.last.headers


@pytest.mark.parametrize(
    ("answer", "told_in_words"),
    [
        (says({"error": {"message": f"Incorrect API key: {KEY}"}}, 401), "HTTP 401; check the key in ACME_KEY"),
        (says({"error": {"message": "no such model"}}, 404), "HTTP 404: no such model; check the names of model"),
        (says({"error": {"message": "Rate limit reached"}}, 429), "HTTP 429: Rate limit reached; too many requests"),
        (says("oops", 503), "HTTP 503; the provider is in trouble"),
        (says({}, 302), "HTTP 302; check base_url"),
        (streams(events([told("We are ")]), cut=True), "the connection failed"),
        (streams(events([told("We are ")])), "the answer broke off before its end"),
        (streams(events([{"error": {"message": f"overloaded {KEY}"}}])), r"overloaded \(the key\)"),
        (streams([b"data: {not json\n\n"]), "not of the form that was expected"),
        (streams(events([{"choices": "none"}])), "expected, at choices; its interface may have changed"),
        (streams([b"data: " + b"x" * 2_500_000]), "larger than 2000 kB"),
        (streams(events([told("word. " * 1000)] * 3)), "larger than 16 kB"),
        (streams([b": keep alive\n\n" * 2000] * 100), "larger than 2000 kB"),
        (streams(events([told("We are ")]), hang=True), r"no answer within 0\.3 s"),
        (too_slow, r"no answer within 0\.3 s"),
        (streams(reply([""], finish="content_filter")), "refused to answer"),
    ],
)
async def test_every_trouble_is_a_failure_that_says_what_to_do_and_never_the_key(
    answer: Answer, told_in_words: str
) -> None:
    async with rig(answer) as one:
        with pytest.raises(ModelFailure, match=told_in_words) as failure:
            await said(one, timeout_s=patience_s(told_in_words))
        assert str(failure.value).startswith("Acme: ")
        assert KEY not in str(failure.value)


async def test_nobody_there_is_a_failure() -> None:
    async with rig(too_slow) as one:
        with pytest.raises(ModelFailure, match="the connection failed"):
            await said(one, url="http://127.0.0.1:9")


async def test_a_private_address_is_refused_unless_the_stack_file_allows_it() -> None:
    async with rig(too_slow) as one:
        guarded = dataclasses.replace(one.endpoint(), allow_private=False)
        with pytest.raises(ModelFailure, match="expected https"):
            await anext(OpenAiChat(SETTINGS, guarded, one.spent.append).clauses(REQUEST))
    assert one.provider.asked == []


def test_a_schema_is_strict_all_the_way_down() -> None:
    nested = {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True}
    assert strict(nested) == {"type": "array", "items": {"enum": [1, 2], "type": "integer"}}
