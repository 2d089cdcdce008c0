"""The table of runs: filters, a page of rows with pictures and curves only for what is shown, ticks to compare."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.mosaic import mosaic
from core.reading import Stamp, stamp_of
from core.runs.kinds import KINDS
from core.runs.notes import Notes
from core.words import ago, count
from lab.frame.state import select_run, who
from lab.services import run_actions, runs
from lab.services.notes import notes_of
from lab.services.runs import RunView
from lab.widgets.pictures import png
from lab.words import STATE_COLORS, plain

SHOWN = ("all", "active", "finished", "ended early")
PAGE_ROWS = 50
MOST_COMPARED = 6
TICKED = "runs-ticked"
COMPARED = "compare"
PART = "part"
PART_WIDTH = 320
_ANY = "any"


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which runs are wanted; 'any' and '' want all. favourites_of: only this person's favourites, '' = all runs."""

    shown: str = "all"
    search: str = ""
    kind: str = _ANY
    owner: str = _ANY
    tag: str = _ANY
    favourites_of: str = ""

    def wants(self, view: RunView, notes: Notes, *, paused: bool = False) -> bool:
        """Whether a run passes; the search looks at name, id, owner, data set, tags and notes, word by word."""
        active = view.is_active or paused
        early = view.state in ("failed", "stopped", "interrupted") and not paused
        states = {"active": active, "finished": view.state == "finished", "ended early": early}
        if not states.get(self.shown, True) or (self.favourites_of and self.favourites_of not in notes.favourite_of):
            return False
        if self.kind not in (_ANY, view.kind) or self.owner not in (_ANY, view.run.info.owner):
            return False
        if self.tag != _ANY and self.tag not in notes.tags:
            return False
        if not self.search.strip():
            return True
        parts = (view.title, view.id, view.run.info.owner, view.data_name, view.state, *notes.tags, notes.notes)
        text = " ".join(parts).lower()
        return all(word in text for word in self.search.lower().split())


def runs_table() -> None:
    """All runs, newest first, a page at a time; a click opens one, ticks choose what to compare."""
    everything = [(view, notes_of(view.run)) for view in runs.list_views()]
    chosen = _filter(everything)
    paused = {entry.run.id for entry in run_actions.queue() if entry.state == "paused"}
    rows = [(view, notes) for view, notes in everything if chosen.wants(view, notes, paused=view.id in paused)]
    if not rows:
        st.caption(f"None of the {count(len(everything))} runs fits.")
        return
    with st.container():  # also when empty, so that the first tick does not draw the table anew
        _compare_line({view.id for view, _ in everything})
    pages = math.ceil(len(rows) / PAGE_ROWS)
    start = (_part(pages) - 1) * PAGE_ROWS
    _rows(rows[start : start + PAGE_ROWS], paused)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        many = len(rows) > PAGE_ROWS
        which = f"{count(start + 1)}–{count(min(start + PAGE_ROWS, len(rows)))} of {count(len(rows))}. " if many else ""
        st.caption(f"{which}Click a row to open it; tick rows to compare their curves.", width="content")
        if many:
            st.pagination(pages, key=PART, bind="query-params", width=PART_WIDTH)


def _part(pages: int) -> int:
    """The page of rows that the link or the numbers below the table ask for, as far as there is one."""
    asked = st.session_state.get(PART) or st.query_params.get(PART, "")
    number = int(asked) if str(asked).isdecimal() else 1
    part = min(max(1, number), pages)
    if st.session_state.get(PART, part) != part:
        st.session_state[PART] = part
    return part


def _filter(everything: Sequence[tuple[RunView, Notes]]) -> Filter:
    """The filters above the table; one that could not change anything is not drawn."""
    kinds, known = {view.kind for view, _ in everything}, [kind.title for kind in KINDS.values()]
    owners = sorted({view.run.info.owner for view, _ in everything})
    tags = sorted({tag for _, notes in everything for tag in notes.tags})
    me = who()
    marked = any(me in notes.favourite_of for _, notes in everything)
    kind = owner = tag = _ANY
    favourites = False
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        shown = st.segmented_control(
            "Show",
            SHOWN,
            default="all",
            required=True,
            key="show",
            bind="query-params",
            label_visibility="collapsed",
            on_change=_first_page,
        )
        if len(kinds) > 1:
            kind = _choice("kind", [*(title for title in known if title in kinds), *sorted(kinds - {*known})], 112)
        if len(owners) > 1:
            owner = _choice("owner", owners, 136)
        if tags:
            tag = _choice("tag", tags, 124)
        if marked:
            favourites = bool(
                st.pills(
                    "Favourites", ["★ mine"], key="favourites", label_visibility="collapsed", on_change=_first_page
                )
            )
        search = st.text_input(
            "Search",
            placeholder="name, tag, note, id …",
            key="search",
            bind="query-params",
            label_visibility="collapsed",
            width=220,
            on_change=_first_page,
        )
    return Filter(
        shown=str(shown), search=search or "", kind=kind, owner=owner, tag=tag, favourites_of=me if favourites else ""
    )


