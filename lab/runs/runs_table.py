"""The table of runs: filters, chosen columns, an order, and a page of rows with images only for what is shown."""

from __future__ import annotations

import base64
import math
import urllib.parse
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path

import streamlit as st

from core.evaluation.report import OLD_WAY
from core.mosaic import mosaic
from core.reading import Stamp, stamp_of
from core.runs.kinds import KINDS
from core.runs.notes import Notes
from core.runs.run import Run
from core.words import ago, count, counted, duration, size
from lab.frame.live_fragment import live_until
from lab.frame.state import select_run, who
from lab.runs.bulk_actions import TICKED, action_bar
from lab.runs.run_columns import MEASURES, USUAL, Reader, Value, figure_of, known_columns
from lab.runs.run_order import ANY, NEWEST, Filter, Member, families, in_order
from lab.services import background, run_actions, runs
from lab.services.background import Tell
from lab.services.notes import notes_of
from lab.services.runs import RunView
from lab.widgets.link_table import Cell, Column, Direction, Row, link_table
from lab.widgets.palette import palette
from lab.widgets.pictures import png
from lab.widgets.spark import spark_points
from lab.words import STATE_COLORS, exactly, plain, significant

SHOWN = ("all", "active", "finished", "ended early")
PAGE_ROWS = 50
PART = "part"
PART_WIDTH = 320
ORDER = "order"
PATIENCE_S = 0.3  # for what columns do not know yet; the rest is read in the background
SORTED_BY_NAME = ("name", "state")
UNSORTED = ("images",)
SPARE = ("data", "learning rate", "duration", "owner")  # of the usual columns, those that a narrow window leaves out
CURVE = (64, 24)  # pixels
VAL_LOSS = "Compares only between runs of the same timestep_distribution"
HINTS = {
    "images": "The newest samples",
    "loss": "Training loss over the whole run, and its newest value",
    "accuracy": "Class accuracy in the newest evaluation",
    "FD-judge": "Newest evaluation; lower is better",
    "size": "On the disk",
    **dict.fromkeys(("last val_loss", "best val_loss"), VAL_LOSS),
}
_KIND_COLORS = {"VAE": "var(--st-violet-text-color)", "U-Net": "var(--lab-unet)"}
_LEFT = ("state", "kind", "data", "images", "loss", "owner")


def runs_table() -> None:
    """All runs, newest first, a page at a time; a name opens its run, ticks choose what to compare."""
    everything = [(view, notes_of(view.run)) for view in runs.list_views()]
    chosen = _filter(everything)
    paused = {entry.run.id for entry in run_actions.queue() if entry.state == "paused"}
    rows = [(view, notes) for view, notes in everything if chosen.wants(view, notes, paused=view.id in paused)]
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(_counted(rows, len(everything)), width="content")
        columns, grouped = _layout()
    if not rows:
        return
    reader = Reader(PATIENCE_S)
    order, is_reverse = _order()
    if order != NEWEST and order not in (*columns, *SORTED_BY_NAME):
        columns.append(order)
    in_turn, direction = in_order(rows, order, is_reverse, reader)
    placed = families(in_turn) if grouped else [(*row, False) for row in in_turn]
    pages = math.ceil(len(rows) / PAGE_ROWS)
    start = (_part(pages) - 1) * PAGE_ROWS
    opened = _table(placed[start : start + PAGE_ROWS], paused, columns, (order, direction), reader)
    if opened:
        st.query_params.pop(ORDER, None)  # the address is that of the link
        select_run(opened)
        st.rerun()
    if reader.later:
        _read_later(reader.later)
    if pages > 1:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            end = min(start + PAGE_ROWS, len(rows))
            st.caption(f"{count(start + 1)}–{count(end)} of {count(len(rows))}", width="content")
            st.pagination(pages, key=PART, bind="query-params", width=PART_WIDTH)
    action_bar([view for view, _ in everything])


def _counted(rows: Sequence[Member], total: int) -> str:
    """How many runs are shown, and what works now."""
    if not rows:
        return f"None of the {count(total)} runs fits these filters."
    few = f"{count(len(rows))} of {count(total)} runs" if len(rows) < total else counted(total, "run")
    states = [view.state for view, _ in rows]
    working = [f"{count(states.count(state))} {state}" for state in ("running", "queued") if state in states]
    return " · ".join([few, *working])


def _read_later(later: Sequence[tuple[RunView, str]]) -> None:
    """Read the rest of the columns beside the page, and draw it again when they are known."""

    def read(tell: Tell, is_cancelled: object) -> None:
        for place, (view, column) in enumerate(later):
            tell("reading", place / len(later))
            figure_of(view, column)

    work = background.begin("columns of runs", read)

    def progress() -> None:
        st.caption(f"Reading columns: {work.fraction:.0%}")

    live_until(lambda: work.is_done, progress, every_s=1)


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
    kind = owner = tag = ANY
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
        [ANY, *options],
        format_func=lambda option: f"any {word}" if option == ANY else plain(option, 40),
        key=f"filter-{word}",
        width=width,
        label_visibility="collapsed",
        on_change=_first_page,
    )


def _first_page() -> None:
    if st.session_state.get(PART, 1) != 1:
        st.session_state[PART] = 1


