"""Words on the screen: one escaper for what people typed; states and instants as people read them."""

from __future__ import annotations

import math
import re
from datetime import UTC

from core.errors import LabError
from core.values import instant

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
    "collapsed": "red",
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
    "collapsed": "compress",
    "failed": "error",
    "stopped": "stop",
    "interrupted": "power_off",
}

SETTING_NAMES = {  # what sampling settings are called on the screens
    "sampler": "Sampler",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "guidance_rescale": "Guidance rescale",
    "seed": "Seed",
    "label": "Class",
    "step": "Checkpoint",
    "weights": "Weights",
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
    return escaped(capitalized(str(error)), 600)


def capitalized(text: str) -> str:
    """With a capital letter, unless it begins with a name such as that of a setting."""
    begins_with_a_word = text.split(maxsplit=1)[:1] and text.split(maxsplit=1)[0].isalpha()
    return text[:1].upper() + text[1:] if begins_with_a_word else text


def state_badge(state: str) -> str:
    """A state as a Markdown badge: icon, word and colour."""
    icon, color = STATE_ICONS.get(state, "help"), STATE_COLORS.get(state, "gray")
    return f":{color}-badge[:material/{icon}: {state}]"


def exactly(iso: str) -> str:
    """'2026-11-23 21:32:32 UTC' for an ISO 8601 instant; '' when it is none."""
    found = instant(iso)
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if found else ""


def significant(value: float | None) -> str:
    """Four significant digits; '–' when unknown."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}"
