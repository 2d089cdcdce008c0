"""Which runs the table shows, in which order, and which stand under the run that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.runs.notes import Notes
from lab.runs.run_columns import Reader, lower_is_better
from lab.services.runs import RunView
from lab.widgets.link_table import Direction

ANY = "any"
NEWEST = "newest"
Member = tuple[RunView, Notes]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which runs are wanted; 'any' and '' want all. favourites_of: only this person's favourites, '' = all runs."""

    shown: str = "all"
    search: str = ""
    kind: str = ANY
    owner: str = ANY
    tag: str = ANY
    favourites_of: str = ""

    def wants(self, view: RunView, notes: Notes, *, paused: bool = False) -> bool:
        """Whether a run passes; the search looks at name, id, owner, data set, tags and notes, word by word."""
        active = view.is_active or paused
        early = view.state in ("failed", "stopped", "interrupted") and not paused
        states = {"active": active, "finished": view.state == "finished", "ended early": early}
        if not states.get(self.shown, True) or (self.favourites_of and self.favourites_of not in notes.favourite_of):
            return False
        if self.kind not in (ANY, view.kind) or self.owner not in (ANY, view.run.info.owner):
            return False
        if self.tag != ANY and self.tag not in notes.tags:
            return False
        if not self.search.strip():
            return True
        parts = (view.title, view.id, view.run.info.owner, view.data_name, view.state, *notes.tags, notes.notes)
        text = " ".join(parts).lower()
        return all(word in text for word in self.search.lower().split())


def in_order(rows: Sequence[Member], order: str, is_reverse: bool, reader: Reader) -> tuple[list[Member], Direction]:
    """The rows in that order, the best or the first first, and which way that is; without a value at the end.

    Rows that are alike stay as they came. is_reverse: the worst or the last first.
    """
    column = "started" if order == NEWEST else order
    if column == "started" and not is_reverse:  # they come so
        return list(rows), "descending"
    known = [(found, row) for row in rows if (found := reader.value(row[0], column)) is not None]
    is_number = all(isinstance(found, (int, float)) for found, _ in known)
    falls = (is_number and not lower_is_better(column)) != is_reverse
    known.sort(key=lambda pair: pair[0] if is_number else str(pair[0]).lower(), reverse=falls)
    placed = {row[0].id for _, row in known}
    unknown = [row for row in rows if row[0].id not in placed]
    return [*(row for _, row in known), *unknown], "descending" if falls else "ascending"


def families(rows: Sequence[Member]) -> list[tuple[RunView, Notes, bool]]:
    """Each run with what was made from it right under it, True for those; families as their first member comes.

    A run whose parent is not among the rows stands alone.
    """
    known = {view.id: (view, notes) for view, notes in rows}

    def parent(view: RunView) -> str:
        return next((each for each in view.run.info.parents if each in known and each != view.id), "")

    made: dict[str, list[Member]] = {}
    heads: dict[str, Member] = {}
    for row in rows:
        made.setdefault(parent(row[0]), []).append(row)
        head, seen = row, set[str]()
        while (above := parent(head[0])) and above not in seen:
            seen.add(above)
            head = known[above]
        heads.setdefault(head[0].id, head)
    found: list[tuple[RunView, Notes, bool]] = []
    placed: set[str] = set()
    waiting = [(row, False) for row in reversed(heads.values())]
    while waiting:
        row, is_child = waiting.pop()
        if row[0].id not in placed:
            placed.add(row[0].id)
            found.append((*row, is_child))
            waiting += [(child, True) for child in reversed(made.get(row[0].id, []))]
    return found
