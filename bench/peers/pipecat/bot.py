"""The peer: a Pipecat bot that answers Twilio calls. It runs in an environment of its own, see requirements.lock.

The pipeline is that of Pipecat's own Twilio example (pipecat-ai/pipecat-examples, twilio-chatbot/inbound/bot.py), with
local services in place of the hosted ones. What differs between variants is in variants.yaml; docs/peers.md has each
setting's source.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
import yaml
from fastapi import FastAPI, Form, Response, WebSocket
from loguru import logger
from pipecat.audio.turn.smart_turn.base_smart_turn import SmartTurnParams
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.services.kokoro.tts import KokoroTTSService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.whisper.stt import WhisperSTTService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy, TurnAnalyzerUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner
from pydantic import BaseModel, ConfigDict

VARIANTS = Path(__file__).with_name("variants.yaml")
WHISPER_RATE_HZ = 16_000
"""WhisperSTTService hands its audio to Whisper as it is, so the pipeline must run at Whisper's rate."""


class Variant(BaseModel):
    """Settings in which variants differ; None leaves Pipecat's own default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stop: Literal["smart_turn", "speech_timeout"] | None = None
    """User turn stop strategy."""
    smart_turn_stop_s: float | None = None
    """SmartTurnParams.stop_secs: silence that ends a turn which Smart Turn takes for unfinished."""
    speech_timeout_s: float | None = None
    """SpeechTimeoutUserTurnStopStrategy.user_speech_timeout."""
    whisper_compute_type: str | None = None
    """WhisperSTTService.compute_type."""
    audio_out_10ms_chunks: int | None = None
    """TransportParams.audio_out_10ms_chunks."""
    environment: dict[str, str] = {}
    """Variables of the bot's process; set by whoever starts it."""


class Options(BaseModel):
    """What the bot is started with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant: str
    """One of variants.yaml."""
    llm_url: str
    whisper: Path
    kokoro: Path
    voices: Path
    voice: str
    system: str
    greeting: str
    max_tokens: int
    public_url: str


def load_variants(path: Path = VARIANTS) -> dict[str, Variant]:
    """All variants by name."""
    return {name: Variant.model_validate(found) for name, found in yaml.safe_load(path.read_text("utf-8")).items()}


def create_app(options: Options) -> FastAPI:
    """Twilio's webhook, its media stream, and a health check."""
    app = FastAPI()
    variant = load_variants()[options.variant]

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/twilio/voice")
    async def voice(CallSid: Annotated[str, Form()]) -> Response:  # Twilio's field
        host = options.public_url.removeprefix("https://")
        twiml = f'<Response><Connect><Stream url="wss://{host}/ws"/></Connect></Response>'
        return Response(twiml, media_type="application/xml")

    @app.websocket("/ws")
    async def media(socket: WebSocket) -> None:
        await socket.accept()
        _, call = await parse_telephony_websocket(socket)
        serializer = TwilioFrameSerializer(
            stream_sid=call["stream_id"],
            call_sid=call["call_id"],
            # Hanging up goes through Twilio's REST API, which is not there; the caller hangs up.
            params=TwilioFrameSerializer.InputParams(auto_hang_up=False),
        )
        await _run_bot(socket, serializer, options, variant)

    return app


async def _run_bot(socket: WebSocket, serializer: TwilioFrameSerializer, options: Options, variant: Variant) -> None:
    transport = FastAPIWebsocketTransport(
        websocket=socket,
        params=FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            add_wav_header=False,
            serializer=serializer,
            **_given(audio_out_10ms_chunks=variant.audio_out_10ms_chunks),
        ),
    )
    stt = WhisperSTTService(
        settings=WhisperSTTService.Settings(model=str(options.whisper)),
        **_given(compute_type=variant.whisper_compute_type),
    )
    llm = OpenAILLMService(
        api_key="not-needed",
        base_url=options.llm_url,
        settings=OpenAILLMService.Settings(
            model="local", system_instruction=options.system, temperature=0.0, max_tokens=options.max_tokens
        ),
    )
    tts = KokoroTTSService(
        model_path=str(options.kokoro),
        voices_path=str(options.voices),
        settings=KokoroTTSService.Settings(voice=options.voice),
    )
    user, assistant = LLMContextAggregatorPair(
        LLMContext(),
        user_params=LLMUserAggregatorParams(
            vad_analyzer=SileroVADAnalyzer(), **_given(user_turn_strategies=_strategies(variant))
        ),
    )
    worker = PipelineWorker(
        Pipeline([transport.input(), stt, user, llm, tts, transport.output(), assistant]),
        params=PipelineParams(audio_in_sample_rate=WHISPER_RATE_HZ, audio_out_sample_rate=8000),
    )

    async def greet(transport: FastAPIWebsocketTransport, client: WebSocket) -> None:
        await worker.queue_frames([TTSSpeakFrame(options.greeting)])

    async def hung_up(transport: FastAPIWebsocketTransport, client: WebSocket) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_connected", greet)
    transport.add_event_handler("on_client_disconnected", hung_up)
    runner = WorkerRunner(handle_sigint=False, force_gc=True)
    await runner.add_workers(worker)
    await runner.run()


def _strategies(variant: Variant) -> UserTurnStrategies | None:
    if variant.stop == "speech_timeout":
        timeout = _given(user_speech_timeout=variant.speech_timeout_s)
        return UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(**timeout)])
    if variant.stop == "smart_turn":
        params = SmartTurnParams(**_given(stop_secs=variant.smart_turn_stop_s))
        return UserTurnStrategies(
            stop=[TurnAnalyzerUserTurnStopStrategy(turn_analyzer=LocalSmartTurnAnalyzerV3(params=params))]
        )
    return None


def _given(**values: object) -> dict[str, Any]:
    """Keyword arguments without those that are None: what is left out keeps Pipecat's default."""
    return {name: value for name, value in values.items() if value is not None}


def main() -> None:
    """Serve until the process is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--options", required=True, help="the fields of Options as JSON")
    parser.add_argument("--log-level", default="INFO", help="DEBUG tells what every stage took; it costs time")
    arguments = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level=arguments.log_level)
    app = create_app(Options.model_validate_json(arguments.options))
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
