"""Whisper on CTranslate2, driven directly: a window sized to the audio, in place of 30 s whatever was said.

A turn of three seconds encoded in a 30 s window spends nine tenths of its time on padding. A short window is many times
faster, but Whisper was trained on 30 s and repeats itself in a shorter one. What makes it hold, each measured by
`bench/stt.py`:

- the window has silence behind the speech, as the weights' `WhisperWindow` says;
- comfort noise 40 dB below the speech lies under all of it: digital silence is foreign to Whisper and makes it guess;
- timestamps are on, and what comes after a segment that ends where the audio's sound ends is cut;
- tokens are budgeted by the audio's length; an output that uses them up or repeats itself is a loop, and that audio is
  decoded again in the full window.

Text made of noise or silence is told by Whisper's own no-speech probability together with Silero VAD.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import ctranslate2
import numpy as np
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.vad import get_vad_model
from tokenizers import Tokenizer as HubTokenizer

from models.cublas import load_cublas12
from models.decoding import (
    Decoded,
    cut_at_sound_end,
    is_invented,
    is_loop,
    needs_speech_evidence,
    token_budget,
    without_repeats,
)
from models.mel import FloatMatrix, log_mel
from models.registry import WhisperWindow
from models.types import (
    HEARING_RATE_HZ,
    ComputeType,
    Device,
    FloatAudio,
    Languages,
    ModelFailure,
    Transcript,
    Word,
)

__all__ = ["EncodedTurns", "Turn", "WhisperTranscriber"]

FULL_WINDOW_S = 30.0
LONGEST_PIECE_S = 28.0
"""Longer audio is split where it is quietest, so that each piece leaves room for silence in a 30 s window."""

COMFORT_NOISE_RMS = 1e-3
"""-60 dBFS: too quiet to be heard, yet padding sounds like an open line with it, and not like nothing."""

COMFORT_NOISE_FOR_RMS = 0.1
"""The noise is meant for turns at -20 dBFS, as those it was measured on; under a quieter turn it is quieter too."""

INAUDIBLE_RMS = 3e-4
"""-70 dBFS: below this a whole turn is silence; u-law's smallest step is 8/32768 = -72 dBFS."""

_MOST_TOKENS = 224
"""Whisper's decoder holds 448 positions; CTranslate2 gives the text half of `max_length`."""

LEAST_TO_TELL_S = 1.0
"""In a shorter turn the language is the expected one: most Spanish prompts that short are English to Whisper base."""
_ENGLISH_BIAS = 9.0
"""Whisper base in a short window gives English this many times the odds it should: at even odds a fifth of 368 Spanish
prompts over a second were English to it, and none of 373 English ones was Spanish."""
_LEAVE, _LEAVE_SETTLED = 0.5, 0.85
"""The expected language is left for one of at least this probability among those listed, the bias taken out. How often
that is right: make bench-languages."""

_SPEECH_PROBABILITY = 0.5
_VAD_WINDOW_SAMPLES = 512


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of one caller's turn, no longer than a window can hold."""

    offset_s: float
    audio: FloatAudio
    languages: Languages
    window_s: float
    """The window it wants."""
    features: FloatMatrix | None = None
    """Its log-mel in that window, if it is made already."""

    @property
    def audio_s(self) -> float:
        return len(self.audio) / HEARING_RATE_HZ

    @property
    def is_to_tell(self) -> bool:
        """Whether its language is to be detected."""
        return bool(self.languages.others) and self.audio_s >= LEAST_TO_TELL_S


