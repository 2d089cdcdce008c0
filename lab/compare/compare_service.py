"""What the Compare page asks: sides by name, and what may be chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from core.comparison.compared_sides import Side
from core.comparison.compared_sides import sides_named as sides_named_in_core
from core.comparison.run_comparison import MOST
from core.errors import LabError
from core.runs.groups import GROUP, Group, groups_among, recipe_key
from core.words import counted
from lab.services.runs import RunView, list_views, open_store
from lab.words import plain

MOST_OFFERED = 500  # newest trainings: the box searches what it was given


def sides_named(names: Sequence[str]) -> tuple[list[Side], list[LabError]]:
    """The sides that exist, in their order and each once, and what is wrong with the others."""
    found: dict[str, Side] = {}
    problems = []
    for name in names:
        try:
            known = _group(name)
            for side in [known] if known else sides_named_in_core(open_store(), name):
                found.setdefault(side.name, side)
        except LabError as error:
            problems.append(error)
    return list(found.values())[:MOST], problems


def options(chosen: Sequence[str]) -> Mapping[str, str]:
    """What may be chosen, as links name it, with what people read: groups of several runs first, then trainings."""
    views = _trainings()
    found = {
        group.name: f"{plain(group.title, 60)} · group of {len(group.runs)} · {plain(group.runs[0].kind.title)}"
        for group in _groups()
        if len(group.runs) > 1 or group.name in chosen
    }
    found.update({view.id: f"{plain(view.title, 60)} · {view.kind} · {view.id[-4:]}" for view in views})
    for name in chosen:
        found.setdefault(name, name)
    return found


def names_of(sides: Sequence[Side]) -> list[str]:
    """The titles; groups say how many runs they have, and equal ones are told apart by the ends of their names."""
    titles = [
        plain(side.title, 60) + (f", {counted(len(side.runs), 'run')}" if side.is_recipe else "") for side in sides
    ]
    return [
        title if titles.count(title) == 1 else f"{title[:22]}, {side.name[-4:]}"
        for title, side in zip(titles, sides, strict=True)
    ]


def group_of(side: Side) -> Group | None:
    """The group that a single run belongs to; None where it has none."""
    key = recipe_key(side.runs[0])
    return next((group for group in _groups() if group.key == key), None)


def has_runs() -> bool:
    """Whether there is any training."""
    return bool(_trainings())


def newest_two() -> list[str]:
    """The ids of the two newest runs that generate images; [] for fewer."""
    found = [view.id for view in _trainings() if view.run.kind.generates][:2]
    return found if len(found) == 2 else []


def _trainings() -> list[RunView]:
    return [view for view in list_views() if view.run.kind.trains][:MOST_OFFERED]


@st.cache_resource(ttl=2.0, max_entries=4, show_spinner=False)
def _grouped(root: str, count: int) -> list[Group]:
    return groups_among(view.run for view in list_views() if view.run.kind.trains)


def _groups() -> list[Group]:
    """All groups of this server's runs; at most two seconds old."""
    return _grouped(str(open_store().root), len(list_views()))


def _group(name: str) -> Side | None:
    key = name.removeprefix(GROUP)
    found = next((group for group in _groups() if name.startswith(GROUP) and group.key == key), None)
    return None if found is None else Side(name=found.name, title=found.title, runs=found.runs, is_recipe=True)
