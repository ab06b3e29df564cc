"""What a simulated caller does and what the agent should make of it: script files, and the check of a call against one.

A script is a YAML list of turns. After each turn in which something is said, the caller listens until the agent has
finished and goes on. Lines may hold pauses: `I'd like to book <pause 500ms> a cleaning`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from whisper_normalizer.english import EnglishTextNormalizer

from bench.v2v import CallRecord, TurnKind, TurnRecord
from models.settings import StrictModel, load_settings
from pipeline.events import Event, FirstAudio, ReplyEnded, ToolFinished

SCRIPTS = Path(__file__).parent / "scripts"
"""Where the scripts of this repository lie."""

_PAUSE = re.compile(r"<pause (\d+)ms>")
_MARKUP = re.compile(r"<[^>]*>")


class Expectation(StrictModel):
    """What the agent's reply must hold, as far as the caller heard it.

    Phrases are compared word by word after Whisper's English normaliser: "8" is "eight", "$95" "ninety five dollars".
    """

    any_of: tuple[str, ...] = ()
    """At least one of these phrases is heard."""
    all_of: tuple[str, ...] = ()
    """All of these are heard."""
    none_of: tuple[str, ...] = ()
    """None of these is heard."""
    no_numbers: bool = False
    """No number, price or time is heard (a lone "one" is let pass: it is mostly a pronoun)."""


class Greeting(StrictModel):
    """What the caller does before the first turn."""

    wait: bool = True
    """Hear the greeting out before the first turn; false: the first turn begins at once."""
    expect: Expectation = Field(default_factory=Expectation)


class Interruption(StrictModel):
    """Speaking over the agent's reply to the turn before."""

    after_ms: int = Field(ge=0, le=30_000)
    """How long the reply has been audible when the caller breaks in."""
    say: str = Field(min_length=1)


class HangUp(StrictModel):
    """The caller ends the call."""

    moment: Literal["now", "mid_word", "mid_reply"] = "now"
    """'mid_word': while saying `say`; 'mid_reply': while the reply to the turn before is audible."""
    say: str = ""
    """Line that is broken off; needed for 'mid_word' only."""
    after_ms: int = Field(300, ge=0, le=30_000)
    """Milliseconds after the line, or the reply, has begun."""

    @model_validator(mode="after")
    def _line_if_mid_word(self) -> HangUp:
        if (self.moment == "mid_word") != bool(self.say):
            raise ValueError("give `say` with moment 'mid_word', and only with it")
        return self


class Turn(StrictModel):
    """One thing the caller does: exactly one of `say`, `interrupt`, `wait_ms`, `silence_ms`, `dtmf`, `hang_up`."""

    say: str = ""
    """Words to speak, once the agent has been heard out; `<pause 500ms>` is a pause within the line."""
    recording: Path | None = None
    """WAV file to play instead of the caller's voice (relative to the script); `say` is then what it says."""
    interrupt: Interruption | None = None
    """Break into the agent's reply to the turn before."""
    wait_ms: int | None = Field(None, ge=0, le=120_000)
    """Stay silent this long, then go on."""
    silence_ms: int | None = Field(None, ge=0, le=120_000)
    """Stay silent until the agent has spoken up by itself, at most this long."""
    dtmf: str = Field("", pattern=r"^[0-9*#]*$")
    """Keys to press."""
    hang_up: HangUp | None = None
    expect: Expectation = Field(default_factory=Expectation)
    """What the agent must answer."""

    @model_validator(mode="after")
    def _one_action(self) -> Turn:
        given = [
            name
            for name in ("say", "interrupt", "wait_ms", "silence_ms", "dtmf", "hang_up")
            if getattr(self, name) not in (None, "")
        ]
        if len(given) != 1:
            raise ValueError(
                "expected exactly one of say, interrupt, wait_ms, silence_ms, dtmf, hang_up; "
                f"got {', '.join(given) or 'none'}"
            )
        if self.recording is not None and not self.say:
            raise ValueError("`recording` needs `say` with the words that are in it")
        pause_pieces(self.line)
        return self

    @property
    def kind(self) -> TurnKind:
        if self.say:
            return "say"
        if self.interrupt is not None:
            return "interrupt"
        if self.hang_up is not None:
            return "hang_up"
        if self.dtmf:
            return "dtmf"
        return "wait" if self.wait_ms is not None else "silence"

    @property
    def line(self) -> str:
        """What is spoken in this turn, pauses marked up; empty if nothing is."""
        if self.interrupt is not None:
            return self.interrupt.say
        return self.hang_up.say if self.hang_up is not None else self.say