@dataclass(frozen=True, slots=True)
class Turn:
    """One caller's turn on its way to words."""

    audio_s: float
    languages: Languages
    word_times: bool
    pieces: tuple[_Piece, ...]
    decoded: tuple[Decoded | None, ...]
    """Of each piece; None: it is still to be decoded."""
    again: bool = False
    """What is left of it looped in a short window."""

    @property
    def full_window(self) -> bool:
        """Whether any of what is left wants Whisper's own window: such turns are no company for short ones."""
        return any(
            one is None and piece.window_s == FULL_WINDOW_S
            for piece, one in zip(self.pieces, self.decoded, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """A piece that is being decoded."""

    turn: int
    place: int
    piece: _Piece
    word_times: bool


@dataclass(frozen=True, slots=True)
class _Window:
    """Rows of like size, encoded together."""

    rows: tuple[_Row, ...]
    window_s: float
    encoded: ctranslate2.StorageView


@dataclass(frozen=True, slots=True)
class EncodedTurns:
    """Turns whose sound has been through the encoder."""

    turns: tuple[Turn, ...]
    windows: tuple[_Window, ...]


class WhisperTranscriber:
    """One set of Whisper weights in CTranslate2's format. Keeps nothing between calls; threads may share it.

    `transcribe` does all at once. Who has other batches to compute meanwhile goes by stages: `prepare` each turn,
    `encode` some together, `decode` them.
    """

    def __init__(
        self,
        folder: Path,
        *,
        window: WhisperWindow,
        threads: int = 2,
        compute_type: ComputeType = "int8",
        languages: Sequence[str] = ("en",),
        device: Device = "cpu",
        device_index: int = 0,
        at_once: int = 1,
    ) -> None:
        """Load the weights (model.bin, config.json, tokenizer.json, vocabulary.txt) from a prepared folder.

        `threads` is for one batch on the CPU, and for log-mel features wherever the model runs; `at_once`: batches that
        are computed side by side, where several threads ask. `languages`: those that will be asked for, ISO 639-1
        codes. Raises ModelFailure if a file is missing, CTranslate2 cannot load it, or the weights don't know a
        language.
        """
        for name in ("model.bin", "config.json", "tokenizer.json"):
            if not (folder / name).is_file():
                raise ModelFailure(
                    f"{folder / name}: no such file; expected Whisper's weights for CTranslate2: "
                    f"run `trunkline models prepare {folder.name}`"
                )
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder),
                device=device,
                device_index=device_index,
                compute_type=compute_type,
                intra_threads=threads,
                inter_threads=at_once,
            )
        except (RuntimeError, ValueError) as error:
            raise ModelFailure(
                f"{folder}: CTranslate2 cannot load it as {compute_type} on {device}: {error}"
            ) from error
        if device == "cuda":
            load_cublas12()
        self._words = HubTokenizer.from_file(str(folder / "tokenizer.json"))
        self._multilingual: bool = self._model.is_multilingual
        self._mel_count: int = self._model.n_mels
        self._window = window
        for language in languages:
            self._check_language(language)
        noise = np.random.default_rng(0).standard_normal(int(FULL_WINDOW_S * HEARING_RATE_HZ)) * COMFORT_NOISE_RMS
        self._noise: FloatAudio = noise.astype(np.float32)
        self._vad = get_vad_model()
        self._mel_threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="log-mel")
        # The first run of all is the slow one; it also shows that the engine works on this machine.
        self.transcribe([100 * self._noise[:HEARING_RATE_HZ]], languages=[Languages(languages[0])])

    @property
    def multilingual(self) -> bool:
        """Whether the weights know languages other than English."""
        return self._multilingual

    def transcribe(
        self, audios: Sequence[FloatAudio], *, languages: Sequence[Languages] = (), word_times: bool = False
    ) -> list[Transcript]:
        """What was said in each of several turns, in their order. Blocks; releases the GIL while it computes.

        Each audio is one whole turn (or the turn so far), shape (n,), float32, 16 kHz. Turns whose windows are of
        like size share a batch. `languages`: what may be spoken in each; English if not given. Word times cost one
        more decoder pass, detecting a language costs one decoder step.
        Raises ModelFailure on audio of another shape or type, an unknown language, or a failure of the engine.
        """
        spoken = list(languages) or [Languages()] * len(audios)
        if len(spoken) != len(audios):
            raise ModelFailure(f"expected languages for each of {len(audios)} turns, got {len(spoken)}")
        left = dict(
            enumerate(
                self._mel_threads.map(
                    lambda audio, may_be: self.prepare(audio, languages=may_be, word_times=word_times), audios, spoken
                )
            )
        )
        found: dict[int, Transcript] = {}
        while left:
            for index, one in zip(left, self.decode(self.encode(list(left.values()))), strict=True):
                if isinstance(one, Transcript):
                    found[index] = one
                else:
                    left[index] = one
            left = {index: turn for index, turn in left.items() if index not in found}
        return [found[index] for index in range(len(audios))]

    def prepare(self, audio: FloatAudio, *, languages: Languages, word_times: bool = False) -> Turn:
        """One turn as it goes into the encoder; as `transcribe` takes it, and raises the same.

        Takes no time to speak of, unless the turn `wants_full_window`.
        """
        for language in (languages.expected, *languages.others):
            self._check_language(language)
        if audio.ndim != 1 or audio.dtype != np.float32:
            raise ModelFailure(f"audio: expected mono float32 of shape (n,) at 16 kHz, got {audio.dtype} {audio.shape}")
        pieces = tuple(self._piece(offset, part, languages) for offset, part in _parts(audio))
        return Turn(len(audio) / HEARING_RATE_HZ, languages, word_times, pieces, (None,) * len(pieces))

    def wants_full_window(self, audio: FloatAudio) -> bool:
        """Whether any of a turn is decoded in Whisper's own window."""
        return self._window_s(len(audio) / HEARING_RATE_HZ) == FULL_WINDOW_S

    def encode(self, turns: Sequence[Turn]) -> EncodedTurns:
        """What is left of several turns, through the encoder. Blocks as `transcribe` does. Raises ModelFailure."""
        rows = [
            _Row(index, place, turn.pieces[place], turn.word_times)
            for index, turn in enumerate(turns)
            for place, one in enumerate(turn.decoded)
            if one is None
        ]
        try:
            windows = tuple(self._encode(some, window_s) for some, window_s in _batches(rows))
        except RuntimeError as error:
            raise _failure(turns, error) from error
        return EncodedTurns(tuple(turns), windows)

    def decode(self, encoded: EncodedTurns, *, wanted: Sequence[bool] = ()) -> list[Transcript | Turn]:
        """The words of each turn; or the turn itself, where some of it is to be encoded and decoded once more.

        `wanted`: which turns somebody still waits for; all if not given. What comes for the others says nothing.
        Blocks as `transcribe` does. Raises ModelFailure.
        """
        turns = encoded.turns
        decoded = [list(turn.decoded) for turn in turns]
        try:
            for window in encoded.windows:
                if wanted and not any(wanted[row.turn] for row in window.rows):
                    continue
                for row, one in zip(window.rows, self._decode(window), strict=True):
                    decoded[row.turn][row.place] = replace(one, redecoded=turns[row.turn].again)
        except RuntimeError as error:
            raise _failure(turns, error) from error
        return [_outcome(turn, found) for turn, found in zip(turns, decoded, strict=True)]

    def _check_language(self, language: str) -> None:
        if language == "en":
            return
        if not self._multilingual:
            raise ModelFailure(f"language {language!r}: these Whisper weights know English only; expected 'en'")
        if self._words.token_to_id(f"<|{language}|>") is None:
            raise ModelFailure(
                f"language {language!r}: Whisper has no such language; expected a code such as 'en' or 'es'"
            )

    def _piece(self, offset: int, audio: FloatAudio, languages: Languages) -> _Piece:
        window_s = self._window_s(len(audio) / HEARING_RATE_HZ)
        # What lies in a shorter window depends on its company; here it does not, and its features are the costliest.
        features = self._features(audio, FULL_WINDOW_S) if window_s == FULL_WINDOW_S else None
        return _Piece(offset / HEARING_RATE_HZ, audio, languages, window_s, features)

    def _window_s(self, audio_s: float) -> float:
        if self._window.full_window:
            return FULL_WINDOW_S
        # Whole tenths of a second keep the encoder's shapes few.
        wanted = np.ceil(10 * max(self._window.minimum_s, audio_s + self._window.extra_silence_s)) / 10
        return float(min(FULL_WINDOW_S, wanted))

    def _encode(self, rows: Sequence[_Row], window_s: float) -> _Window:
        """One encoder run over equal windows."""
        features = np.stack(list(self._mel_threads.map(lambda row: self._features_of(row.piece, window_s), rows)))
        return _Window(tuple(rows), window_s, self._model.encode(ctranslate2.StorageView.from_array(features)))

    def _decode(self, window: _Window) -> list[Decoded]:
        """One greedy decoder run over what was encoded together."""
        full = window.window_s == FULL_WINDOW_S
        pieces = [row.piece for row in window.rows]
        languages = self._spoken(pieces, window.encoded)
        tokenizers = [self._tokenizer(one) for one in languages]
        prompts = [list(tokenizer.sot_sequence) for tokenizer in tokenizers]
        budgets = [_MOST_TOKENS if full else token_budget(piece.audio_s) for piece in pieces]
        generated = self._model.generate(
            window.encoded,
            prompts,
            beam_size=1,
            # CTranslate2 gives generated tokens at most half of max_length (src/models/whisper.cc).
            max_length=2 * min(_MOST_TOKENS, max(budgets)),
            return_scores=True,
            return_no_speech_prob=True,
        )
        results: list[Decoded] = []
        for piece, language, tokenizer, budget, result in zip(
            pieces, languages, tokenizers, budgets, generated, strict=True
        ):
            tokens = result.sequences_ids[0]
            kept = cut_at_sound_end(tokens, _sound_end_s(piece.audio), tokenizer.timestamp_begin, tokenizer.eot)
            looped = is_loop(tokenizer.decode(kept.text_tokens), kept, len(tokens), budget)
            endless = full and not kept.finished and len(tokens) >= budget
            text_tokens = without_repeats(kept.text_tokens) if endless else kept.text_tokens
            one = Decoded(
                text=tokenizer.decode(text_tokens).strip(),
                text_tokens=tuple(text_tokens),
                language=language,
                no_speech_probability=result.no_speech_prob,
                # As faster-whisper counts it: the end of text is a token too.
                average_log_probability=result.scores[0] * len(tokens) / (len(tokens) + 1),
                looped=looped,
                full_window=full,
            )
            results.append(one)
        if any(row.word_times for row in window.rows):
            results = self._with_words(window, results)
        return [self._judged(piece, one) for piece, one in zip(pieces, results, strict=True)]

    def _spoken(self, pieces: Sequence[_Piece], encoded: ctranslate2.StorageView) -> list[str]:
        """The language of each piece."""
        if not any(piece.is_to_tell for piece in pieces):
            return [piece.languages.expected for piece in pieces]
        found = self._model.detect_language(encoded)
        return [_told(piece, dict(one)) for piece, one in zip(pieces, found, strict=True)]

    def _features_of(self, piece: _Piece, window_s: float) -> FloatMatrix:
        if piece.features is not None and window_s == piece.window_s:
            return piece.features
        return self._features(piece.audio, window_s)

    def _features(self, audio: FloatAudio, window_s: float) -> FloatMatrix:
        loudness = min(1.0, _rms(audio) / COMFORT_NOISE_FOR_RMS)
        samples = self._noise[: round(window_s * HEARING_RATE_HZ)] * np.float32(loudness)
        samples[: len(audio)] += audio[: len(samples)]
        return log_mel(samples, self._mel_count)

    def _tokenizer(self, language: str) -> Tokenizer:
        return Tokenizer(self._words, self._multilingual, task="transcribe", language=language)

    def _with_words(self, window: _Window, results: Sequence[Decoded]) -> list[Decoded]:
        """Words with times (by attention, CTranslate2's `align`) and mean token probabilities."""
        timed = list(results)
        frames = [int(row.piece.audio_s * 100) for row in window.rows]
        for language in {one.language for one in results}:
            tokenizer = self._tokenizer(language)
            texts = [
                list(one.text_tokens) if row.word_times and one.language == language else []
                for row, one in zip(window.rows, results, strict=True)
            ]
            if not any(texts):
                continue
            start = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
            aligned = self._model.align(window.encoded, start, texts, frames)
            for index, (row, tokens, one) in enumerate(zip(window.rows, texts, aligned, strict=True)):
                if tokens:
                    timed[index] = replace(timed[index], words=_words(tokenizer, tokens, one, row.piece))
        return timed

    def _judged(self, piece: _Piece, one: Decoded) -> Decoded:
        """Without the text that Whisper made of no speech; the VAD is asked only where there is doubt."""
        if needs_speech_evidence(one) and is_invented(one, self._speech_s(piece.audio)):
            return replace(one, text="", text_tokens=(), words=(), looped=False)
        return one

    def _speech_s(self, audio: FloatAudio) -> float:
        """Seconds that Silero VAD holds for speech (faster-whisper's copy, which takes a whole clip in one run)."""
        samples = np.pad(audio, (0, -len(audio) % _VAD_WINDOW_SAMPLES))
        windows = int(np.count_nonzero(self._vad(samples) >= _SPEECH_PROBABILITY))
        return windows * _VAD_WINDOW_SAMPLES / HEARING_RATE_HZ


