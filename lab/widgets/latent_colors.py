"""Signed values as colours: blue below zero, red above, the page's own ground at zero, the same reach both ways."""

from __future__ import annotations

import numpy as np

# Blue and red that every kind of colour vision tells apart; the middle is the ground of a light or a dark page
LIGHT = ("#0B3C7D", "#5B9BD5", "#F7F7F7", "#E2725B", "#7F1019")
DARK = ("#9CC9FF", "#2F6FC4", "#12161D", "#C4502F", "#FFB199")


def diverging(values: np.ndarray, *, limit: float, theme: str | None = None) -> np.ndarray:
    """values (…) float → RGB (…, 3) uint8: -limit, 0 and +limit are the scale's ends and its middle, beyond is clipped.

    theme: 'dark', else light. What is not finite is grey.
    """
    stops = _rgb(theme)
    places = np.linspace(-1.0, 1.0, len(stops))
    share = np.clip(np.asarray(values, dtype=np.float64) / max(limit, 1e-12), -1.0, 1.0)
    finite = np.isfinite(share)
    share = np.where(finite, share, 0.0)
    channels = [np.interp(share, places, stops[:, channel]) for channel in range(3)]
    colors = np.stack(channels, axis=-1)
    colors[~finite] = 128.0
    return colors.round().astype(np.uint8)


def colorscale(theme: str | None = None) -> list[tuple[float, str]]:
    """The same colours for a Plotly heat map whose range is symmetric around zero."""
    stops = DARK if theme == "dark" else LIGHT
    return [(place / (len(stops) - 1), color) for place, color in enumerate(stops)]


def symmetric_limit(values: np.ndarray, *, quantile: float = 0.995) -> float:
    """The reach of a scale for these values: all but the largest half percent of |value| lie within it; never 0."""
    finite = np.abs(values[np.isfinite(values)])
    return max(float(np.quantile(finite, quantile)), 1e-6) if finite.size else 1.0


def bar(*, theme: str | None = None, width: int = 256, height: int = 10) -> np.ndarray:
    """The scale itself as a picture (height, width, 3) uint8, from -limit to +limit."""
    row = diverging(np.linspace(-1.0, 1.0, width), limit=1.0, theme=theme)
    return np.broadcast_to(row, (height, width, 3)).copy()


def _rgb(theme: str | None) -> np.ndarray:
    stops = DARK if theme == "dark" else LIGHT
    return np.array([[int(color[place : place + 2], 16) for place in (1, 3, 5)] for color in stops], dtype=np.float64)