class Noise(StrictModel):
    """Sound around the caller, mixed in for the whole call."""

    kind: Literal["white", "pink", "babble"]
    """'babble' is several people talking at once."""
    snr_db: float = Field(ge=-10, le=60)
    """Level of the caller's speech over the noise."""


class Deed(StrictModel):
    """Something that the agent must have done on a business system."""

    tool: str = Field(min_length=1)
    arguments: dict[str, str] = Field(default_factory=dict)
    """By name, as the agent would say them; each must hold these words after normalising. Others may be anything."""


class Script(StrictModel):
    """A call, as the caller plans it."""

    name: str = Field(min_length=1)
    pause_ms: int = Field(700, ge=100, le=10_000)
    """Silence after which the caller takes the agent's reply for finished."""
    max_wait_ms: int = Field(15_000, ge=500, le=120_000)
    """How long the caller waits for a reply to begin, and at the end for the agent to hang up."""
    max_reply_ms: int = Field(45_000, ge=1_000, le=300_000)
    """How long the caller listens to one reply."""
    voice: str | None = None
    """A Kokoro voice for the caller, e.g. es/bf_emma; None: Piper's, which is English."""
    noise: Noise | None = None
    """None: a quiet line."""
    comfort_noise_dbfs: float | None = Field(None, ge=-90, le=-30)
    """Level of the line's own hiss; None: digital silence between the caller's words."""
    greeting: Greeting = Field(default_factory=Greeting)
    turns: tuple[Turn, ...] = Field(min_length=1)
    ended_by: Literal["agent", "caller"] = "caller"
    """Who must end the call. 'agent': after the last turn the caller waits for it; 'caller': the caller hangs up."""
    done: Deed | None = None
    """What the agent must have done for the caller by the end."""

    @model_validator(mode="after")
    def _order(self) -> Script:
        for index, turn in enumerate(self.turns):
            breaks_in = turn.interrupt is not None or (turn.hang_up is not None and turn.hang_up.moment == "mid_reply")
            after = self.turns[index - 1].kind if index else "wait"
            if breaks_in and after not in ("say", "interrupt"):
                raise ValueError(f"turns[{index}] breaks into a reply, so the turn before must be a say or interrupt")
            if turn.hang_up is not None and index != len(self.turns) - 1:
                raise ValueError(f"turns[{index}] hangs up, so it must be the last turn")
        return self


@dataclass(frozen=True, slots=True)
class Failure:
    """An expectation that was not met."""

    where: str
    """Which turn, with its line; or the call."""
    expected: str
    heard: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}; got {self.heard}"


def load_script(path: Path) -> Script:
    """Read a script file. Recordings are resolved against its folder. Raises SettingsError."""
    script = load_settings(path, Script)
    turns = tuple(
        turn.model_copy(update={"recording": path.parent / turn.recording}) if turn.recording else turn
        for turn in script.turns
    )
    return script.model_copy(update={"turns": turns})


def pause_pieces(line: str) -> list[str | int]:
    """A line's texts and, between them, its pauses in ms. Raises ValueError for markup that is no `<pause Nms>`."""
    strange = _MARKUP.search(_PAUSE.sub("", line))
    if strange:
        raise ValueError(f"unknown markup {strange.group()!r} in {line!r}; expected <pause 500ms>")
    pieces: list[str | int] = []
    for index, piece in enumerate(_PAUSE.split(line)):
        if index % 2:
            pieces.append(int(piece))
        elif piece.strip():
            pieces.append(piece.strip())
    return pieces


def plain_text(line: str) -> str:
    """A line's words without its markup."""
    return " ".join(piece for piece in pause_pieces(line) if isinstance(piece, str))


