"""`trunkline call`: one scripted call against a stack, watched live, checked, and saved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from models.weights import prepare
from pipeline.events import Event
from serve.live import LiveView, follow_events
from serve.media import SUMMARY_FILE
from serve.recording import EVENTS_FILE
from serve.report import CallerSide, write_report
from serve.stack import StackError, StackState

if TYPE_CHECKING:
    from bench.script import Failure, Script
    from bench.v2v import CallRecord
    from bench.voices import Voice

CALLER_WEIGHTS = "piper-joe"
"""The simulated caller's voice: never the agent's own, so that its ears are tested by a stranger."""
SEED = 7
"""Fixes the caller's voice and the noise."""
FOLDER_TIMEOUT_S = 10.0
SAVED_TIMEOUT_S = 20.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What came of the call."""

    folder: Path
    report: Path
    failures: tuple[Failure, ...]
    """Expectations of the script that were not met."""


class SimulatedCaller:
    """The caller's script and voice; the lines are spoken beforehand, while the stack starts."""

    def __init__(self, script: Script, voice: Voice, rendered: Future[object]) -> None:
        self.script = script
        self.voice = voice
        self._rendered = rendered

    def wait(self) -> None:
        """Until every line has been spoken. Raises bench.voices.VoiceError."""
        self._rendered.result()


@contextmanager
def simulated_caller(script: Script, home: Path) -> Iterator[SimulatedCaller]:
    """Begin to prepare a script's lines in a thread. Raises models.weights.WeightsError."""
    from bench.caller import prepare_speech
    from bench.voices import KokoroVoice, PiperVoice

    voice: Voice = PiperVoice(prepare(CALLER_WEIGHTS), home / "caller")
    if script.voice is not None:
        voice = KokoroVoice(prepare("kokoro-82m-int8"), script.voice, home / "caller")
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="caller") as pool:
        yield SimulatedCaller(script, voice, pool.submit(prepare_speech, script, voice, SEED))


async def run_call(state: StackState, caller: SimulatedCaller, console: Console) -> CallOutcome:
    """Place the call on a stack that is up and see it through.

    Raises bench.caller.CallFailed if the gateway refuses it, StackError if it leaves nothing behind.
    """
    from bench.caller import CallTarget, place_call
    from bench.script import check

    target = CallTarget(public_url=state.public_url, base_url=state.url, auth_token=state.twilio_auth_token)
    events: list[Event] = []
    over = asyncio.Event()
    with LiveView(console) as view:

        def show(event: Event) -> None:
            events.append(event)
            view.handle(event)

        async def watch() -> Path:
            folder = await _folder_of(state.runs_dir, target.call_sid)
            await follow_events(folder / EVENTS_FILE, show, over)
            return folder

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch())
            record = await place_call(target, caller.script, seed=SEED, voice=caller.voice)
            await _saved(await _folder_of(state.runs_dir, target.call_sid))
            over.set()
        folder = watching.result()
    return await asyncio.to_thread(_conclude, folder, record, events, view, check(caller.script, events, record))


def _conclude(
    folder: Path, record: CallRecord, events: list[Event], view: LiveView, failures: list[Failure]
) -> CallOutcome:
    record.save(folder)
    report = write_report(folder)
    view.final_summary(folder, caller=CallerSide.model_validate_json(record.model_dump_json()).figures())
    return CallOutcome(folder, report, tuple(failures))


async def _folder_of(runs_dir: Path, call_sid: str) -> Path:
    """The folder that the gateway makes for the call once its stream has started."""
    async with _patience(FOLDER_TIMEOUT_S, f"a folder of call {call_sid} below {runs_dir}"):
        while True:
            found = next(iter(await asyncio.to_thread(lambda: list(runs_dir.glob(f"*-{call_sid}")))), None)
            if found is not None:
                return found
            await asyncio.sleep(POLL_S)


async def _saved(folder: Path) -> None:
    async with _patience(SAVED_TIMEOUT_S, f"{folder / SUMMARY_FILE}, which the gateway writes when a call is over"):
        while not await asyncio.to_thread((folder / SUMMARY_FILE).exists):  # noqa: ASYNC110  # another process makes it
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def _patience(timeout_s: float, expected: str) -> AsyncIterator[None]:
    """A time-out that says what was waited for."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as late:
        raise StackError(f"expected {expected} within {timeout_s:g} s; there is none") from late
