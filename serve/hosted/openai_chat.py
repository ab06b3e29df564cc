"""pipeline.ports.LanguageModel by a chat completions endpoint, streamed: OpenAI, what is compatible, any vLLM server.

Wire format: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import jsonschema
from pydantic import BaseModel, ValidationError

from models.types import Delta, GenerateRequest, ModelFailure
from pipeline.clauses import clauses_of
from serve.hosted.exchange import Endpoint, Spend, body_of, read_as
from serve.hosted.settings import OpenAiChatSettings

_MOST_BYTES = 2_000_000
_MOST_TEXT = 16_000
"""Characters of an answer, however many tokens the endpoint was asked for: they are read on the event loop."""
_MOST_STOPS = 4
"""OpenAI's own limit."""
_UNKNOWN_WHEN_STRICT = frozenset({"maxLength", "minLength", "uniqueItems", "minProperties", "maxProperties"})
"""OpenAI refuses schemas with these; what they forbid is kept out by `max_tokens`."""
_JSON_TYPES: Mapping[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class _Piece(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    delta: _Piece = _Piece()
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Error(BaseModel):
    message: str = ""


class _Chunk(BaseModel):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Error | None = None


class _Chosen(BaseModel):
    choice: str


class OpenAiChat:
    """One model at one endpoint."""

    def __init__(self, settings: OpenAiChatSettings, endpoint: Endpoint, spend: Spend) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._spend = spend

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        """As pipeline.ports.LanguageModel; an answer bound to `choices` comes as one clause."""
        if request.choices:
            yield await self._chosen(request)
            return
        async with aclosing(self._deltas(request, None)) as deltas:
            async for clause in clauses_of(deltas):
                yield clause

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        """As pipeline.ports.LanguageModel. What comes is checked: not every endpoint binds its model to a schema."""
        bound = strict(schema)
        assert isinstance(bound, dict)
        pieces: list[str] = []
        async with aclosing(self._deltas(request, bound)) as deltas:
            async for delta in deltas:
                pieces.append(delta.text)
                if delta.finish_reason == "length":
                    raise ModelFailure(
                        f"{self._endpoint.name}: request {request.request_id}: the reply is not whole after "
                        f"{request.max_tokens} tokens"
                    )
        text = _without_fence("".join(pieces))
        try:
            jsonschema.validate(json.loads(text), bound)
        except (ValueError, jsonschema.ValidationError) as error:
            raise ModelFailure(
                f"{self._endpoint.name}: request {request.request_id}: the reply does not fit its JSON schema; if the "
                "endpoint passes over response_format, set `schema_by: prompt`"
            ) from error
        return text

    async def prefill(self, request: GenerateRequest) -> None:
        """Nothing: a provider's prefix cache cannot be warmed without paying for an answer."""

    async def _chosen(self, request: GenerateRequest) -> str:
        schema = {
            "type": "object",
            "properties": {"choice": {"type": "string", "enum": list(request.choices)}},
            "required": ["choice"],
            "additionalProperties": False,
        }
        text = await self.structured(request, schema)
        try:
            return _Chosen.model_validate_json(text).choice
        except ValidationError as error:
            raise self._endpoint.malformed("the answer is none of the choices") from error

    async def _deltas(
        self, request: GenerateRequest, schema: Mapping[str, object] | None
    ) -> AsyncGenerator[Delta, None]:
        finished, length = False, 0
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", **self._endpoint.bearer()}
        async with self._endpoint.post(
            "/chat/completions",
            headers=headers,
            content=body_of(self._body(request, schema)),
            most_bytes=_MOST_BYTES,
        ) as body:
            async with aclosing(body.events()) as events:
                async for event in events:
                    if event == b"[DONE]":
                        break
                    chunk = read_as(self._endpoint, _Chunk, event)
                    if chunk.error is not None:
                        raise ModelFailure(f"{self._endpoint.name}: {self._endpoint.plain(chunk.error.message)}")
                    if chunk.usage is not None:
                        self._count(chunk.usage)
                    for choice in chunk.choices[:1]:
                        finished = finished or choice.finish_reason is not None
                        length += len(choice.delta.content or "")
                        if length > _MOST_TEXT:
                            raise self._endpoint.too_large(_MOST_TEXT)
                        yield self._delta(choice)
        if not finished:
            raise ModelFailure(f"{self._endpoint.name}: the answer broke off before its end")

    def _delta(self, choice: _Choice) -> Delta:
        if choice.delta.refusal or choice.finish_reason == "content_filter":
            raise ModelFailure(f"{self._endpoint.name}: the model refused to answer")
        text = choice.delta.content or ""
        return Delta(text, 1 if text else 0, choice.finish_reason)

    def _body(self, request: GenerateRequest, schema: Mapping[str, object] | None) -> dict[str, object]:
        settings = self._settings
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        body: dict[str, object] = {
            "model": settings.model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            settings.limit_key: request.max_tokens,
        }
        if settings.temperature:
            body["temperature"] = 0.0 if schema is not None else request.temperature
        if request.stop:
            body["stop"] = list(request.stop[:_MOST_STOPS])
        if request.seed is not None:
            body["seed"] = request.seed
        if schema is not None and settings.schema_by == "response_format":
            named = {"name": "answer", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif schema is not None:
            told = f"Answer with JSON that fits this JSON schema, and with nothing else: {json.dumps(schema)}"
            body["messages"] = [{"role": "system", "content": told}, *messages]
        return body

    def _count(self, usage: _Usage) -> None:
        if (cost := self._settings.cost) is not None:
            spent = usage.prompt_tokens * cost.per_million_in + usage.completion_tokens * cost.per_million_out
            self._spend(spent / 1e6)


def strict(schema: object) -> object:
    """The same JSON schema as OpenAI's strict mode takes it: every part with its type, nothing about lengths."""
    if isinstance(schema, Mapping):
        kept = {key: strict(value) for key, value in schema.items() if key not in _UNKNOWN_WHEN_STRICT}
        values = schema.get("enum")
        if "type" not in schema and isinstance(values, list | tuple):
            kinds = list(dict.fromkeys(_JSON_TYPES[type(value)] for value in values))
            kept["type"] = kinds[0] if len(kinds) == 1 else kinds
        return kept
    if isinstance(schema, list | tuple):
        return [strict(part) for part in schema]
    return schema


def _without_fence(text: str) -> str:
    """The JSON within what a model that was only told the schema may write around it."""
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text.strip()
