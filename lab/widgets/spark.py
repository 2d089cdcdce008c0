"""A small curve without axes, as an SVG image: the browser draws no chart for it, and st.html removes inline SVG."""

from __future__ import annotations

import base64
from collections.abc import Sequence

SPARK = (120, 26)  # width and height in pixels
MOST_POINTS = 40


def spark(values: Sequence[float], ink: str, size: tuple[int, int] = SPARK) -> str:
    """A small curve of finite values, thinned to 40 points, as an image; '' for fewer than two. ink: a color. size: in pixels."""
    if len(values) < 2:
        return ""
    last, points_shown = len(values) - 1, min(len(values), MOST_POINTS)
    values = [float(values[round(last * place / (points_shown - 1))]) for place in range(points_shown)]
    width, height = size
    low, high = min(values), max(values)
    across, up = width / (len(values) - 1), (height - 4) / ((high - low) or 1.0)
    points = " ".join(f"{at * across:.1f},{height - 2 - (value - low) * up:.1f}" for at, value in enumerate(values))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.5"/></svg>'
    )
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="" width="{width}" height="{height}" src="data:image/svg+xml;base64,{data}">'