def _rms(audio: FloatAudio) -> float:
    return float(np.sqrt(np.mean(np.square(audio)))) if len(audio) else 0.0


def _told(piece: _Piece, probabilities: dict[str, float]) -> str:
    """The language of a piece, from the probabilities of all that Whisper knows, by token."""
    languages = piece.languages
    if not piece.is_to_tell:
        return languages.expected
    listed = {code: probabilities[f"<|{code}|>"] for code in (languages.expected, *languages.others)}
    weighed = {code: chance / (_ENGLISH_BIAS if code == "en" else 1.0) for code, chance in listed.items()}
    likeliest = max(weighed, key=lambda code: weighed[code])
    leave = _LEAVE_SETTLED if languages.settled else _LEAVE
    return likeliest if weighed[likeliest] >= leave * sum(weighed.values()) else languages.expected


def _parts(audio: FloatAudio) -> list[tuple[int, FloatAudio]]:
    """Nothing of an inaudible turn; a long one split at its quietest fifth of a second between 14 and 28 s.

    With the sample at which each begins.
    """
    if _rms(audio) < INAUDIBLE_RMS:
        return []
    parts, offset = [], 0
    longest, shortest, quiet = (int(s * HEARING_RATE_HZ) for s in (LONGEST_PIECE_S, LONGEST_PIECE_S / 2, 0.2))
    while len(audio) - offset > longest:
        loudness = np.convolve(np.square(audio[offset + shortest : offset + longest]), np.ones(quiet), mode="valid")
        end = offset + shortest + int(np.argmin(loudness)) + quiet // 2
        parts.append((offset, audio[offset:end]))
        offset = end
    parts.append((offset, audio[offset:]))
    return parts


