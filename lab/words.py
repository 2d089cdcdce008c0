"""Words on the screen: one escaper for what people typed; numbers, times and states as people read them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from core.errors import LabError

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$:<>&])")
# Streamlit turns addresses into links, `:material/x:` into icons and `->` into arrows after it has read the
# backslashes; an invisible word joiner in the middle keeps them apart
_AFTERTHOUGHTS = re.compile(r"(?<=[:@])(?=\S)|(?<=www)(?=\.)|(?<=[-<>=])(?=[-<>=])", re.IGNORECASE)
_WORD_JOINER = "\u2060"
STATE_COLORS = {
    "queued": "orange",
    "paused": "gray",
    "starting": "blue",
    "running": "blue",
    "stopping": "orange",
    "resuming": "blue",
    "finished": "green",
    "failed": "red",
    "stopped": "gray",
    "interrupted": "violet",
}
STATE_ICONS = {
    "queued": "schedule",
    "paused": "pause",
    "starting": "hourglass_top",
    "running": "play_arrow",
    "stopping": "hourglass_bottom",
    "resuming": "hourglass_top",
    "finished": "check",
    "failed": "error",
    "stopped": "stop",
    "interrupted": "power_off",
}


def escaped(text: str, limit: int = 120) -> str:
    """Text that a person typed, safe inside Markdown: no links, pictures, HTML, colours, mathematics or icons."""
    return _SPECIAL.sub(r"\\\1", _AFTERTHOUGHTS.sub(_WORD_JOINER, plain(text, limit)))


def plain(text: str, limit: int = 120) -> str:
    """Text that a person typed, on one line and not endless, for places that do not read Markdown."""
    flat = "".join(character if character.isprintable() else " " for character in text)
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def sentence(error: LabError) -> str:
    """An error as the screen says it, safe inside Markdown: it may quote what a person typed."""
    text = str(error)
    begins_with_a_word = text.split(maxsplit=1)[:1] and text.split(maxsplit=1)[0].isalpha()
    return escaped(text[:1].upper() + text[1:] if begins_with_a_word else text, 600)


def state_badge(state: str) -> str:
    """A state as a Markdown badge: icon, word and colour."""
    icon, color = STATE_ICONS.get(state, "help"), STATE_COLORS.get(state, "gray")
    return f":{color}-badge[:material/{icon}: {state}]"


def ago(iso: str, now: datetime | None = None) -> str:
    """'2 min ago' for an ISO 8601 instant; '' when it is none."""
    try:
        seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(iso)).total_seconds()
    except (ValueError, TypeError):
        return ""
    if seconds < 10:
        return "just now"
    if seconds >= 86_400:
        return f"{seconds / 86_400:.0f} d ago"
    return f"{duration(seconds)} ago"


def exactly(iso: str) -> str:
    """'2026-11-23 21:32:32 UTC' for an ISO 8601 instant; '' when it is none."""
    try:
        return f"{datetime.fromisoformat(iso).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, TypeError):
        return ""


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


def size(num_bytes: float) -> str:
    """'2.5 MB'."""
    value = float(num_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def significant(value: float | None) -> str:
    """Four significant digits; '–' when unknown."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}"
