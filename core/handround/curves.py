"""Curves as SVG, drawn once: a report needs no script for them, and weighs kilobytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from core.runs.metrics import bucket_min_max

POINTS = 300
WIDTH, HEIGHT = 560, 250
LEFT, RIGHT, TOP, BOTTOM = 64, 10, 12, 38
COLORS = 6  # --c0 to --c5 in the style sheet; later lines are dashed
DECADES = 1.5  # from so many powers of ten on, the axis is logarithmic
MOST_DECADES = 30
TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Line:
    """x, y (L,): finite or NaN. place: of its colour."""

    name: str
    x: np.ndarray
    y: np.ndarray
    place: int


def chart(title: str, lines: Sequence[Line], *, across: str = "step") -> str:
    """A figure of these lines over one axis; '' where none of them has a point."""
    shown = [(line, *_points(line)) for line in lines]
    shown = [(line, x, y) for line, x, y in shown if len(x)]
    if not shown:
        return ""
    ys = np.concatenate([y for _, _, y in shown])
    xs = np.concatenate([x for _, x, _ in shown])
    is_log = bool((ys > 0).all() and math.log10(ys.max() / ys.min()) > DECADES)
    if is_log:
        ys = np.maximum(np.log10(ys), math.log10(ys.max()) - MOST_DECADES)
    low, high = _range(ys)
    start, end = float(xs.min()), float(xs.max())
    end = end if end > start else start + 1
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def across_of(value: float) -> float:
        return LEFT + (value - start) / (end - start) * (right - LEFT)

    def up_of(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - TOP)

    parts = []
    for value in _ticks(low, high):
        words = _number(10**value if is_log else value)
        at = f"{up_of(value):.1f}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{up_of(value) + 4:.1f}" text-anchor="end">{words}</text>')
    for value in _ticks(start, end):
        parts.append(f'<text x="{across_of(value):.1f}" y="{bottom + 17}" text-anchor="middle">{_number(value)}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 4}" text-anchor="middle">{escape(across)}</text>')
    for line, x, y in shown:
        placed = np.log10(np.maximum(y, 10**low)) if is_log else y
        points = " ".join(f"{across_of(a):.1f},{up_of(b):.1f}" for a, b in zip(x, placed, strict=True))
        dash = "" if line.place < COLORS else f' stroke-dasharray="{2 + 3 * (line.place // COLORS)} 3"'
        color = f"var(--c{line.place % COLORS})"
        inside = f"<title>{escape(line.name)}</title>"
        if len(x) == 1:
            parts.append(f'<circle cx="{points.split(",")[0]}" cy="{points.split(",")[1]}" r="3" fill="{color}"/>')
        else:
            parts.append(f'<polyline points="{points}" fill="none" stroke="{color}"{dash}>{inside}</polyline>')
    scale = ", logarithmic" if is_log else ""
    ends = "; ".join(
        f"{line.name}: {_number(float(y[-1]))} at {across} {_number(float(x[-1]))}" for line, x, y in shown
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}<small>{scale.removeprefix(", ")}</small></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title}. {ends}", quote=True)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def legend(names: Sequence[str]) -> str:
    """Which colour is whose, for several lines."""
    items = []
    for place, name in enumerate(names):
        dash = "" if place < COLORS else f' stroke-dasharray="{2 + 3 * (place // COLORS)} 3"'
        key = f'<svg width="26" height="8"><line x2="26" y1="4" y2="4" stroke="var(--c{place % COLORS})"{dash}/></svg>'
        items.append(f"<li>{key}{escape(name)}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


def _points(line: Line) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(line.x) & np.isfinite(line.y)
    return bucket_min_max(line.x[known], line.y[known], POINTS)


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / TICKS
    ten = 10.0 ** math.floor(math.log10(rough))
    step = next((each * ten for each in (1, 2, 5, 10) if each * ten >= rough * 0.999), 10 * ten)
    first = math.ceil(low / step)
    return [number * step for number in range(first, first + 3 * TICKS) if number * step <= high]


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.3g}"
