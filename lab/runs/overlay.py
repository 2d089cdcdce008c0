"""Several runs in one chart: the metric, smoothing, scale and axis are chosen above, the runs are listed below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from core.errors import LabError
from core.words import count
from lab.frame.live_fragment import live_part
from lab.frame.problems import problems_shown
from lab.frame.state import page_file
from lab.runs.overlay_chart import overlay_figure
from lab.runs.run_columns import settings_that_differ
from lab.runs.run_records import METRIC_NAMES
from lab.services import runs
from lab.services.runs import RunView
from lab.widgets.curve_controls import axes_of, curve_controls, zoomable_chart
from lab.widgets.curves import Curve, spans_decades
from lab.widgets.palette import Ink, categories, palette
from lab.widgets.pictures import show_pictures
from lab.words import escaped, plain, sentence, significant, state_badge

MOST_RUNS = 6
TICK_S = 3.0
_FIRST = ("loss", "val_loss")
_AXES = ("step", "images_seen", "elapsed_s")
Columns = Mapping[str, np.ndarray]


def overlay(run_ids: list[str]) -> None:
    """The curves of up to six runs; alive while one of them is. A run that is not there is named, the others drawn."""
    views, missing = [], []
    for run_id in list(dict.fromkeys(run_ids))[:MOST_RUNS]:
        try:
            views.append(runs.view_of(run_id))
        except LabError as error:
            missing.append(sentence(error))
    for words in missing:
        st.warning(words, icon=":material/search_off:")
    if views:
        live = any(view.is_active for view in views)
        live_part(every_s=TICK_S if live else None)(_drawn)([view.id for view in views], live)
        _settings(views)
        _samples(views)


def _drawn(run_ids: list[str], was_live: bool) -> None:
    with problems_shown():
        views = [runs.view_of(run_id) for run_id in run_ids]
        if was_live and not any(view.is_active for view in views):
            st.rerun()
        columns = [runs.curves(view.run) for view in views]
        known = [found for found in columns if "step" in found]
        metrics = metrics_of(known)
        if not metrics:
            st.caption("The curves appear with the first logged steps.")
            return
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            metric = st.selectbox("Metric", metrics, format_func=metric_name, key="overlay-metric", width=220)
            values = np.concatenate([found[metric] for found in known if metric in found])
            look = curve_controls("-".join(run_ids), log_y=spans_decades(values), axes=axes_of(*known))
        colors = categories(st.context.theme.type)
        words = palette(st.context.theme.type).event.text
        curves = [
            Curve(
                name=name,
                ink=Ink(line=color, text=words),
                x=look.positions(found),
                y=found[metric],
                smooth=True,
            )
            for name, found, color in zip(_names(views), columns, colors, strict=False)
            if metric in found
        ]
        x_total = max((float(np.nanmax(curve.x, initial=0.0)) for curve in curves), default=0.0)
        figure = overlay_figure(
            curves,
            title=metric_name(metric)[:1].upper() + metric_name(metric)[1:],
            x_total=x_total,
            x_range=look.zoom,
            log_y=look.log_y,
            axis=look.axis,
            smoothing=look.smoothing,
        )
        zoomable_chart(figure, look, "overlay")
        if metric == "val_loss" and any("timestep_" in name for name, _ in settings_that_differ(views)):
            st.caption("These validation losses do not compare: the runs sample timesteps differently.")
        elif metric == "val_loss" and len({view.run.rules.split for view in views}) > 1:
            st.caption("These validation losses do not compare: the runs validate on different images.")
        _list(views, columns, metric, colors)


def _settings(views: Sequence[RunView]) -> None:
    """The settings that differ, a column per run."""
    st.subheader("Settings that differ")
    rows = settings_that_differ(list(views))
    if not rows:
        st.caption("These runs have the same settings." if len(views) > 1 else "One run alone differs from nothing.")
        return
    names = [f"{name} ({view.id[-4:]})" for name, view in zip(_names(views), views, strict=True)]
    table = pd.DataFrame([values for _, values in rows], columns=names)
    table.insert(0, "setting", [name for name, _ in rows])
    st.dataframe(table, hide_index=True, height="content")


def _samples(views: Sequence[RunView]) -> None:
    """The newest preview of each run, side by side."""
    st.subheader("Newest samples")
    for column, view, name in zip(st.columns(len(views)), views, _names(views), strict=True):
        with column:
            st.caption(escaped(name, 80))
            preview = runs.newest_preview(view.run)
            if preview is None:
                st.caption("None yet.")
                continue
            show_pictures(preview.images[:16], columns=4, width=180)
            st.caption(f"step {count(preview.step)}")


def metrics_of(columns: Sequence[Columns]) -> list[str]:
    """What some run has a number for, the losses first; the axes are none of them."""
    names = {key for found in columns for key, values in found.items() if np.isfinite(values).any()} - set(_AXES)
    return sorted(names, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), metric_name(name)))


def metric_name(metric: str) -> str:
    """A metric in words."""
    return METRIC_NAMES.get(metric, plain(metric, 40))


def _list(views: Sequence[RunView], columns: Sequence[Columns], metric: str, colors: Sequence[str]) -> None:
    """One line per run: its color, a link to it, its state, the newest and the lowest value."""
    for view, name, found, color in zip(views, _names(views), columns, colors, strict=False):
        words, state, facts = st.columns([4, 1.6, 6], vertical_alignment="center")
        with words.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.html(f'<span style="color:{color}" aria-hidden="true">●</span>', width="content")
            label = f"**{escaped(name, 60)}**"
            st.page_link(page_file("runs"), label=label, query_params={"run": view.id}, width="content")
        state.markdown(state_badge(view.state))
        facts.caption(escaped(_facts(view, found, metric), 200))


def _names(views: Sequence[RunView]) -> list[str]:
    """The titles; those that more than one has are told apart by the ends of the ids."""
    titles = [plain(view.title, 60) for view in views]
    return [
        title if titles.count(title) == 1 else f"{title[:18]}, {view.id[-4:]}"
        for title, view in zip(titles, views, strict=True)
    ]


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
