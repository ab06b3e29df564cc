"""A line of text: everything that goes out is heard whole, and what was taken back before is not."""

from __future__ import annotations

import asyncio

from models.types import SpeechChunk
from pipeline.text_line import TextLine, Writer
from tests.virtual_time import run_virtual


class Ear:
    def __init__(self) -> None:
        self.told: list[str] = []

    def first_audio_sent(self, clause_id: str) -> None:
        self.told.append(f"{clause_id} begins")

    def clause_played(self, clause_id: str) -> None:
        self.told.append(f"{clause_id} ends")


async def written(text: str) -> SpeechChunk:
    (chunk,) = [chunk async for chunk in Writer().speak(text, voice="any")]
    return chunk


def test_what_is_queued_is_heard_in_order_and_the_call_is_told() -> None:
    async def main() -> None:
        line, ear = TextLine(), Ear()
        line.attach(ear)
        line.start_reply()
        line.play("a", await written("One moment."))
        line.play("b", await written("It is done."))
        assert [clause.text for clause in line.heard()] == ["", ""]
        await line.wait_for_playout()
        assert [(clause.text, clause.complete) for clause in line.heard()] == [
            ("One moment.", True),
            ("It is done.", True),
        ]
        assert ear.told == ["a begins", "a ends", "b begins", "b ends"]
        line.start_reply()
        assert line.heard() == ()
        assert line.said == ["One moment.", "It is done."]

    run_virtual(main())


def test_what_is_taken_back_before_it_went_out_is_not_heard() -> None:
    async def main() -> None:
        line = TextLine()
        line.play("a", await written("Never mind."))
        (clause,) = line.clear()
        assert (clause.text, clause.complete) == ("", False)
        await line.wait_for_playout()
        assert line.said == []

    run_virtual(main())


def test_a_held_line_goes_on_when_it_is_let_go() -> None:
    async def main() -> None:
        line = TextLine()
        line.play("a", await written("Not yet."))
        line.pause()
        waits = asyncio.create_task(line.wait_for_playout())
        await asyncio.sleep(5)
        assert not waits.done()
        assert line.said == []
        line.resume()
        await waits
        assert line.said == ["Not yet."]

    run_virtual(main())