def _batches(rows: Sequence[_Row]) -> list[tuple[list[_Row], float]]:
    """Rows to compute together, and their window: no piece gets over a third more than it wants."""
    batches: list[tuple[list[_Row], float]] = []
    for row in sorted(rows, key=lambda row: -row.piece.window_s):
        if batches and row.piece.window_s >= 0.75 * batches[-1][1]:
            batches[-1][0].append(row)
        else:
            batches.append(([row], row.piece.window_s))
    return batches


def _outcome(turn: Turn, found: Sequence[Decoded | None]) -> Transcript | Turn:
    """A turn's words; loops that are no noise are to be decoded once more in the full window."""
    decoded = [one for one in found if one is not None]
    if len(decoded) < len(found):
        return turn
    again = [one.looped and not one.full_window for one in decoded]
    if not any(again):
        return _transcript(list(zip(turn.pieces, decoded, strict=True)), turn.audio_s, turn.languages.expected)
    return replace(
        turn,
        pieces=tuple(
            replace(piece, window_s=FULL_WINDOW_S) if loops else piece
            for piece, loops in zip(turn.pieces, again, strict=True)
        ),
        decoded=tuple(None if loops else one for one, loops in zip(decoded, again, strict=True)),
        again=True,
    )


def _failure(turns: Sequence[Turn], error: RuntimeError) -> ModelFailure:
    return ModelFailure(f"Whisper failed on a batch of {len(turns)} turns: {error}")


