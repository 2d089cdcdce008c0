"""Start again from a checkpoint: the form for a child run, with a name and changed settings."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.config.load import get_value
from core.config.schema import field_rows
from core.runs.branch import branch_in_words, steps_of_branch
from core.runs.kinds import KINDS
from core.runs.store import MAX_NAME_LENGTH
from core.words import count
from lab.frame.live_fragment import window
from lab.frame.problems import problems_shown
from lab.frame.state import go_to, who
from lab.runs.run_window import close_window
from lab.services import run_actions, runs
from lab.services.runs import RunView
from lab.widgets.config_form import changed_settings, setting_widget
from lab.words import escaped

FIXED = frozenset({"seed", "data", "vae", "unet", "evaluation"})  # what it learned so far depends on these
BRANCHED = "run-branched"
FREQUENT = ("steps", "learning_rate", "lr_schedule")


def branch_window(run_id: str, step: int) -> None:
    """The form, in a window."""
    window(f"Branch from step {count(step)}", _form, width="large", on_dismiss=close_window)(run_id, step)


def _form(run_id: str, step: int) -> None:
    with problems_shown():
        view = runs.view_of(run_id)
        base, kind = view.run.settings, view.run.kind
        others = {other.section for other in KINDS.values()} - {kind.section}
        st.markdown(
            f"Starts a new run of yours from step {count(step)} of **{escaped(view.title)}**, which stays as it is. "
            "Dataset and networks stay the same; you can change how it trains."
        )
        key = f"branch-{run_id}-{step}"
        name = st.text_input(
            "Name",
            f"{view.title}, from step {count(step)}"[:MAX_NAME_LENGTH],
            max_chars=MAX_NAME_LENGTH,
            key=f"{key}/name",
        )
        changes: dict[str, Any] = {}
        rows = dict(field_rows())
        names = [f"{kind.section}.{setting}" for setting in FREQUENT]
        for cell, setting in zip(st.columns(len(names)), names, strict=True):
            before = get_value(base, setting)
            proposed = steps_of_branch(before, step) if setting == f"{kind.section}.steps" else before
            with cell:
                value = setting_widget(setting, rows[setting], proposed, key=f"{key}/{setting}")
            if value != before or setting == names[0]:
                changes[setting] = value
        hidden = FIXED | others | (set() if kind.generates else {"diffusion", "sampling"})
        changes |= changed_settings(base, key=key, hidden=hidden, skip=names)
        with st.container(horizontal=True, horizontal_alignment="right"):
            if st.button("Cancel", key=f"{key}/no"):
                close_window()
                st.rerun()
            agreed = st.button("Start the branch", type="primary", icon=":material/call_split:", key=f"{key}/yes")
        if agreed:
            with st.spinner("Copying the checkpoint", show_time=True):
                made = run_actions.branch(run_id, step, by=who(), name=name or "", overrides=changes)
            close_window()
            st.session_state[BRANCHED] = made
            go_to("runs", made)


def branched_line(view: RunView) -> None:
    """On the page of a branch that was just started: what it does, and where it came from."""
    if st.session_state.get(BRANCHED) != view.id:
        return
    st.success(branch_in_words(view.run), icon=":material/call_split:")
