"""The peer's language model: our engine, with our engine's settings, behind an OpenAI-compatible streaming endpoint.

Only what a voice bot sends is answered: `POST /v1/chat/completions` with `stream: true` and text messages.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Literal

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from bench.peers.fixed_text import FixedReplies, as_we_ask, with_words_of
from models.llm import VllmLanguageModel
from models.types import Delta, GenerateRequest, Message
from pipeline.agent import load_agent
from serve.config import load_stack
from serve.deployments import prepared_folder


class ChatMessage(BaseModel):
    """One message; other fields of OpenAI's are passed over."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class ChatRequest(BaseModel):
    """What is read of a request."""

    model_config = ConfigDict(extra="ignore")

    messages: list[ChatMessage]
    stream: Literal[True]
    max_tokens: int = 256
    temperature: float = 1.0


def create_app(model: VllmLanguageModel, folder: Path, system: str, replies: FixedReplies | None) -> FastAPI:
    """The endpoint over an engine that is started with the app, and warmed up with the system prompt as ours is.

    `replies`: None lets the model speak its own words.
    """
    numbers = itertools.count(1)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await model.start(folder)
        try:
            await model.prefill(GenerateRequest("warm-up", (Message("system", system), Message("user", "Hello."))))
            yield
        finally:
            await model.stop()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/chat/completions")
    async def complete(request: ChatRequest) -> StreamingResponse:
        if not request.messages or request.messages[-1].role != "user":
            raise HTTPException(422, "expected messages of which the last is the user's")
        asked = GenerateRequest(
            request_id=f"chat-{next(numbers)}",
            messages=tuple(_message(message, replies) for message in request.messages),
            max_tokens=request.max_tokens,
            temperature=request.temperature,
        )
        reply = None if replies is None else replies.to_line(request.messages[-1].content).reply
        return StreamingResponse(_events(model, asked, reply), media_type="text/event-stream")

    return app


def _message(message: ChatMessage, replies: FixedReplies | None) -> Message:
    """The engine's message. With fixed replies the peer's model is asked what ours is, the fact included.

    Finding the fact costs the peer nothing. All user messages are written so, or the prefix cache would miss.
    """
    role = "system" if message.role == "developer" else message.role
    if replies is None or role != "user":
        return Message(role, message.content)
    return Message(role, as_we_ask(message.content, replies.to_line(message.content).fact))


async def _events(model: VllmLanguageModel, asked: GenerateRequest, reply: str | None) -> AsyncGenerator[str, None]:
    """Server-sent events, one a delta. Closing this aborts the generation."""
    async with AsyncExitStack() as stack:
        deltas: AsyncGenerator[Delta, None] = await stack.enter_async_context(aclosing(model.generate(asked)))
        if reply is not None:
            deltas = await stack.enter_async_context(aclosing(with_words_of(reply, deltas)))
        async for delta in deltas:
            yield _event(asked.request_id, {"content": delta.text}, None)
    yield _event(asked.request_id, {}, "stop")
    yield "data: [DONE]\n\n"


def _event(request_id: str, delta: dict[str, str], finish_reason: str | None) -> str:
    chunk = {
        "id": request_id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": "local",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return f"data: {json.dumps(chunk)}\n\n"


def main() -> None:
    """Serve until the process is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stack", type=Path, required=True, help="stack file whose language model is served")
    parser.add_argument("--agent", type=Path, required=True, help="agent file with the system prompt and the facts")
    parser.add_argument("--own-text", action="store_true", help="say the model's own words, not the fixed replies")
    options = parser.parse_args()
    settings = load_stack(options.stack).language_model("small").settings
    agent = load_agent(options.agent)
    replies = None if options.own_text else FixedReplies.load(agent)
    app = create_app(VllmLanguageModel(settings.engine), prepared_folder(settings.weights), agent.persona, replies)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=options.port, log_level="warning"))
    asyncio.run(server.serve())


if __name__ == "__main__":
    main()
