"""A table whose names are links: with ticks, sorting by a column's head, and rows that change in place.

Its rows keep their order while the pointer or the keyboard is at work in it, so that nothing moves under a click.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from lab.widgets.component import component

_component = component(
    __file__, "lab_link_table", '<div class="link-table"><table><thead><tr></tr></thead><tbody></tbody></table></div>'
)
Direction = Literal["ascending", "descending"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column after the name. key: what a click on its head sorts by, '' where nothing can be sorted. spare: a
    window of less than 1,000 pixels leaves it out."""

    key: str
    title: str
    help: str = ""
    right: bool = False
    spare: bool = False


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands in a cell, plain text and images.

    color: a name of Streamlit's colors, for a dot before the text. note: under the text. share: 0 to 1, a bar.
    image: address of an image, drawn in whole pixels. points: of a small curve, see `spark_points`. hint: on hover.
    """

    text: str = ""
    color: str = ""
    note: str = ""
    share: float | None = None
    image: str = ""
    points: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table. href: where its name leads, relative to the page. child: it belongs to the row above.

    kind, kind_color: a word before the name. marks: words after it.
    """

    key: str
    href: str
    title: str
    cells: Sequence[Cell]
    kind: str = ""
    kind_color: str = ""
    child: bool = False
    marks: Sequence[str] = ()


def link_table(
    label: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    key: str,
    order: tuple[str, Direction],
    ticked: Sequence[str],
    ink: str,
    on_tick: Callable[[list[str]], None],
    on_sort: Callable[[str], None],
) -> str:
    """Draw it; the key of a row that was opened by a plain click, or ''.

    order: by which column it is sorted, and how. ticked: keys, also of rows that are not shown. ink: color of curves.
    on_tick(keys) and on_sort(column) are called before the page or its part runs again.
    """
    number = f"{key}-number"  # of the browser's last change of the ticks: an older answer does not take a tick back

    def was_ticked() -> None:
        found = _state(key).get("ticked")
        keys, count = (found.get("keys"), found.get("number")) if isinstance(found, Mapping) else (None, None)
        if isinstance(keys, Sequence) and isinstance(count, int | float):
            st.session_state[number] = int(count)
            on_tick([each for each in keys if isinstance(each, str)])

    def was_sorted() -> None:
        column = _state(key).get("sorted")
        if column in {each.key for each in columns if each.key} | {"name"}:
            on_sort(column)

    data = {
        "label": label,
        "columns": [[each.key, each.title, each.help, _classes(each)] for each in columns],
        "rows": [_short(row) for row in rows],
        "order": list(order),
        "ticked": list(ticked),
        "number": st.session_state.get(number, 0),
        "ink": ink,
    }
    result = _component(
        data=data,
        key=key,
        on_ticked_change=was_ticked,
        on_sorted_change=was_sorted,
        on_opened_change=lambda: None,
    )
    opened = result.opened
    return str(opened) if opened in {row.key for row in rows} else ""


def _state(key: str) -> Mapping[str, Any]:
    found = st.session_state.get(key)
    return found if isinstance(found, Mapping) else {}


def _classes(column: Column) -> str:
    return " ".join([*(["right"] if column.right else []), *(["spare"] if column.spare else [])])


def _short(row: Row) -> dict[str, Any]:
    """Only what differs from the defaults: a table is sent at every tick."""
    cells = [{name: value for name, value in vars(cell).items() if value not in ("", None)} for cell in row.cells]
    facts = {name: value for name, value in vars(row).items() if name != "cells" and value}
    return {**facts, "cells": cells}
