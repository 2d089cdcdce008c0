"""The window that starts an evaluation from a run's page."""

from __future__ import annotations

import streamlit as st

from lab.evaluate.start_form import start_form
from lab.frame.live_fragment import window
from lab.runs.run_window import close_window, open_tab, open_window
from lab.services import runs
from lab.services.runs import RunView


def evaluate_button(view: RunView, *, label: str = "Evaluate", key: str) -> None:
    """Opens the window, for a run that has a checkpoint to evaluate. key: once per place on the page."""
    if st.button(label, icon=":material/grading:", key=f"{key}-{view.id}"):
        open_window("evaluate", view.id)


def evaluation_window(run_id: str) -> None:
    """The form, in a window."""
    window("Evaluate", _form, width="medium", on_dismiss=close_window)(run_id)


def _form(run_id: str) -> None:
    if start_form(runs.view_of(run_id), on_cancel=_cancel):
        close_window()
        open_tab("Evaluation")
        st.rerun()


def _cancel() -> None:
    close_window()
    st.rerun()