def _layout() -> tuple[list[str], bool]:
    """(columns to show, whether what was made from a run stands under it) as chosen, both in the URL."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", width="content"):
        grouped = st.toggle(
            "Group",
            value=True,
            key="group",
            bind="query-params",
            help="Puts U-Nets and evaluations under the run that they were made from",
        )
        with st.popover("Columns", icon=":material/view_column:"):
            columns = st.multiselect(
                "Columns",
                known_columns(),
                default=list(USUAL),
                key="columns",
                bind="query-params",
                placeholder="name and state only",
                help="Measures, size, the best and last value of any metric, and any setting",
            )
    return list(columns), grouped


def _order() -> tuple[str, bool]:
    """(column, whether its usual direction is turned round) as the link says."""
    asked = st.query_params.get(ORDER, "")
    order, is_reverse = asked.removeprefix("-"), asked.startswith("-")
    sortable = (*SORTED_BY_NAME, *(name for name in known_columns() if name not in UNSORTED))
    return (order, is_reverse) if order in sortable else (NEWEST, False)


def _sort_by(column: str) -> None:
    """The best value first; what is sorted so already is turned round. The newest first needs no word in the link."""
    order, is_reverse = _order()
    order = "started" if order == NEWEST else order
    turned = order == column and not is_reverse
    wanted = f"-{column}" if turned else "" if column == "started" else column
    if wanted:
        st.query_params[ORDER] = wanted
    else:
        st.query_params.pop(ORDER, None)
    _first_page()


def _table(
    rows: Sequence[tuple[RunView, Notes, bool]],
    paused: Collection[str],
    shown: Sequence[str],
    order: tuple[str, Direction],
    reader: Reader,
) -> str:
    """Draw these rows; the id of a run that was opened, or ''."""
    me = who()

    def row(view: RunView, notes: Notes, is_child: bool) -> Row:
        state = "paused" if view.id in paused else view.shown_state
        return Row(
            key=view.id,
            href=f"runs?{urllib.parse.urlencode({'run': view.id})}",
            title=plain(view.title),
            kind=view.kind,
            kind_color=_KIND_COLORS.get(view.kind, ""),
            child=is_child,
            marks=[*(["★"] if me in notes.favourite_of else []), *(plain(tag, 40) for tag in notes.tags)],
            cells=[_state(view, state), *(_cell(view, name, reader) for name in shown)],
        )

    spare = [name for name in SPARE if tuple(shown) == USUAL and name != order[0]]
    heads = [
        Column(
            key="" if name in UNSORTED else name,
            title=name,
            help=HINTS.get(name, ""),
            right=name not in _LEFT,
            spare=name in spare,
        )
        for name in ("state", *shown)
    ]
    return link_table(
        "Runs",
        heads,
        [row(*each) for each in rows],
        key="runs-table",
        order=("started" if order[0] == NEWEST else order[0], order[1]),
        ticked=st.session_state.setdefault(TICKED, []),
        ink=palette(st.context.theme.type).training.line,
        on_tick=lambda keys: st.session_state.update({TICKED: keys}),
        on_sort=_sort_by,
    )


def _state(view: RunView, state: str) -> Cell:
    """The state, how far a run is that has not finished, and on hover how it ended."""
    color = STATE_COLORS.get(state, "gray")
    if view.state == "finished":
        return Cell(text=state, color=color)
    if not view.is_active:
        return Cell(text=state, color=color, note=_percent(view.progress), hint=plain(view.status.reason, 300))
    left = f", {duration(view.status.eta_s)} left" if view.status.eta_s and view.state == "running" else ""
    return Cell(text=state, color=color, note=f"{_percent(view.progress)}{left}", share=view.progress)


def _cell(view: RunView, column: str, reader: Reader) -> Cell:
    if column == "images":
        return Cell(image=_thumbnail(view.run.folder, stamp_of(view.run.previews_dir)))
    if column == "progress":
        return Cell(text=_percent(view.progress), share=view.progress)
    if column == "loss":
        return _curve(tuple(runs.loss_sample(view.run)))
    value = reader.value(view, column)
    if column == "started":
        return Cell(text=ago(str(value)), hint=exactly(str(value)))
    if value is None and (old := reader.measured_the_old_way(view, column)) is not None:
        return Cell(text=f"{_written(column, old)} (old)", hint=f"{OLD_WAY[:1].upper()}{OLD_WAY[1:]}: not sorted.")
    return Cell(text=_written(column, value))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _written(column: str, value: Value) -> str:
    """A value with its unit."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return plain(value, 60)
    if column == "duration":
        return duration(value)
    if column == "size":
        return size(int(value))
    if column in MEASURES and column not in ("FD-judge", "copy ratio"):
        return f"{100 * value:.1f} %"
    return count(value) if isinstance(value, int) else significant(value)


@lru_cache(maxsize=2000)
def _curve(losses: tuple[float, ...]) -> Cell:
    return Cell(points=spark_points(losses, CURVE), text=significant(losses[-1]) if losses else "–")


@lru_cache(maxsize=1000)  # not Streamlit's cache, which copies and hashes: a page asks fifty times a tick
def _thumbnail(folder: Path, stamp: Stamp) -> str:
    """Three newest images as a data address; '' when there are none. Made again when a preview was added."""
    preview = runs.newest_preview(Run(folder))
    if preview is None:
        return ""
    sheet = mosaic(preview.images[:3], columns=3)
    return "data:image/png;base64," + base64.b64encode(png(sheet)).decode()