def _choice(word: str, options: Sequence[str], width: int) -> str:
    return st.selectbox(
        word,
        [_ANY, *options],
        format_func=lambda option: f"any {word}" if option == _ANY else plain(option, 40),
        key=f"filter-{word}",
        width=width,
        label_visibility="collapsed",
        on_change=_first_page,
    )


def _first_page() -> None:
    if st.session_state.get(PART, 1) != 1:
        st.session_state[PART] = 1


def _compare_line(known: Collection[str]) -> None:
    """What is ticked, on this page and others, and what to do with it."""
    ticked = [run_id for run_id in st.session_state.get(TICKED, []) if run_id in known]
    if not ticked:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button(
            f"Compare {len(ticked)}",
            type="primary",
            icon=":material/stacked_line_chart:",
            disabled=not 2 <= len(ticked) <= MOST_COMPARED,
            help=f"Their curves in one chart; two to {MOST_COMPARED} runs",
        ):
            st.query_params[COMPARED] = ",".join(ticked)
            st.rerun()
        if st.button("Untick all", type="tertiary"):
            st.session_state[TICKED] = []
            st.session_state["runs-unticked"] = st.session_state.get("runs-unticked", 0) + 1
            st.rerun(scope="fragment")
        more = "" if len(ticked) <= MOST_COMPARED else f" At most {MOST_COMPARED} fit in a chart."
        few = " Tick another one to compare." if len(ticked) == 1 else ""
        st.caption(f"{len(ticked)} ticked.{few}{more}", width="content")


def _rows(rows: Sequence[tuple[RunView, Notes]], paused: Collection[str]) -> None:
    ids = [view.id for view, _ in rows]
    me = who()
    states = ["paused" if view.id in paused else view.shown_state for view, _ in rows]
    frame = pd.DataFrame(
        {
            "state": [[state] for state in states],
            "name": [("★ " if me in notes.favourite_of else "") + plain(view.title) for view, notes in rows],
            "kind": [view.kind for view, _ in rows],
            "data": [view.data_name for view, _ in rows],
            "pictures": [_thumbnail_of(view) for view, _ in rows],
            "progress": [round(view.progress, 3) for view, _ in rows],
            "loss": [runs.loss_sample(view.run) for view, _ in rows],
            "owner": [plain(view.run.info.owner, 60) for view, _ in rows],
            "started": [ago(view.run.info.created_at) for view, _ in rows],
        }
    )
    if any(notes.tags for _, notes in rows):
        frame["tags"] = [[plain(tag, 40) for tag in notes.tags] for _, notes in rows]
    columns = st.column_config
    # a tick is kept by run, not by row: when rows move, the table is a new one that starts with the right ticks
    unticked = st.session_state.get("runs-unticked", 0)
    key = f"runs-table-{unticked}-{hashlib.sha256(','.join(ids).encode()).hexdigest()[:16]}"
    ticked = st.session_state.setdefault(TICKED, [])
    places = [place for place, run_id in enumerate(ids) if run_id in ticked]

    def remember() -> None:
        chosen = [ids[row] for row in st.session_state[key]["selection"]["rows"] if row < len(ids)]
        kept = [run_id for run_id in st.session_state[TICKED] if run_id not in ids or run_id in chosen]
        st.session_state[TICKED] = kept + [run_id for run_id in chosen if run_id not in kept]

    event: Any = st.dataframe(
        frame,
        hide_index=True,
        on_select=remember,
        selection_mode=["multi-row", "single-cell"],
        selection_default={"selection": {"rows": places}},
        key=key,
        height="content",
        row_height=40,
        column_config={
            "name": columns.TextColumn("name", width=150),
            "owner": columns.TextColumn("owner", width=72),
            "state": columns.MultiselectColumn(
                "state", options=list(STATE_COLORS), color=list(STATE_COLORS.values()), width=100
            ),
            "pictures": columns.ImageColumn("pictures", help="The newest previews", width=84),
            "progress": columns.ProgressColumn("progress", min_value=0, max_value=1, format="percent", width=96),
            "loss": columns.LineChartColumn("loss", help="Training loss, whole run", width=76),
            "tags": columns.ListColumn("tags", width=110),
        },
    )
    cells = event["selection"]["cells"]
    if cells and cells[0][0] < len(ids):
        select_run(ids[cells[0][0]])
        st.rerun()


def _thumbnail_of(view: RunView) -> str:
    return _thumbnail(view.run.folder, stamp_of(view.run.previews_dir), view)


@st.cache_data(max_entries=1000, show_spinner=False)
def _thumbnail(folder: Path, stamp: Stamp, _view: RunView) -> str:
    """Three newest pictures as a data address; '' when there are none. Drawn again when a preview was added."""
    preview = runs.newest_preview(_view.run)
    if preview is None:
        return ""
    sheet = mosaic(preview.images[:3], columns=3, zoom=max(1, 64 // preview.images.shape[2]))
    return "data:image/png;base64," + base64.b64encode(png(sheet)).decode()
