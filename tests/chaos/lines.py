"""What the callers say. A line's number is the loudness by which the fake ears know it."""

from __future__ import annotations

from typing import Final

WISH: Final = "i would like to book an appointment"
SLOTS: Final = {
    "10:00": "tuesday at ten please",
    "14:30": "tuesday at two thirty please",
    "09:00": "thursday at nine please",
    "15:30": "friday at three thirty please",
}
"""By the hour of the opening; no two openings of the practice are at the same."""
NAME: Final = "my name is john miller"
YES: Final = "yes that is right"
GOODBYE: Final = "no thank you goodbye"
QUESTION: Final = "how much is a cleaning"
LINES: Final = (WISH, *SLOTS.values(), NAME, YES, GOODBYE, QUESTION)
