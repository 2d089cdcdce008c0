"""What all charts share: a title at the left, a narrow frame, words at a place, a dotted line with its name."""

from __future__ import annotations

import html
from typing import Any

import plotly.graph_objects as go

from lab.widgets.palette import Ink

LEGEND_ABOVE = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"}


def as_text(text: str) -> str:
    """Text that Plotly takes for text: it reads a little HTML."""
    return html.escape(text, quote=False)


def frame(title: str, *, height: int, x: str = "", y: str = "", top: int = 36, **more: Any) -> dict[str, Any]:
    """A layout. height and top (the margin above) in pixels; x, y: titles of the axes; more: further keys of Plotly's
    layout, where `xaxis` and `yaxis` add to the titles."""
    for axis, words in (("xaxis", x), ("yaxis", y)):
        if words:
            more[axis] = {"title": {"text": as_text(words)}, **more.get(axis, {})}
    heading = {"text": as_text(title), "font": {"size": 14}, "x": 0, "xanchor": "left"}
    return {"title": heading, "height": height, "margin": {"l": 8, "r": 8, "t": top, "b": 8}, **more}


def note(text: str, x: Any, y: Any, color: str | None = None, *, size: int = 12, **more: Any) -> dict[str, Any]:
    """Words at a place, without an arrow; more: further keys of Plotly's annotation."""
    font = {"size": size} if color is None else {"color": color, "size": size}
    return {"x": x, "y": y, "text": as_text(text), "showarrow": False, "font": font, **more}


def guide(figure: go.Figure, x: float, text: str, ink: Ink) -> None:
    """A dotted line from bottom to top, and its name above it."""
    figure.add_vline(x=x, line={"color": ink.text, "width": 1.5, "dash": "dot"})
    figure.add_annotation(note(text, x, 1.0, ink.text, yref="paper", yanchor="bottom"))
