"""Guidance and steps as one picture, from a comparison that exists, and what to use."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from core.comparison.comparison_results import CellResult, Comparison
from core.comparison.grid import cell_settings
from core.comparison.trade_off import LEAST_IMAGES, MOST_LOST, HalfFigures, cell_of, lines_of, suggested
from core.words import count
from lab.evaluate import trade_off_service
from lab.frame.live_fragment import live_until
from lab.frame.state import page_file, who
from lab.frame.task_progress import bar
from lab.services import runs
from lab.services.runs import RunView
from lab.widgets.chart import as_text, frame, show_chart
from lab.widgets.palette import categories
from lab.widgets.run_card import progress
from lab.words import escaped, sentence

HEIGHT = 400
TICK_S = 3.0


def show_trade_off(view: RunView) -> None:
    """The picture and the suggestion, what works on one now, or the button that starts it."""
    st.subheader("Guidance and steps")
    found = trade_off_service.newest(view.run)
    active = trade_off_service.active(view.run)
    if active is not None:
        live_until(
            lambda: not runs.view_of(active.id).is_active, lambda: progress(runs.view_of(active.id)), every_s=TICK_S
        )
    elif found is None:
        _start(view)
    if found is None:
        return
    own = cell_of(found, cell_settings(view.run.settings.sampling))
    show_chart(trade_off_figure(found, own, theme=st.context.theme.type), key="trade-off")
    st.caption(
        f"Up: more often the right class. Right: more varied. One point per guidance scale, "
        f"{count(found.request.num_samples)} images each; a ring marks this run's own settings."
    )
    _suggestion(view, found, own)
    query = {"view": "Samplers", "run": view.id, "comparison": found.id}
    st.page_link(page_file("schedulers"), label="Open this comparison", icon=":material/grid_on:", query_params=query)


def trade_off_figure(found: Comparison, own: CellResult | None, *, theme: str | None) -> go.Figure:
    """Class accuracy over recall: a line per number of steps, a point per guidance scale."""
    data = []
    for place, line in enumerate(lines_of(found)):
        color = categories(theme)[place % len(categories(theme))]
        is_own = [own is not None and each.index == own.index for each in line.points]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers+text",
                "name": as_text(line.name),
                "x": [each.recall for each in line.points],
                "y": [each.class_accuracy for each in line.points],
                "text": [f"{each.settings.guidance_scale:g}" for each in line.points],
                "textposition": "top center",
                "line": {"color": color, "width": 1.5, "dash": "solid" if place % 2 == 0 else "dot"},
                "marker": {
                    "color": color,
                    "size": [14 if each else 8 for each in is_own],
                    "symbol": ["circle-open-dot" if each else "circle" for each in is_own],
                },
                "customdata": [[each.fd_judge] for each in line.points],
                "hovertemplate": f"{as_text(line.name)}, guidance %{{text}}: accuracy %{{y:.1%}}, recall %{{x:.3f}}, "
                "FD-judge %{customdata[0]:.3g}<extra></extra>",
            }
        )
    layout = frame(
        "Accuracy against variety, by guidance and steps",
        height=HEIGHT,
        x="recall",
        y="class accuracy",
        hovermode="closest",
        yaxis={"tickformat": ".1%"},
        showlegend=True,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    return go.Figure(data=data, layout=layout)


def _suggestion(view: RunView, found: Comparison, own: CellResult | None) -> None:
    """Which cell to use, or the button that finds it out."""
    if found.request.num_samples < LEAST_IMAGES:
        st.caption(f"Too few images per cell to suggest a setting: {count(LEAST_IMAGES)} are needed.")
        return
    work = trade_off_service.halved(found)
    if work is None or work.problem is not None:
        if work is not None and work.problem is not None:
            st.error(sentence(work.problem), icon=":material/error:")
        if st.button(
            "Suggest guidance and steps",
            icon=":material/lightbulb:",
            help="Chooses on one half of the images of every cell, and states the figures of the other half.",
        ):
            trade_off_service.halve(view.run, found)
            st.rerun()
        return
    if not work.is_done:
        live_until(lambda: work.is_done, lambda: bar(work, "Measuring both halves"), every_s=1.0)
        return
    cells = trade_off_service.cells_in(work)
    best = suggested(cells)
    if best is None:
        return
    known = {each.index: each for each in cells}
    words = f"**Suggested: {escaped(found.words(found.results[best.index]), 200)}.** {_figures(best.states)}"
    if own is not None and own.index in known and own.index != best.index:
        words += f" The run's own settings: {_figures(known[own.index].states)}"
    elif own is not None and own.index == best.index:
        words += " These are the run's own settings."
    st.markdown(words)
    st.caption(
        f"Chosen by FD-judge on {count(best.chooses.count)} images per cell, among cells that lose at most "
        f"{100 * MOST_LOST:.0f} % of class accuracy; stated on {count(best.states.count)} other images."
    )


def _figures(half: HalfFigures) -> str:
    return f"FD-judge {half.fd_judge:.3g}, recall {half.recall:.3f}, accuracy {100 * half.class_accuracy:.1f} %."


def _start(view: RunView) -> None:
    """The button that queues what is missing."""
    st.caption("No comparison of guidance on this run yet: it shows what guidance costs in variety.")
    if st.button("Compare guidance and steps", icon=":material/add:", key="trade-off-start"):
        trade_off_service.start(view.run, owner=who())
        st.rerun()
