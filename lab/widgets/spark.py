"""A small curve without axes, as an SVG image: the browser draws no chart for it, and st.html removes inline SVG."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np

from core.runs.metrics import bucket_mean

SPARK = (120, 26)  # width and height in pixels
MOST_POINTS = 60


def spark(values: Sequence[float] | np.ndarray, ink: str, size: tuple[int, int] = SPARK) -> str:
    """A small curve of finite values as an image, averaged to 60 points; '' for fewer than two. ink: its color.

    size: width and height in pixels.
    """
    points = spark_points(values, size)
    if not points:
        return ""
    width, height = size
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.5"/></svg>'
    )
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="" width="{width}" height="{height}" src="data:image/svg+xml;base64,{data}">'


def spark_points(values: Sequence[float] | np.ndarray, size: tuple[int, int] = SPARK) -> str:
    """The same curve as the points of an SVG polyline, x to the right and y down in pixels; '' for fewer than two."""
    if len(values) < 2:
        return ""
    y = bucket_mean(np.arange(len(values), dtype=float), np.asarray(values, dtype=float), MOST_POINTS)[1].tolist()
    width, height = size
    low, high = min(y), max(y)
    across, up = width / (len(y) - 1), (height - 4) / ((high - low) or 1.0)
    return " ".join(f"{at * across:.1f},{height - 2 - (value - low) * up:.1f}" for at, value in enumerate(y))
