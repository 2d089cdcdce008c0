"""A run that works now: progress, time left, its loss as a line and its newest images."""

from __future__ import annotations

import streamlit as st

from core.words import count
from lab.frame.state import page_file
from lab.services.runs import RunView, loss_sample, newest_preview
from lab.widgets.palette import palette
from lab.widgets.pictures import show_pictures
from lab.widgets.run_card import headline, progress
from lab.widgets.spark import spark
from lab.words import escaped, significant

LOSS_SIZE = (480, 88)  # pixels


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
        losses = loss_sample(view.run)
        with loss:
            st.caption(f"Training loss {significant(losses[-1])}" if losses else "No step logged yet")
            line = spark(losses, palette(st.context.theme.type).training.line, LOSS_SIZE)
            st.html(f'<div class="lab-live-loss">{line}</div>')
        with images:
            preview = newest_preview(view.run)
            if preview is not None:
                st.caption(f"Samples at step {count(preview.step)}")
                show_pictures(preview.images[:10], columns=5, width=320)
            else:
                st.caption("No samples yet")
