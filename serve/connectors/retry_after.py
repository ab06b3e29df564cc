"""The Retry-After header, in both of its forms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_LONGEST_S = 3600.0


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds to wait, at most an hour; None if the header is missing or says nothing usable.

    `now_s` is the time since the epoch: the header may name a date.
    """
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        wait_s = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        wait_s = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_s
    return min(max(wait_s, 0.0), _LONGEST_S) if math.isfinite(wait_s) else None
