"""One line on a model folder: what it is and how good it was when it was measured, from its card."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from core.model_folders.sources import ModelSource
from core.words import count
from lab.frame.state import page_file
from lab.services.models import source_of
from lab.words import escaped

FIGURES = (
    "num_samples",
    "class_accuracy",
    "class_accuracy_low",
    "class_accuracy_high",
    "judge_accuracy",
    "fd_judge",
    "fd_floor",
    "precision",
    "recall",
)


def model_line(source: ModelSource, *, trained_here: bool) -> None:
    """Nothing for a run, whose page tells more. In a lab without runs the way to train one stands beside it."""
    card = source_of(source.id).card
    if card is None:
        return
    data = escaped(card.data_title or card.data_set or "an unrecorded dataset", 80)
    made = "The demo model, trained with this lab" if source.origin == "demo" else "An imported model"
    licence = f" License: {escaped(card.licence, 60)}." if card.licence else ""
    words, more = _figures(card.report)
    st.caption(f"{made} on {data}.{licence} {words}", help=more)
    if not trained_here:
        st.page_link(page_file("train"), label="Train a model of your own", icon=":material/model_training:")


def _figures(report: dict[str, Any] | None) -> tuple[str, str | None]:
    """The card's measured figures and the rest behind '?'; a report without them as numbers is no report."""
    values = {name: (report or {}).get(name) for name in FIGURES}
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values.values()):
        return "Its card has no evaluation.", None
    return (
        f"On {count(values['num_samples'])} images: **{values['class_accuracy']:.2%} in the right class** "
        f"(real images {values['judge_accuracy']:.2%}), FD-judge {values['fd_judge']:.3f} (real images "
        f"{values['fd_floor']:.3f}).",
        f"95 % interval of the accuracy: {values['class_accuracy_low']:.2%} to {values['class_accuracy_high']:.2%}. "
        f"Precision {values['precision']:.2f}, recall {values['recall']:.2f}.",
    )
