"""How a size, a duration, an age and a count are worded, in the terminal and on the screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from core.values import age_s


def ago(iso: str, now: datetime | None = None) -> str:
    """'2 min ago' for an ISO 8601 instant; '' when it is none."""
    seconds = age_s(iso, now)
    if seconds is None:
        return ""
    if seconds < 10:
        return "just now"
    if seconds >= 86_400:
        return f"{seconds / 86_400:.0f} d ago"
    return f"{duration(seconds)} ago"


def duration(seconds: float | None) -> str:
    """'45 s', '12 min', '3 h 20 min', '2 d 4 h'; '–' when unknown."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def count(value: float | None) -> str:
    """12,400; '–' when unknown."""
    return "–" if value is None or not math.isfinite(value) else f"{value:,.0f}"


def counted(number: int, thing: str) -> str:
    """'1 image', '12,400 images'."""
    return f"{count(number)} {thing}{'' if number == 1 else 's'}"


def size(num_bytes: float) -> str:
    """'2.5 MB'."""
    value = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def used_of(used: int, total: int) -> str:
    """'1.0 GB of 2.0 GB', of memory in bytes; 'unknown' where nobody tells how much there is."""
    return f"{size(used)} of {size(total)}" if total else "unknown"


def guidance_in_words(scale: float, rescale: float | None = None, interval: Sequence[Any] | None = None) -> str:
    """'guidance 2.1 at noise levels 0.25 to 0.8, rescale 0.7', without what does nothing; 'no guidance' for scale 1."""
    if scale == 1.0:
        return "no guidance"
    low, high, *unit = interval or (0.0, 1.0)
    levels = "σ" if unit else "noise levels"
    where = "" if (low, high, *unit) == (0.0, 1.0) else f" at {levels} {low:g} to {high:g}"
    return f"guidance {scale:g}{where}" + (f", rescale {rescale:g}" if rescale else "")
