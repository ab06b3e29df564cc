"""The speech benchmark's own measures: what they find in sounds whose faults are known, and the page of pairs."""

from __future__ import annotations

import base64
import io
import re
import wave
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bench import ab_page, tts
from bench.ab_page import SENTENCES, Clip, Pair, shown_pairs, speakers, spoken_clip, write_page
from bench.tts import Case, Sound, Spoken
from models.types import SPEAKING_RATE_HZ, FloatAudio
from models.weights import prepare

FADE = 72


def voiced(seconds: float = 2.0, pitch_hz: float = 140.0, seed: int = 3) -> FloatAudio:
    """A buzz with a wandering pitch and a syllable's swell, and a little breath: speech as far as clicks go."""
    time = np.arange(int(seconds * SPEAKING_RATE_HZ)) / SPEAKING_RATE_HZ
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))) / SPEAKING_RATE_HZ
    tone = sum(np.sin(number * phase) / number**1.5 for number in range(1, 15))
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 3.1 * time)
    breath = 0.003 * np.random.default_rng(seed).standard_normal(len(time))
    ends = np.clip(20 * np.minimum(time, time[::-1]), 0, 1)
    return (ends * (0.15 * swell * tone + breath)).astype(np.float32)


def clicked(pcm: FloatAudio, place: int) -> FloatAudio:
    """The sound with a step at a sample, which dies away within a tenth of a second."""
    step = 0.06 * np.exp(-np.arange(len(pcm) - place) / 400)
    return np.concatenate([pcm[:place], pcm[place:] + step.astype(np.float32)])


def spoken(first_ms: float, cpu_ms: float, audio_ms: float = 1000.0) -> Spoken:
    return Spoken(first_ms, first_ms + 10, cpu_ms, audio_ms, 0.0)


def sound(*, wer: float = 3.0, wer_whole: float = 3.0, out: float = 0.01, out_whole: float = 0.01) -> Sound:
    ranks = {
        mode: {"beyond_99th_percentile": share, "beyond_all_others": 0.0, "median_rank": 0.5}
        for mode, share in (("windowed", out), ("whole", out_whole))
    }
    return Sound(100, {"windowed": wer, "whole": wer_whole}, {}, [5.0], {"second_difference": ranks})


def ranks_at(pcm: FloatAudio, seams: list[int]) -> dict[str, list[float]]:
    return {name: tts.seam_ranks(curve, seams, FADE) for name, curve in tts.seam_curves(pcm).items()}


# -- seams -------------------------------------------------------------------------------------------------------------


def test_places_where_nothing_happens_do_not_stand_out() -> None:
    ranks = ranks_at(voiced(), [9_600, 21_000, 33_000])
    for name, found in ranks.items():
        assert len(found) == 3
        assert max(found) < 0.999, f"{name} finds a seam where there is none"


@pytest.mark.parametrize("place", [9_601, 21_037, 33_300])
def test_a_click_stands_out_in_the_second_difference(place: int) -> None:
    assert ranks_at(clicked(voiced(), place + 30), [place])["second_difference"] == [1.0]


def test_a_jump_of_the_level_stands_out_in_the_energy() -> None:
    pcm = voiced()
    pcm[21_000:] *= np.float32(3.0)
    assert ranks_at(pcm, [21_000])["energy"][0] > 0.99


