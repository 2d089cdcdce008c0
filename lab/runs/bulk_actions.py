"""What can be done with several ticked runs at once; the bar lies over the end of the page and moves nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from core.comparison.run_comparison import FEWEST, MOST
from core.csv_text import csv_text
from core.errors import LabError
from core.runs.notes import MAX_TAG_LENGTH
from core.runs.rights import same_person
from core.words import counted
from lab.frame.confirm import confirm_for_good, confirm_if_not_mine
from lab.frame.state import page_file, who
from lab.runs.action_buttons import DELETED, Deleted
from lab.runs.run_columns import FIGURES, figure_of
from lab.services import run_actions as acting
from lab.services.runs import RunView

TICKED = "runs-ticked"
COMPARED = "compare"  # of links of earlier versions to several runs
STYLE = Path(__file__).with_name("runs_table.css")


def action_bar(views: Sequence[RunView]) -> None:
    """The bar for the ticked of these runs, on this page of the table and others; nothing where none is ticked."""
    st.html(STYLE)
    by_id = {view.id: view for view in views}
    ticked = [by_id[run_id] for run_id in st.session_state.get(TICKED, []) if run_id in by_id]
    if not ticked:
        return
    many = counted(len(ticked), "run")
    with st.container(key="runs-bar", horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{len(ticked)} ticked**", width="content")
        st.page_link(
            page_file("compare"),
            label=f"Compare {len(ticked)}",
            icon=":material/stacked_line_chart:",
            query_params={"runs": ",".join(view.id for view in ticked)},
            disabled=not FEWEST <= len(ticked) <= MOST,
            help=f"Which is better, and why: {FEWEST} to {MOST} runs",
            width="content",
        )
        with st.popover("Tag", icon=":material/label:"):
            tag = st.text_input("Tag", max_chars=MAX_TAG_LENGTH, key="bulk-tag")
            if st.button(f"Add to {many}", key="bulk-tag-yes", disabled=not (tag or "").strip()):
                wish = str(tag)
                confirm_if_not_mine(
                    _owner_to_ask(ticked), "tag", lambda: _tag(ticked, wish), what=f"{many}, one or more of"
                )
        st.download_button(
            "Export CSV",
            lambda: as_csv(ticked),
            file_name="runs.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        if st.button("Delete", icon=":material/delete:", key="bulk-delete"):
            confirm_for_good(
                _owner_to_ask(ticked),
                "delete",
                lambda: _delete(ticked),
                what=many,
                name="",
                loses=f"Moves {many} to the trash. *Undo* brings each back.",
            )
        if st.button("Untick all", type="tertiary"):
            untick()
            st.rerun(scope="fragment")


def untick() -> None:
    """Tick nothing any more."""
    st.session_state[TICKED] = []


def as_csv(views: Sequence[RunView]) -> bytes:
    """One line per run: what it is, how far it came, and its figures. duration: seconds."""
    heads = ["id", "name", "kind", "state", "data", "owner", "created_at", "loss", *FIGURES]
    lines = [
        [
            view.id,
            view.title,
            view.kind,
            view.shown_state,
            view.data_name,
            view.run.info.owner,
            view.run.info.created_at,
            *(figure_of(view, column) for column in ("loss", *FIGURES)),
        ]
        for view in views
    ]
    return csv_text(heads, lines)


def _owner_to_ask(views: Sequence[RunView]) -> str:
    """Another person among the owners, else the owner of all."""
    owners = [view.run.info.owner for view in views]
    return next((owner for owner in owners if not same_person(owner, who())), owners[0])


def _tag(views: Sequence[RunView], tag: str) -> None:
    for view in views:
        acting.add_tag(view.id, who(), tag)
    st.rerun()


def _delete(views: Sequence[RunView]) -> None:
    """Into the trash, U-Nets before their VAE. Raises LabError for the first that was refused, after all others."""
    gone: list[Deleted] = []
    refused: list[LabError] = []
    for view in sorted(views, key=lambda view: view.run.info.created_at, reverse=True):
        try:
            acting.delete(view.id, who())
        except LabError as error:
            refused.append(error)
            continue
        gone.append(Deleted(run_id=view.id, title=view.title, owner=view.run.info.owner, at=time.time()))
    st.session_state[DELETED] = [*st.session_state.get(DELETED, []), *gone][-max(5, len(gone)) :]
    acting.look_again()
    untick()
    if refused:
        raise refused[0]