def _sound_end_s(audio: FloatAudio) -> float:
    """Where the last 20 ms lies that are within 30 dB of the loudest 20 ms."""
    frame = HEARING_RATE_HZ // 50
    if len(audio) < frame:
        return len(audio) / HEARING_RATE_HZ
    power = np.square(audio[: len(audio) // frame * frame]).reshape(-1, frame).mean(axis=1)
    return float(np.flatnonzero(power >= power.max() * 1e-3)[-1] + 1) * frame / HEARING_RATE_HZ


def _words(
    tokenizer: Tokenizer, tokens: list[int], aligned: ctranslate2.models.WhisperAlignmentResult, piece: _Piece
) -> tuple[Word, ...]:
    texts, groups = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
    if not aligned.alignments or len(groups) < 2:
        return ()
    token_places, times = np.array(aligned.alignments).T
    # The first frame of each token, in the encoder's 20 ms.
    starts = times[np.flatnonzero(np.diff(token_places, prepend=-1))] * 0.02
    words: list[Word] = []
    place = 0
    for text, group in zip(texts[:-1], groups[:-1], strict=True):
        end = place + len(group)
        start_s, end_s = (
            piece.offset_s + min(float(starts[min(at, len(starts) - 1)]), piece.audio_s) for at in (place, end)
        )
        probability = float(np.mean(aligned.text_token_probs[place:end]))
        place = end
        if words and not any(letter.isalnum() for letter in text):
            # Punctuation belongs to the word it follows.
            words[-1] = replace(words[-1], text=words[-1].text + text.strip())
        else:
            words.append(Word(text.strip(), start_s, max(start_s, end_s), probability))
    return tuple(word for word in words if word.text)


def _transcript(parts: Sequence[tuple[_Piece, Decoded]], audio_s: float, language: str) -> Transcript:
    said = [one for _, one in parts if one.text]
    if not said:
        nothing = max((one.no_speech_probability for _, one in parts), default=1.0)
        return Transcript(text="", language=language, no_speech_probability=nothing, audio_s=audio_s)
    weights = [len(one.text_tokens) for one in said]
    return Transcript(
        text=" ".join(one.text for one in said),
        words=tuple(word for one in said for word in one.words),
        language=said[0].language,
        no_speech_probability=min(one.no_speech_probability for one in said),
        average_log_probability=float(np.average([one.average_log_probability for one in said], weights=weights)),
        audio_s=audio_s,
        full_window=any(one.redecoded for one in said),
    )
