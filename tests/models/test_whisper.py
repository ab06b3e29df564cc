"""The transcriber on real weights and real sounds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.nonspeech import clips, heard
from bench.voices import KokoroVoice
from models.registry import WhisperWindow
from models.types import FloatAudio, Languages, ModelFailure
from models.weights import entry, prepare
from models.whisper import WhisperTranscriber
from tests.models.speech import spoken

pytestmark = pytest.mark.slow

BOOKING = "I would like to book a cleaning for next Tuesday afternoon."
HOURS = "What time do you close on Saturday?"


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("speech")


@pytest.fixture(scope="module")
def transcriber() -> WhisperTranscriber:
    window = entry("whisper-tiny.en").whisper_window
    assert window is not None
    return WhisperTranscriber(prepare("whisper-tiny.en"), window=window)


@pytest.fixture(scope="module")
def booking(speech: Path) -> FloatAudio:
    return spoken(BOOKING, speech)


def test_a_batch_of_turns_comes_back_in_order_and_as_one_by_one(
    transcriber: WhisperTranscriber, booking: FloatAudio, speech: Path
) -> None:
    hours = spoken(HOURS, speech)
    together = transcriber.transcribe([hours, np.zeros(16_000, np.float32), booking])
    assert [plain(one.text) for one in together] == [plain(HOURS), "", plain(BOOKING)]
    assert together[2].audio_s == pytest.approx(len(booking) / 16_000)
    assert not together[2].full_window
    assert [plain(transcriber.transcribe([one])[0].text) for one in (hours, booking)] == [plain(HOURS), plain(BOOKING)]


def test_words_have_times_in_order_where_they_were_said(transcriber: WhisperTranscriber, booking: FloatAudio) -> None:
    lead_s = 1.5
    late = np.concatenate([np.zeros(int(lead_s * 16_000), np.float32), booking])
    (early_text,), (late_text,) = (transcriber.transcribe([one], word_times=True) for one in (booking, late))
    assert " ".join(word.text for word in early_text.words) == early_text.text
    times = [moment for word in early_text.words for moment in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert times[-1] <= len(booking) / 16_000
    assert all(0 < word.probability <= 1 for word in early_text.words)
    # The middle of the sentence moves with the audio (its first word takes the silence before it).
    shift = [after.end_s - before.end_s for before, after in zip(early_text.words, late_text.words, strict=True)][3:-1]
    assert np.median(shift) == pytest.approx(lead_s, abs=0.15)


def test_without_word_times_there_are_no_words(transcriber: WhisperTranscriber, booking: FloatAudio) -> None:
    (found,) = transcriber.transcribe([booking])
    assert found.words == ()
    assert found.language == "en"
    assert found.no_speech_probability < 0.3
    assert -0.9 < found.average_log_probability < 0


def test_noise_music_and_silence_make_no_words(transcriber: WhisperTranscriber) -> None:
    sounds = list(clips(18, seed=7))
    found = transcriber.transcribe([sound.audio for sound in sounds])
    assert {sound.name: one.text for sound, one in zip(sounds, found, strict=True) if one.text} == {}


def test_a_real_thank_you_is_not_taken_for_an_invented_one(transcriber: WhisperTranscriber, speech: Path) -> None:
    (found,) = transcriber.transcribe([spoken("Thank you.", speech)])
    assert plain(found.text) == "thank you"


def test_a_turn_longer_than_whispers_window_is_heard_to_its_end(transcriber: WhisperTranscriber, speech: Path) -> None:
    lines = [
        "Hello, my name is Robert and I moved here in March.",
        "My old dentist was in another city, so I have no records with me.",
        "On Friday my left side started to hurt when I drink something cold.",
        "I took a painkiller in the morning and it went away for a few hours.",
        "My daughter needs a check up too, she is seven years old and she is afraid of the drill.",
        "We could come together on Wednesday or on Thursday after lunch.",
        "I also want to know whether you accept my insurance.",
        "Please call me back if there is anything earlier.",
        "And one last thing, where can I park my car?",
    ]
    audio = spoken(" ".join(lines), speech)
    assert len(audio) > 31 * 16_000
    (found,) = transcriber.transcribe([audio], word_times=True)
    heard = plain(found.text)
    assert plain(lines[0]) in heard
    assert heard.endswith(plain(lines[-1]))
    assert abs(len(heard.split()) - len(plain(" ".join(lines)).split())) <= 6
    assert found.words[-1].end_s == pytest.approx(len(audio) / 16_000, abs=0.5)


def test_a_loop_in_a_short_window_is_decoded_again_in_the_full_one(speech: Path) -> None:
    # Without silence after the speech Whisper repeats itself; over a few sentences some do.
    bare = WhisperTranscriber(prepare("whisper-tiny.en"), window=WhisperWindow(extra_silence_s=0.0, minimum_s=0.5))
    lines = ["Press five to repeat the message.", "Yes please.", "Tuesday.", "No.", "Four.", "At nine thirty.", HOURS]
    found = bare.transcribe([spoken(line, speech) for line in lines])
    again = [(line, one.text) for line, one in zip(lines, found, strict=True) if one.full_window]
    assert again
    assert all(len(text.split()) <= len(line.split()) + 1 for line, text in again)


@pytest.fixture(scope="module")
def multilingual() -> WhisperTranscriber:
    window = entry("whisper-base").whisper_window
    assert window is not None
    return WhisperTranscriber(prepare("whisper-base"), window=window, languages=("en", "es"))


@pytest.fixture(scope="module")
def pedir_cita(speech: Path) -> FloatAudio:
    voice = KokoroVoice(prepare("kokoro-82m-int8"), "es/bf_emma", speech)
    return heard(voice.render("Buenos días, quería pedir una cita para el viernes.", 1))


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize(("expected", "other"), [("en", "es"), ("es", "en")])
def test_each_turn_of_a_batch_is_heard_in_the_language_it_is_spoken_in(
    multilingual: WhisperTranscriber,
    booking: FloatAudio,
    pedir_cita: FloatAudio,
    expected: str,
    other: str,
    settled: bool,
) -> None:
    may_be = Languages(expected, (other,), settled=settled)
    english, spanish = multilingual.transcribe([booking, pedir_cita], languages=[may_be, may_be])
    assert (english.language, spanish.language) == ("en", "es")
    assert plain(english.text) == plain(BOOKING)
    assert "una cita para el viernes" in spanish.text.lower()


def test_no_language_is_heard_that_is_not_listed_nor_told_from_too_little(
    multilingual: WhisperTranscriber, pedir_cita: FloatAudio
) -> None:
    (unlisted,) = multilingual.transcribe([pedir_cita], languages=[Languages("en", ("fr",))])
    assert unlisted.language in ("en", "fr")
    (short,) = multilingual.transcribe([pedir_cita[:12_000]], languages=[Languages("en", ("es",))])
    assert short.language == "en"


def test_a_language_that_the_weights_do_not_know_is_refused(
    transcriber: WhisperTranscriber, multilingual: WhisperTranscriber, booking: FloatAudio
) -> None:
    with pytest.raises(ModelFailure, match="'xx': Whisper has no such language"):
        multilingual.transcribe([booking], languages=[Languages("en", ("xx",))])
    with pytest.raises(ModelFailure, match="know English only"):
        transcriber.transcribe([booking], languages=[Languages("es")])
    with pytest.raises(ModelFailure, match="know English only"):
        WhisperTranscriber(prepare("whisper-tiny.en"), window=WhisperWindow(), languages=("en", "es"))


@pytest.mark.parametrize("bad", [np.zeros((2, 100), np.float32), np.zeros(100, np.float64)], ids=["stereo", "float64"])
def test_audio_of_another_kind_is_refused(transcriber: WhisperTranscriber, bad: FloatAudio) -> None:
    with pytest.raises(ModelFailure, match="expected mono float32"):
        transcriber.transcribe([bad])


def test_nothing_in_gives_nothing_out(transcriber: WhisperTranscriber) -> None:
    assert transcriber.transcribe([]) == []
    assert [one.text for one in transcriber.transcribe([np.zeros(0, np.float32), np.ones(7, np.float32) / 9])] == [
        "",
        "",
    ]


def test_missing_or_broken_weights_are_named(tmp_path: Path) -> None:
    window = WhisperWindow()
    with pytest.raises(ModelFailure, match=r"model\.bin: no such file"):
        WhisperTranscriber(tmp_path, window=window)
    good = prepare("whisper-tiny.en")
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        shutil.copy(good / name, tmp_path / name)
    (tmp_path / "model.bin").write_bytes(b"no weights at all")
    with pytest.raises(ModelFailure, match="CTranslate2 cannot load it"):
        WhisperTranscriber(tmp_path, window=window)
