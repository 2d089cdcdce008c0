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
    st.caption(f"{made} on {data}.{licence} {_figures(card.report)}")
    if not trained_here:
        st.page_link(page_file("train"), label="Train a model of your own", icon=":material/model_training:")


def _figures(report: dict[str, Any] | None) -> str:
    """The card's measured figures; a report that does not have them as numbers is no report."""
    values = {name: (report or {}).get(name) for name in FIGURES}
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values.values()):
        return "Its card has no evaluation."
    return (
        f"Evaluated on {count(values['num_samples'])} images: **{values['class_accuracy']:.2%} in the right class** "
        f"(95 % interval {values['class_accuracy_low']:.2%} to {values['class_accuracy_high']:.2%}, judge right on "
        f"{values['judge_accuracy']:.2%} of real images), FD-judge {values['fd_judge']:.3f} (real images "
        f"{values['fd_floor']:.3f}), precision {values['precision']:.2f}, recall {values['recall']:.2f}."
    )
