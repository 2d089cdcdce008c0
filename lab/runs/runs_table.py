"""The table of runs: filters, chosen columns, an order, and a page of rows with images only for what is shown."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Collection, Sequence
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
from lab.runs.bulk_actions import TICKED, UNTICKED, action_bar
from lab.runs.run_columns import ALWAYS, figure_of, known_columns
from lab.services import run_actions, runs
from lab.services.notes import notes_of
from lab.services.runs import RunView
from lab.widgets.pictures import png
from lab.words import STATE_COLORS, plain

SHOWN = ("all", "active", "finished", "ended early")
PAGE_ROWS = 50
PART = "part"
PART_WIDTH = 320
_ANY = "any"
NEWEST, FAMILIES = "newest", "VAE with its U-Nets"
UNORDERED = ("images", "progress", "started")
Row = tuple[RunView, Notes]


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
    columns, order = _layout()
    pages = math.ceil(len(rows) / PAGE_ROWS)
    start = (_part(pages) - 1) * PAGE_ROWS
    _rows(in_order(rows, order)[start : start + PAGE_ROWS], paused, columns)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        many = len(rows) > PAGE_ROWS
        which = f"{count(start + 1)}–{count(min(start + PAGE_ROWS, len(rows)))} of {count(len(rows))}. " if many else ""
        st.caption(f"{which}Click a row to open it. Tick rows to compare, tag, export or delete them.", width="content")
        if many:
            st.pagination(pages, key=PART, bind="query-params", width=PART_WIDTH)
    action_bar([view for view, _ in everything])


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


def _layout() -> tuple[list[str], str]:
    """(columns to show, order) as chosen, both in the URL."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        columns = st.multiselect(
            "Columns",
            known_columns(),
            default=list(ALWAYS),
            key="columns",
            bind="query-params",
            placeholder="state and name only",
            help="Also quality, the last value of any metric, and any setting",
        )
        order = st.selectbox(
            "Order",
            [NEWEST, FAMILIES, "name", "state", *(name for name in known_columns() if name not in UNORDERED)],
            key="order",
            bind="query-params",
            width=220,
            on_change=_first_page,
            help="A column by its best value first; losses and distances from the lowest",
        )
    return list(columns), str(order)


def in_order(rows: Sequence[Row], order: str) -> list[tuple[RunView, Notes, bool]]:
    """The rows in that order, newest first where it says nothing; True for one that stands under its parent."""
    if order == FAMILIES:
        return _families(rows)
    if order == NEWEST:
        return [(*row, False) for row in rows]
    texts = {"name": lambda view: view.title, "state": lambda view: view.shown_state}
    value = texts.get(order, lambda view: figure_of(view, order))
    known = [(found, row) for row in rows if (found := value(row[0])) is not None]
    is_number = all(isinstance(found, (int, float)) for found, _ in known)
    highest = is_number and "loss" not in order and order != "FD-judge"
    known.sort(key=lambda pair: pair[0] if is_number else str(pair[0]).lower(), reverse=highest)
    placed = {row[0].id for _, row in known}
    return [(*row, False) for row in (*(row for _, row in known), *(row for row in rows if row[0].id not in placed))]


def _families(rows: Sequence[Row]) -> list[tuple[RunView, Notes, bool]]:
    """Each run with what was made from it right under it; whose parent is not among the rows stands alone."""
    known = {view.id for view, _ in rows}
    made: dict[str, list[Row]] = {}
    for row in rows:
        parent = next((each for each in row[0].run.info.parents if each in known and each != row[0].id), "")
        made.setdefault(parent, []).append(row)
    found: list[tuple[RunView, Notes, bool]] = []
    waiting = [(row, False) for row in reversed(made.pop("", []))]
    while waiting:
        row, is_child = waiting.pop()
        found.append((*row, is_child))
        waiting += [(child, True) for child in reversed(made.pop(row[0].id, []))]
    return found


def _rows(rows: Sequence[tuple[RunView, Notes, bool]], paused: Collection[str], shown: Sequence[str]) -> None:
    views = [view for view, _, _ in rows]
    ids = [view.id for view in views]
    me = who()

    def named(view: RunView, notes: Notes, is_child: bool) -> str:
        return ("↳ " if is_child else "") + ("★ " if me in notes.favourite_of else "") + plain(view.title)

    makers: dict[str, Callable[[RunView], Any]] = {
        "images": _thumbnail_of,
        "progress": lambda view: round(view.progress, 3),
        "loss": lambda view: runs.loss_sample(view.run),
        "owner": lambda view: plain(view.run.info.owner, 60),
        "started": lambda view: ago(view.run.info.created_at),
    }
    frame = pd.DataFrame(
        {
            "state": [["paused" if view.id in paused else view.shown_state] for view in views],
            "name": [named(*row) for row in rows],
            **{
                name: [makers[name](view) if name in makers else figure_of(view, name) for view in views]
                for name in shown
            },
        }
    )
    if any(notes.tags for _, notes, _ in rows):
        frame["tags"] = [[plain(tag, 40) for tag in notes.tags] for _, notes, _ in rows]
    columns = st.column_config
    # a tick is kept by run, not by row: when rows move, the table is a new one that starts with the right ticks
    unticked = st.session_state.get(UNTICKED, 0)
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
            "images": columns.ImageColumn("images", help="The newest previews", width=84),
            "progress": columns.ProgressColumn("progress", min_value=0, max_value=1, format="percent", width=96),
            "loss": columns.LineChartColumn("loss", help="Training loss, whole run", width=76),
            "tags": columns.ListColumn("tags", width=110),
            "accuracy": columns.NumberColumn("accuracy", help="Class accuracy, newest evaluation", format="percent"),
            "FD-judge": columns.NumberColumn("FD-judge", help="Newest evaluation, lower is better", format="%.4g"),
            "duration": columns.NumberColumn("duration", help="Seconds", format="%.0f s"),
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
