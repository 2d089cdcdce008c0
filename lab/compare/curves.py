"""The curves of what is compared in one chart: metric, smoothing, scale and axis are chosen above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from core.comparison.compared_sides import Side
from core.errors import LabError
from core.words import count
from lab.compare.curves_chart import overlay_figure
from lab.frame.live_fragment import live_part
from lab.frame.problems import problems_shown
from lab.frame.state import page_file
from lab.runs.run_records import METRIC_NAMES
from lab.services import runs
from lab.services.runs import RunView
from lab.widgets.curve_controls import axes_of, curve_controls, zoomable_chart
from lab.widgets.curves import Curve, spans_decades
from lab.widgets.palette import Ink, categories, palette
from lab.words import escaped, plain, significant, state_badge

TICK_S = 3.0
MOST_LINES = 12  # of all groups together
_FIRST = ("loss", "val_loss")
_AXES = ("step", "images_seen", "elapsed_s")
Columns = Mapping[str, np.ndarray]


def curves(sides: Sequence[Side], names: Sequence[str], differ: Sequence[tuple[str, tuple[str, ...]]]) -> None:
    """A color per side, of a group its newest runs; alive while one of them is. differ: the settings that do."""
    each = max(1, MOST_LINES // len(sides))
    chosen = [[run.id for run in side.runs[:each]] for side in sides]
    live = any(view.is_active for view in _views([run_id for ids in chosen for run_id in ids]))
    val_loss_differs = any("timestep_" in name for name, _ in differ)
    live_part(every_s=TICK_S if live else None)(_drawn)(chosen, list(names), live, val_loss_differs)


def _views(run_ids: Sequence[str]) -> list[RunView]:
    found = []
    for run_id in run_ids:
        try:
            found.append(runs.view_of(run_id))
        except LabError:  # it was deleted a moment ago: the page names it when it is drawn again
            continue
    return found


def _drawn(chosen: list[list[str]], names: list[str], was_live: bool, val_loss_differs: bool) -> None:
    with problems_shown():
        sides = [_views(ids) for ids in chosen]
        views = [view for side in sides for view in side]
        if was_live and not any(view.is_active for view in views):
            st.rerun()
        columns = {view.id: runs.curves(view.run) for view in views}
        known = [found for found in columns.values() if "step" in found]
        metrics = metrics_of(known)
        if not metrics:
            st.subheader("Curves")
            st.caption("The curves appear with the first logged steps.")
            return
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            metric = st.selectbox("Metric", metrics, format_func=metric_name, key="overlay-metric", width=220)
            values = np.concatenate([found[metric] for found in known if metric in found])
            key = "-".join(view.id for view in views)
            look = curve_controls(key, log_y=spans_decades(values), axes=axes_of(*known))
        words = palette(st.context.theme.type).event.text
        lines = [
            Curve(
                name=name if first else "",
                ink=Ink(line=_color(place), text=words),
                x=look.positions(columns[view.id]),
                y=columns[view.id][metric],
                smooth=True,
                faint=not first,
                dashed=place >= len(categories(st.context.theme.type)),
            )
            for place, (name, side) in enumerate(zip(names, sides, strict=True))
            for first, view in _with_first(side, columns, metric)
        ]
        figure = overlay_figure(
            lines,
            title=metric_name(metric)[:1].upper() + metric_name(metric)[1:],
            x_total=max((float(np.nanmax(line.x, initial=0.0)) for line in lines), default=0.0),
            x_range=look.zoom,
            log_y=look.log_y,
            axis=look.axis,
            smoothing=look.smoothing,
        )
        zoomable_chart(figure, look, "overlay")
        if metric == "val_loss" and val_loss_differs:
            st.caption("These validation losses do not compare: the runs sample timesteps differently.")
        elif metric == "val_loss" and len({view.run.rules.split for view in views}) > 1:
            st.caption("These validation losses do not compare: the runs validate on different images.")
        for place, (name, side) in enumerate(zip(names, sides, strict=True)):
            for number, view in enumerate(side):
                _line(view, name if number == 0 else view.title, columns[view.id], metric, _color(place))


def _with_first(side: Sequence[RunView], columns: Mapping[str, Columns], metric: str) -> list[tuple[bool, RunView]]:
    """The runs of a side that have the metric; True for the first, which carries the name."""
    having = [view for view in side if metric in columns[view.id]]
    return [(number == 0, view) for number, view in enumerate(having)]


def _color(place: int) -> str:
    colors = categories(st.context.theme.type)
    return colors[place % len(colors)]


def metrics_of(columns: Sequence[Columns]) -> list[str]:
    """What some run has a number for, the losses first; the axes are none of them."""
    names = {key for found in columns for key, values in found.items() if np.isfinite(values).any()} - set(_AXES)
    return sorted(names, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), metric_name(name)))


def metric_name(metric: str) -> str:
    """A metric in words."""
    return METRIC_NAMES.get(metric, plain(metric, 40))


def _line(view: RunView, name: str, columns: Columns, metric: str, color: str) -> None:
    """A run's color, a link to it, its state, the newest and the lowest value."""
    words, state, facts = st.columns([4, 1.6, 6], vertical_alignment="center")
    with words.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.html(f'<span style="color:{color}" aria-hidden="true">●</span>', width="content")
        label = f"**{escaped(name, 60)}**"
        st.page_link(page_file("runs"), label=label, query_params={"run": view.id}, width="content")
    state.markdown(state_badge(view.state))
    facts.caption(escaped(_facts(view, columns, metric), 200))


def _facts(view: RunView, columns: Columns, metric: str) -> str:
    parts = [f"step {count(view.status.step)} of {count(view.status.steps_total)}"]
    values = columns.get(metric, np.zeros(0))
    known = np.flatnonzero(np.isfinite(values))
    if len(known):
        lowest = known[values[known].argmin()]
        parts.append(f"newest {significant(float(values[known[-1]]))}")
        parts.append(f"lowest {significant(float(values[lowest]))} at step {count(columns['step'][lowest])}")
    else:
        parts.append(f"no {metric_name(metric)}")
    return " · ".join(parts)
