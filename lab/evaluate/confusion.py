"""Which classes are mixed up, as a table colored by how often, and the images behind a cell."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import streamlit as st

from core.evaluation.drawn import Drawn
from core.evaluation.scores import mixed_up
from core.words import count
from lab.widgets.pictures import show_pictures
from lab.widgets.url_selectbox import pick
from lab.words import plain

MOST_CLASSES = 20  # in a table that still fits
MOST_PAIRS = 40
MOST_SHOWN = 24
CELL = "cell"  # of the URL


def show_confusion(confusion: np.ndarray | None, names: Sequence[str], drawn: Drawn | None) -> None:
    """The table, and the images of the pair that is chosen. confusion (K, K): asked, seen."""
    st.subheader("Confusion")
    if confusion is None:
        st.caption("Which classes were mixed up was not recorded with this evaluation. Evaluate again to see it.")
        return
    if len(names) <= MOST_CLASSES:
        table = _table(confusion, names)
        st.html(f'<div class="lab-wide" tabindex="0" role="group" aria-label="Confusion">{table}</div>')
    pairs = [*mixed_up(confusion)[:MOST_PAIRS], *((each, each) for each in range(min(len(names), MOST_CLASSES)))]
    options = {f"{asked}-{seen}": _words(confusion, names, asked, seen) for asked, seen in pairs}
    asked, seen = map(int, pick("Images behind a cell", options, CELL).split("-"))
    if drawn is None:
        st.caption("Its images were not kept, or were cleaned up. Evaluate again to see them.")
        return
    places = np.flatnonzero((drawn.labels == asked) & (drawn.guesses == seen))
    shown = places[:MOST_SHOWN]
    if len(shown):
        alt = f"Images asked for as {names[asked]} that the judge reads as {names[seen]}"
        show_pictures(drawn.pictures[shown], columns=min(8, len(shown)), width=72 * min(8, len(shown)), alt=alt)
    st.caption(f"{count(len(shown))} of {count(len(places))}, in the order in which they were generated.")


def _words(confusion: np.ndarray, names: Sequence[str], asked: int, seen: int) -> str:
    number = int(confusion[asked, seen])
    if asked == seen:
        return plain(f"{names[asked]}, read rightly ({count(number)})")
    return plain(f"asked for as {names[asked]}, read as {names[seen]} ({count(number)})")


def _table(confusion: np.ndarray, names: Sequence[str]) -> str:
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    shares = confusion / totals
    worst = max(float((shares * (1 - np.eye(len(shares)))).max()), 1e-9)
    short = [html.escape(plain(name, 12)) for name in names]
    heads = "".join(f'<th scope="col">{name}</th>' for name in short)
    rows = ""
    for asked, name in enumerate(short):
        numbers = enumerate(zip(confusion[asked].tolist(), shares[asked].tolist(), strict=True))
        cells = "".join(_cell(number, share, worst, asked == seen) for seen, (number, share) in numbers)
        rows += f'<tr><th scope="row">{name}</th>{cells}</tr>'
    return (
        '<table class="lab-confusion"><caption>Per 1,000 asked for (rows): what the judge sees (columns)</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _cell(number: int, share: float, worst: float, is_right: bool) -> str:
    if not number:
        return "<td></td>"
    kind = "right" if is_right else "wrong"
    style = "" if is_right else f' style="--share:{share / worst:.2f}"'
    words = f"{1000 * share:.0f}" if share >= 0.0005 else "&lt;1"
    return f'<td class="{kind}"{style} title="{number:,} images">{words}</td>'
