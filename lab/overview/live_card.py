"""A run that works now: progress, time left, its loss as a line and its newest images."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.words import count
from lab.frame.state import page_file
from lab.services.runs import RunView, curves, newest_preview
from lab.widgets.pictures import show_pictures
from lab.widgets.run_card import headline, progress
from lab.words import escaped, significant

WIDTH, HEIGHT, MOST_POINTS = 480.0, 88.0, 240


def live_card(view: RunView) -> None:
    """Everything about it at a glance; the title is a link to the run."""
    with st.container(key=f"lab-live-{view.id}", gap="small"):
        facts, loss, images = st.columns([4, 3, 3], gap="medium")
        with facts:
            label = f"**{escaped(view.title)}**"
            st.page_link(page_file("runs"), label=label, query_params={"run": view.id})
            headline(view)
            progress(view)
        if view.state == "queued" or not view.run.kind.trains:
            return
        columns = curves(view.run)
        values = columns.get("loss", np.empty(0))
        values = values[np.isfinite(values)]
        with loss:
            st.caption(f"Training loss {significant(float(values[-1]))}" if len(values) else "No step logged yet")
            st.html(sparkline(values))
        with images:
            preview = newest_preview(view.run)
            if preview is not None:
                st.caption(f"Samples at step {count(preview.step)}")
                show_pictures(preview.images[:10], columns=5, width=320)
            else:
                st.caption("No samples yet")


def sparkline(values: np.ndarray) -> str:
    """values (n,) finite → a line as SVG, on a log scale where all are positive; an empty box below two values."""
    head = (
        f'<svg class="lab-sparkline" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" aria-hidden="true">'
    )
    if len(values) < 2:
        return f"{head}</svg>"
    if len(values) > MOST_POINTS:
        values = np.array([part.mean() for part in np.array_split(values, MOST_POINTS)])
    heights = np.log(values) if (values > 0).all() else values
    span = float(np.ptp(heights)) or 1.0
    down = 2 + (HEIGHT - 4) * (1 - (heights - heights.min()) / span)
    across = np.linspace(0, WIDTH, len(values))
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
    return f'{head}<polyline points="{points}" vector-effect="non-scaling-stroke"/></svg>'