def check(script: Script, events: Sequence[Event], record: CallRecord) -> list[Failure]:
    """Hold a call against its script: `events` say what was heard of each reply, `record` when and how it ended.

    A reply answers the last turn that had begun when it became audible. Both clocks start with the stream.
    """
    heard = _heard_by_turn(events, record.turns)
    failures: list[Failure] = []
    by_index = {turn.turn: turn for turn in record.turns}
    if script.greeting.wait:
        failures += unmet("greeting", script.greeting.expect, heard.get(-1, ""))
    for index, turn in enumerate(script.turns):
        where = f'turn {index + 1} ("{plain_text(turn.line)}")' if turn.line else f"turn {index + 1} ({turn.kind})"
        measured = by_index.get(index)
        if measured is None:
            failures.append(Failure(where, "the call to last until this turn", f"its end before ({record.end_reason})"))
            continue
        if turn.kind in ("say", "interrupt") and not heard.get(index):
            failures.append(Failure(where, f"a reply within {script.max_wait_ms} ms", "none"))
            continue
        failures += unmet(where, turn.expect, heard.get(index, ""))
    return failures + _unmet_by_call(script, events, record)


def _unmet_by_call(script: Script, events: Iterable[Event], record: CallRecord) -> list[Failure]:
    failures = []
    if record.ended_by != script.ended_by:
        failures.append(
            Failure("call", f"to be ended by the {script.ended_by}", f"{record.ended_by} ({record.end_reason})")
        )
    wanted = script.done
    if wanted is not None:
        done = [e for e in events if isinstance(e, ToolFinished) and e.effect == "write" and e.status == "ok"]
        if not any(
            one.tool == wanted.tool
            and all(_holds(one.arguments.get(key, ""), value) for key, value in wanted.arguments.items())
            for one in done
        ):
            got = "; ".join(f"{one.tool} {one.arguments}" for one in done) or "nothing done"
            failures.append(Failure("call", f"{wanted.tool!r} done with {wanted.arguments}", got))
    return failures


def _heard_by_turn(events: Iterable[Event], turns: Sequence[TurnRecord]) -> dict[int, str]:
    heard: dict[int, list[str]] = {}
    audible_s: float | None = None
    for event in events:
        if isinstance(event, FirstAudio) and audible_s is None:
            audible_s = event.at_s
        elif isinstance(event, ReplyEnded):
            began_s = event.at_s if audible_s is None else audible_s
            audible_s = None
            answered = [turn.turn for turn in turns if turn.speech_start_s <= began_s]
            if event.heard:
                heard.setdefault(answered[-1] if answered else -1, []).append(event.heard)
    return {turn: " ".join(texts) for turn, texts in heard.items()}


def unmet(where: str, expect: Expectation, heard: str) -> list[Failure]:
    """What of an expectation the heard words do not meet."""
    words = _words(heard)
    shown = f'"{heard}"' if heard else "nothing"
    failures = []
    if expect.any_of and not any(_holds(heard, phrase) for phrase in expect.any_of):
        failures.append(Failure(where, f"any of {list(expect.any_of)}", shown))
    missing = [phrase for phrase in expect.all_of if not _holds(heard, phrase)]
    if missing:
        failures.append(Failure(where, f"all of {list(expect.all_of)} (missing {missing})", shown))
    present = [phrase for phrase in expect.none_of if _holds(heard, phrase)]
    if present:
        failures.append(Failure(where, f"none of {list(expect.none_of)} (found {present})", shown))
    numbers = [word for word in words if word != "1" and any(letter.isdigit() for letter in word)]
    if expect.no_numbers and numbers:
        failures.append(Failure(where, f"no numbers (found {numbers})", shown))
    return failures


def _holds(heard: str, phrase: str) -> bool:
    # Digits that are told one by one become one number, of which a part is no word any more.
    return _within(_words(phrase), _words(heard)) or _within(_plain(phrase), _plain(heard))


def _within(wanted: Sequence[str], words: Sequence[str]) -> bool:
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))


def _plain(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def _words(text: str) -> list[str]:
    # The normaliser makes two numbers of "10:30" but one of "ten thirty", and trips over "o'clock".
    text = re.sub(r"\b(\d{1,2}):00\b", r"\1", text.lower())
    text = re.sub(r"(?<![$\d.])\b(\d{1,2})[:.](\d\d)\b", r"\1\2", text)
    text = re.sub(r"\s*\bo['’]?clock\b", "", text)
    text = re.sub(r"\b([ap])\.? ?m\b\.?", r"\1m", text)
    normalised: str = _normaliser()(text)
    return normalised.split()


@functools.cache
def _normaliser() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()