def test_a_break_in_the_course_of_the_phase_stands_out() -> None:
    # Two runs half a period apart, faded over as windows are: no click, no jump of level, yet an audible break.
    pcm, late = voiced(), np.roll(voiced(), SPEAKING_RATE_HZ // 280)
    rise = np.linspace(0, 1, FADE, dtype=np.float32)
    pcm[21_000 : 21_000 + FADE] = pcm[21_000 : 21_000 + FADE] * (1 - rise) + late[21_000 : 21_000 + FADE] * rise
    pcm[21_000 + FADE :] = late[21_000 + FADE :]
    assert ranks_at(pcm, [21_000])["phase"][0] > 0.99


def test_the_rank_is_the_share_of_other_places_that_are_smaller() -> None:
    curve = np.concatenate([np.zeros(50), np.full(50, 2.0)])
    curve[25] = 1.0
    (rank,) = tts.seam_ranks(curve, [25 * 60], FADE)
    assert 0.3 < rank < 0.5
    assert tts.seam_ranks(np.zeros(5), [60], FADE) == [], "too short to have other places"


def test_seams_are_looked_for_in_the_whole_run_where_the_speech_is_not_where_the_samples_are() -> None:
    whole, shift = voiced(), 360
    windowed = whole[shift:].copy()
    assert tts.shift_samples(windowed, whole) == shift
    assert tts.shift_samples(whole, windowed) == -shift
    whole = clicked(whole, 21_000 + shift + 30)
    found = tts.seam_json([Pair("x", Clip(windowed, (21_000,)), Clip(whole, ()))], FADE)
    second = found["second_difference"]
    assert isinstance(second, dict)
    assert second["whole"]["beyond_all_others"] == 1.0
    assert second["windowed"]["beyond_all_others"] == 0.0


# -- distance ----------------------------------------------------------------------------------------------------------


def test_distance_is_nothing_for_the_same_sound_later_and_grows_with_what_is_changed() -> None:
    one = voiced()
    assert tts.spectral_distance_db(one, one) == pytest.approx(0.0, abs=1e-9)
    assert tts.spectral_distance_db(one, one[240:]) == pytest.approx(0.0, abs=1e-9)
    quieter = tts.spectral_distance_db(one, one * np.float32(0.9))
    assert 0.1 < quieter < 1.0
    assert tts.spectral_distance_db(one, voiced(pitch_hz=190)) > 3 * quieter


# -- verdict -----------------------------------------------------------------------------------------------------------


def verdict(windowed: Spoken, whole: Spoken, judged: Sound) -> list[bool]:
    timings = {Case(2, "windowed", 12): [windowed], Case(2, "whole", 12): [whole]}
    return [one.met for one in tts.judge(timings, judged, 2)]


def test_every_target_can_be_met_and_missed() -> None:
    assert verdict(spoken(299, 135), spoken(900, 100), sound(wer=3.5, out=0.06)) == [True] * 4
    missed = sound(wer=3.6, out=0.07)
    assert verdict(spoken(301, 136), spoken(900, 100), missed) == [False] * 4


def test_work_is_compared_for_the_same_length_of_audio() -> None:
    assert tts.work_ratio([spoken(1, 200, 2000)], [spoken(1, 100, 1000)]) == pytest.approx(1.0)


# -- page --------------------------------------------------------------------------------------------------------------


def pairs(count: int) -> list[Pair]:
    """Windowed ones are all 0.1 loud, whole ones 0.2."""
    length = SPEAKING_RATE_HZ // 10
    return [
        Pair(f"Sentence <{n}>.", Clip(np.full(length, 0.1, np.float32), ()), Clip(np.full(length, 0.2, np.float32), ()))
        for n in range(count)
    ]


def level(base64_wav: str) -> float:
    with wave.open(io.BytesIO(base64.b64decode(base64_wav))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        return float(np.frombuffer(file.readframes(file.getnframes()), "<i2").mean()) / 32_767


def test_sides_and_order_come_from_the_seed_and_the_key_is_right() -> None:
    shown = shown_pairs(pairs(20), seed=1)
    assert shown == shown_pairs(pairs(20), seed=1)
    assert shown != shown_pairs(pairs(20), seed=2)
    assert sorted(pair.text for pair in shown) == sorted(pair.text for pair in pairs(20))
    assert sum(pair.windowed == "a" for pair in shown) == 10
    for pair in shown:
        windowed, whole = (pair.a, pair.b) if pair.windowed == "a" else (pair.b, pair.a)
        assert level(windowed) == pytest.approx(0.1, abs=1e-3)
        assert level(whole) == pytest.approx(0.2, abs=1e-3)


def test_the_page_needs_nothing_else_and_keeps_the_key_until_asked(tmp_path: Path) -> None:
    at = datetime(2026, 11, 24, 4, 5, 6, tzinfo=UTC)
    path = write_page(pairs(20), voice="af_heart", seed=1, at=at, folder=tmp_path)
    assert path.name == "2026-11-24T040506Z-tts-ab.html"
    html = path.read_text(encoding="utf-8")
    assert len(re.findall(r'<audio [^>]*src="data:audio/wav;base64,[A-Za-z0-9+/=]+"', html)) == 40
    assert not re.search(r"(?:src|href)=\"(?!data:)", html), "the page asks for something"
    assert "Sentence &lt;3&gt;." in html
    shown = re.sub(r"<script.*?</script>|<[^>]*>", "", html, flags=re.S)
    assert "is windowed" not in shown
    assert html.count('<p class="key" hidden></p>') == 20


def test_twenty_different_sentences_are_compared() -> None:
    assert len(set(SENTENCES)) == len(SENTENCES) == 20


# -- with Kokoro -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_seams_are_where_windows_meet_and_the_clip_is_what_is_spoken() -> None:
    both = speakers(prepare("kokoro-82m-int8"), 2, "af_heart")
    text = SENTENCES[0]
    windowed, whole = (spoken_clip(both[mode], text, "af_heart") for mode in ab_page.MODES)
    lengths = [len(chunk.pcm) for chunk in both["windowed"].speak(text, voice="af_heart")]
    assert len(windowed.seams) == len(lengths) - 1 >= 2
    assert windowed.seams[0] == lengths[0]
    assert whole.seams == ()
    assert tts.spectral_distance_db(windowed.pcm, whole.pcm) < 10
