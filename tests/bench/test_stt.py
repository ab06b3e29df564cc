"""The speech benchmark's own logic: what it compares, what it refuses, when it says missed."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench import stt
from bench.nonspeech import MAKERS, clips
from bench.stt import Measured, Prompt, PromptsMissing, Side, alternate, judge, load_prompts, normalised, transcripts

AUDIO = np.zeros(16_000, np.float32)


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt(f"family{index}-x", text, AUDIO) for index, text in enumerate(texts)]


def verdicts(ours: Measured, theirs: list[Measured], silent: list[str], *texts: str) -> dict[str, bool]:
    quiet = [Measured(silent, [1.0] * len(silent))]
    return {one.what: one.met for one in judge([ours, *theirs], quiet, prompts(*texts))}


def test_the_named_prompts_are_at_least_two_hundred_and_split_in_halves() -> None:
    names = stt.prompt_names()
    assert len(names) == len(set(names)) >= 200
    held_out = sum(Prompt(name, "", AUDIO).held_out for name in names)
    assert 0.4 < held_out / len(names) < 0.6


def test_keys_read_aloud_count_as_the_words_they_are() -> None:
    assert normalised("Press * or #.") == normalised("press star or pound")
    assert normalised("the time will be exactly...") == "the time will be exactly"


def test_a_transcript_in_brackets_is_no_speech(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt.gz"
    path.write_bytes(gzip.compress(b"; a comment: yes\nbeep: [a tone]\nhello-there: Hello: how are you?\n"))
    assert transcripts(path) == {"hello-there": "Hello: how are you?"}


def test_missing_prompts_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PromptsMissing, match="apt-get install asterisk-core-sounds-en "):
        transcripts(tmp_path / "none.txt.gz")
    monkeypatch.setattr(stt, "transcripts", lambda: {"hello": "Hello."})
    with pytest.raises(PromptsMissing, match=r"hello\.wav: no such prompt.*apt-get install"):
        load_prompts(["hello"], sounds=tmp_path)


def test_the_run_ends_2_without_the_prompts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stt, "PROMPT_NAMES", tmp_path / "names.txt")
    (tmp_path / "names.txt").write_text("no-such-prompt-anywhere\n")
    assert stt.main([]) == 2


def test_sides_take_turns_at_going_first() -> None:
    order: list[str] = []

    def side(name: str) -> Side:
        def transcribe(_: object) -> str:
            order.append(name)
            return name

        return Side(name, transcribe)

    measured = alternate([side("a"), side("b")], [AUDIO] * 3, "x", Console(quiet=True))
    assert order[2:] == ["a", "b", "b", "a", "a", "b"]
    assert [one.texts for one in measured] == [["a"] * 3, ["b"] * 3]
    assert all(len(one.milliseconds) == 3 for one in measured)


def test_ours_is_held_against_the_better_of_the_others_in_each_respect() -> None:
    text = "one two three four five six seven eight nine ten"
    wrong = text.replace("ten", "hen")
    fast_but_wrong = Measured([wrong], [300.0])
    right_but_slow = Measured([text], [900.0])
    assert verdicts(Measured([text], [100.0]), [fast_but_wrong, right_but_slow], [""], text) == {
        "word error rate": True,
        "p50 latency": True,
        "no words where there is no speech": True,
    }
    missed = verdicts(Measured([wrong], [101.0]), [fast_but_wrong, right_but_slow], [""] * 97 + ["you"] * 3, text)
    assert not any(missed.values())


def test_two_clips_in_a_hundred_may_have_words() -> None:
    ok = Measured(["a b"], [1.0])
    assert verdicts(ok, [Measured(["a b"], [9.0])], [""] * 98 + ["you"] * 2, "a b")["no words where there is no speech"]


def test_sounds_that_are_no_speech_are_the_same_each_time_and_of_every_kind() -> None:
    first, second = list(clips(20)), list(clips(20))
    assert [one.name for one in first] == [one.name for one in second]
    assert all(np.array_equal(a.audio, b.audio) for a, b in zip(first, second, strict=True))
    assert {one.kind for one in first} == set(MAKERS)
    assert all(16_000 <= len(one.audio) <= 8 * 16_000 for one in first)
    levels = [float(np.sqrt(np.mean(one.audio**2))) for one in first if one.kind != "silence"]
    assert max(levels) > 0.03
    assert min(levels) < 0.01
