"""Quality against cost: FD-judge of each run over how long it trained or how many images it saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import plotly.graph_objects as go
import streamlit as st

from core.comparison.compared_sides import Side, measured_by
from core.evaluation.report import Report
from core.runs.run import Run
from lab.widgets.chart import as_text, frame, show_chart
from lab.widgets.choice import choose
from lab.widgets.palette import categories

HEIGHT = 380


def _images_seen(run: Run) -> float:
    return float(run.status().step * run.train_settings.batch_size)


COSTS: Mapping[str, tuple[str, Callable[[Run], float]]] = {
    "training time": ("hours in training", lambda run: run.status().elapsed_s / 3600.0),
    "images seen": ("training images seen", _images_seen),
}


def quality_and_cost(sides: Sequence[Side], names: Sequence[str]) -> None:
    """A point per training with its interval; left and low is good. Nothing where none was evaluated."""
    st.subheader("Quality against cost")
    points = [(place, run, report) for place, side in enumerate(sides) for run, report in measured_by(side)]
    if not points:
        st.caption("None of these was evaluated. *Evaluate* on a run's page measures it.")
        return
    title, cost = COSTS[choose("Cost", list(COSTS), key="compare-cost", label_shown=False)]
    show_chart(cost_figure(points, names, title, cost, theme=st.context.theme.type), key="compare-cost-chart")
    st.caption("One point per training, with the 95 % interval of its images. Lower and further left is better.")


def cost_figure(
    points: Sequence[tuple[int, Run, Report]],
    names: Sequence[str],
    title: str,
    cost: Callable[[Run], float],
    *,
    theme: str | None,
) -> go.Figure:
    """points: (place of the side among `names`, a run, its report)."""
    colors = categories(theme)
    data = []
    for place, name in enumerate(names):
        own = [(run, report) for at, run, report in points if at == place]
        if not own:
            continue
        fds = [report.fd_judge for _, report in own]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": as_text(name),
                "x": [cost(run) for run, _ in own],
                "y": fds,
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [(report.fd_high or fd) - fd for (_, report), fd in zip(own, fds, strict=True)],
                    "arrayminus": [fd - (report.fd_low or fd) for (_, report), fd in zip(own, fds, strict=True)],
                    "thickness": 1,
                },
                "marker": {
                    "color": colors[place % len(colors)],
                    "size": 10,
                    "symbol": "circle" if place < len(colors) else "diamond",
                },
                "customdata": [[report.class_accuracy] for _, report in own],
                "hovertemplate": f"{as_text(name)}: FD-judge %{{y:.3g}}, accuracy %{{customdata[0]:.1%}}, "
                f"%{{x:.3g}} {title}<extra></extra>",
            }
        )
    layout = frame("FD-judge, lower is better", height=HEIGHT, x=title, y="FD-judge", yaxis={"rangemode": "tozero"})
    layout["xaxis"]["rangemode"] = "tozero"
    layout["showlegend"] = True
    return go.Figure(data=data, layout=layout)
