import base64
import gzip
import json
import re
import wave
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline import events as ev
from serve.report import ReportError, write_report
from telephony.audio import pcm16_to_ulaw
from tests.serve.example_run import CALL, HOSTILE, ExampleCall


class Page(HTMLParser):
    """The page as a browser takes it apart: its elements, its text outside of scripts, its scripts' text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._in: str | None = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in == "script":
            self.scripts[-1] += data
        elif self._in != "style":
            self.text += f" {data}"

    @property
    def data(self) -> dict:
        return json.loads(self.scripts[0])

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return ExampleCall().build().write(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_every_turns_words_stages_and_marks_are_on_the_page(page: Page):
    for exchange in CALL:
        if not exchange.fails:
            assert exchange.said in page.words
    assert CALL[0].reply[0] in page.words
    for label in ("turn decided", "final transcript", "route", "first clause", "first speech", "first audible sample"):
        assert page.words.count(label) >= 6
    assert "635 ms voice to voice on the wire gateway 604 ms" in page.words
    assert "caller barged in at 0:26.8" in page.words
    assert "cut off: spoke before the caller had finished" in page.words
    assert "transcribe failed: SpeechToText: the replica died" in page.words
    assert "booking complete" in page.words


def test_unheard_words_are_struck_out_and_drawn_apart(run: Path, page: Page):
    struck = re.findall(r"<del>(.*?)</del>", (run / "report.html").read_text(encoding="utf-8"), re.DOTALL)
    assert struck[1:] == ["past three,", "and a quarter to five in the afternoon."]
    booking = page.data["turns"][3]
    assert [words["text"] for words in booking["agent"]] == [
        "Certainly.",
        "On Tuesday I have two o&#39;clock, half",
    ] or [words["text"] for words in booking["agent"]] == ["Certainly.", "On Tuesday I have two o'clock, half"]
    assert booking["agent"][-1]["unheard"] == "past three, and a quarter to five in the afternoon."
    assert booking["barge_in_s"] is not None


def test_the_figures_are_the_callers_where_there_are_any(page: Page):
    assert "532 ms median 632 ms 95th percentile" in page.words
    assert "measured by the caller on the wire; 6 turns" in page.words
    assert "False cut-offs 1 of 6" in page.words


def test_without_a_caller_the_gateways_figures_are_named_as_such(tmp_path: Path):
    page = Page(write_report(ExampleCall().build().write(tmp_path, caller_side=False)).read_text(encoding="utf-8"))
    assert "501 ms median 685 ms 95th percentile" in page.words
    assert "as the gateway sees it; 6 turns" in page.words
    assert "only a caller who knows the script can tell" in page.words
    assert page.data["audio"]


def test_nothing_a_caller_says_becomes_markup_or_script(run: Path, page: Page):
    html = (run / "report.html").read_text(encoding="utf-8")
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert len(scripts) == 2
    assert scripts[0]["type"] == "application/json"
    assert f"'nonce-{scripts[1]['nonce']}'" in html
    assert "<script>alert" not in html
    assert "<!-- Anna" not in html
    assert page.data["turns"][6]["caller"]["text"] == HOSTILE
    assert HOSTILE in page.words


def test_the_page_asks_nobody_for_anything(run: Path, page: Page):
    html = (run / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|//cdn|@import|url\(", html)
    assert not [tag for tag, _ in page.elements if tag in ("link", "img", "iframe", "audio", "source")]
    assert all("src" not in attributes for _, attributes in page.elements)


def test_the_sound_in_the_page_is_the_wires(run: Path, page: Page):
    with wave.open(str(run / "wire.wav")) as file:
        sides = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)
    ulaw = gzip.decompress(base64.b64decode(page.data["audio"]))
    assert ulaw == pcm16_to_ulaw(sides[:, 0]) + pcm16_to_ulaw(sides[:, 1])
    peaks = np.frombuffer(base64.b64decode(page.data["right_peaks"]), np.uint8)
    assert peaks.size == -(-sides.shape[0] // 80)
    assert peaks[:5].max() == 0
    assert peaks.max() == np.abs(sides[:, 1].astype(int)).max() >> 7


def test_the_wires_sound_is_preferred_to_the_gateways_own(tmp_path: Path):
    call = ExampleCall().build(CALL[:1])
    call.write(tmp_path, caller_side=True)
    wire = Page(write_report(tmp_path).read_text(encoding="utf-8")).data["audio"]
    with wave.open(str(tmp_path / "call.wav"), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(4000))
    assert Page(write_report(tmp_path).read_text(encoding="utf-8")).data["audio"] == wire


def test_a_call_that_broke_off_without_sound_still_gives_a_page(tmp_path: Path):
    events = sorted(ExampleCall().build().events, key=lambda event: event.at_s)[:14]
    (tmp_path / "events.jsonl").write_text("\n".join(map(ev.to_json, events)), encoding="utf-8")
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "not yet, or cut off" in page.words
    assert "This run has no recording." in page.words


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("events.jsonl", None, "events.jsonl: not found; expected a run's folder"),
        ("events.jsonl", b'{"kind": "nonsense"}\n', "unknown event kind 'nonsense'"),
        ("wire.wav", b"RIFFnot a wave", "wire.wav: not a WAV file"),
        ("caller.json", b'{"turns": [{"v2v_ms": "soon"}]}', "caller.json: turns.0.v2v_ms"),
        ("caller.json", b"{", "caller.json: top level"),
    ],
)
def test_a_broken_run_is_refused_by_name(tmp_path: Path, name: str, content: bytes | None, says: str):
    ExampleCall().build(CALL[:1]).write(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ReportError, match=re.escape(says)):
        write_report(tmp_path)


def test_a_recording_of_another_form_is_refused(tmp_path: Path):
    ExampleCall().build(CALL[:1]).write(tmp_path)
    with wave.open(str(tmp_path / "wire.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(640))
    with pytest.raises(ReportError, match=r"expected 8000 Hz, 2 channels.*got \(16000, 1, 2\)"):
        write_report(tmp_path)
