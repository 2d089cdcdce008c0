"""Charts: figures of Plotly that the browser draws into the same place again, and what all of them share."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import streamlit as st

from lab.widgets.component import component
from lab.widgets.palette import Ink

pio.templates.default = None  # the browser knows the theme; Streamlit's is for its own charts
Range = tuple[float, float]
MOST_NAMED = 8
CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"]}
_HTML = """
<div class="lab-chart" data-testid="chart" role="group" aria-roledescription="chart" tabindex="0"
  aria-description="Plus and minus zoom, left and right arrow move, 0 shows all.">
  <div class="sketch"></div>
  <div class="plot"></div>
  <p class="failed" role="alert" hidden>This chart could not be shown. Reload the page.</p>
</div>
"""
_component = component(
    __file__,
    "lab_chart",
    _HTML,
    scripts=("chart_sketch", "chart"),
    isolate_styles=False,  # Plotly writes its rules into the head of the page
)
MOST_DECADES, MOST_TICKED_DECADES = 30, 8  # of a logarithmic axis: in all, and with ticks inside of each
LARGEST_DRAWN, SMALLEST_DRAWN = 1e300, 1e-290
FEWEST_DIGITS = 1e-10  # of a value, in which what is drawn beside it may differ
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


def show_chart(
    figure: go.Figure,
    *,
    key: str,
    view: str = "",
    on_zoom: Callable[[Range | None], None] | None = None,
    with_buttons: bool = True,
    sketched: bool = False,
) -> None:
    """Draw a figure in the place of the one that was drawn under this key: only what differs is drawn anew.

    A zoom made in the browser stays while `view` is the same. on_zoom: gets the ends of the x-axis that somebody
    chose, or None for all of it, before the page is drawn again. with_buttons: the row of buttons over the chart.
    sketched: lines over an axis are drawn without Plotly's script until somebody points at them.
    """
    bound(figure)
    text = figure.to_json()
    data = {
        "id": hashlib.sha256(text.encode()).hexdigest()[:16],
        "figure": text,
        "label": spoken(figure),
        "height": figure.layout.height,
        "view": view,
        "zooms": on_zoom is not None,
        "sketch": sketched,
        "config": {**CONFIG, "displayModeBar": "hover" if with_buttons else False},
    }

    def chosen() -> None:
        asked = st.session_state[key].zoom
        if on_zoom is not None and asked:
            ends = asked["ends"]
            on_zoom((float(ends[0]), float(ends[1])) if ends else None)

    _component(data=data, key=key, height=figure.layout.height, on_zoom_change=chosen)


def bound(figure: go.Figure) -> None:
    """Give an axis ends that a browser can put ticks between, where a value of the data leaves none: Plotly writes a
    tick per power of ten and more, and counts for ever where a step is lost in the last digit of a value.

    A logarithmic axis shows MOST_DECADES powers of ten around the middle of its values. The values stay as they are.
    """
    for letter in ("x", "y"):
        on_axis: dict[str, list[np.ndarray]] = {}
        for trace in figure.data:
            values = np.asarray(trace[letter]) if letter in trace and trace[letter] is not None else np.empty(0)
            if values.dtype.kind in "fiu":
                key = f"{letter}axis{(trace[f'{letter}axis'] or letter)[1:]}"
                on_axis.setdefault(key, []).append(values[np.isfinite(values)].astype(float).ravel())
        for key, parts in on_axis.items():
            ends = _ends(np.concatenate(parts), figure.layout[key])
            if ends:
                figure.layout[key].range = ends


def _ends(values: np.ndarray, axis: Any) -> list[float] | None:
    """The ends that an axis needs, powers of ten on a logarithmic one; None where it does without."""
    if axis.type == "log":
        values = np.log10(values[values > 0])
        given = axis.range or (values.min(initial=np.inf), values.max(initial=-np.inf))
        if given[1] - given[0] <= MOST_DECADES:
            if isinstance(axis.dtick, str) and given[1] - given[0] > MOST_TICKED_DECADES:
                axis.dtick = None
            return None
        axis.dtick = None
        middle = float(np.clip(np.median(values), *given)) if len(values) else 0.0
        return [max(given[0] - 1, middle - MOST_DECADES / 2), min(given[1] + 1, middle + MOST_DECADES / 2)]
    if axis.range or not len(values):
        return None
    whole = float(values.min()), float(values.max())
    low, high = (min(max(end, -LARGEST_DRAWN), LARGEST_DRAWN) for end in whole)
    largest = max(abs(low), abs(high))
    if 0 < largest < SMALLEST_DRAWN:
        return [-SMALLEST_DRAWN, SMALLEST_DRAWN]
    if (low, high) != whole or 0 < high - low < largest * FEWEST_DIGITS:
        return [low - largest / 2, high + largest / 2]
    return None


def spoken(figure: go.Figure) -> str:
    """A chart in words for screen readers: title, axis, and the names of its lines with their last values."""
    axis = figure.layout.xaxis.title.text
    parts = [figure.layout.title.text or "", f"over {axis}" if axis else ""]
    for trace in [trace for trace in figure.data if trace.name and trace.hoverinfo != "skip"][:MOST_NAMED]:
        numbers = trace.y if trace.type == "scatter" and trace.y is not None and len(trace.y) else None
        last = numbers[-1] if numbers is not None else None
        parts.append(f"{trace.name}, last {last:.4g}" if isinstance(last, float) else trace.name)
    return html.unescape(re.sub("<[^>]*>", "", "; ".join(part for part in parts if part)))
