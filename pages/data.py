"""Data: what the models learn from."""

from __future__ import annotations

import streamlit as st

from core.config.schema import DataSettings
from core.data.catalog import CatalogEntry
from core.data.overview import Overview
from core.words import count, size
from lab.data import data_service, data_view
from lab.frame.problems import problems_shown
from lab.frame.task_progress import wait_with_progress
from lab.services import background, datasets
from lab.services.datasets import Listed
from lab.widgets.url_selectbox import pick
from lab.words import escaped, plain, sentence

SET = "set"
LOOKED = "data-looked-at"  # (set, path, work) that this session asked for


def label_of(each: Listed) -> str:
    """How the list names a set."""
    if each.entry is None:
        return plain(f"{each.name} · damaged")
    if each.entry.needs_path:
        return plain(each.entry.title)
    where = "" if each.is_here else " · to download"
    if each.entry.imported:
        where = f" · imported by {each.entry.imported.imported_by}"
    return plain(f"{each.entry.title}{where}")


def choose() -> tuple[Listed, str]:
    """(the set, the path of one's own files or ''); both are in the URL."""
    found = {each.name: each for each in datasets.listed()}
    wanted = st.query_params.get(SET, "")
    if wanted and wanted not in found:
        st.warning(f"Dataset {escaped(wanted)} does not exist. Showing another.")
    cells = st.columns([2, 3], vertical_alignment="bottom")
    with cells[0]:
        chosen = found[pick("Dataset", {name: label_of(each) for name, each in found.items()}, SET)]
    path = ""
    if chosen.entry is not None and chosen.entry.needs_path:
        kind = "Folder or zip of images" if chosen.name == "image_folder" else ".npz file"
        path = (
            cells[1]
            .text_input(kind, key="path", bind="query-params", placeholder="path on this machine", max_chars=1000)
            .strip()
        )
    return chosen, path


def absent(entry: CatalogEntry, data: DataSettings) -> None:
    """Not here: what it is, what fetching costs, and the button."""
    facts = [
        f"{count(entry.train_count)} images" if entry.train_count else "",
        f"{entry.classes} classes" if entry.classes else "",
        f"{entry.native_size} × {entry.native_size} pixels" if entry.native_size else "",
    ]
    cost = f"about {size(entry.download_bytes)}" if entry.download_bytes else "an unknown amount"
    st.markdown(f"**{escaped(entry.title)} is not on this machine.** Downloading it takes {cost}.")
    st.caption(" · ".join(fact for fact in facts if fact) + f" · {escaped(entry.licence)} · {escaped(entry.source)}")
    problem = data_service.fetch_problem()
    pressed = st.button("Download", type="primary", icon=":material/download:", disabled=bool(problem), key="fetch")
    if problem:
        st.caption(f"Download is not possible: {escaped(problem, 300)}. Copy its files there, or set LAB_DATA.")
    if pressed:
        data_service.look(data, download=True)
        st.rerun()


def overview(chosen: CatalogEntry) -> Overview | None:
    """The overview, made now with progress when there is none; None when there is nothing to show."""
    data = datasets.data_settings(chosen.name, "")
    running = background.find(data_service.work_key(data))
    if running is not None and not running.is_done:
        wait_with_progress(running, "Reading every image once")
    if running is not None and (problem := data_service.problem_of(running)):
        st.error(sentence(problem), icon=":material/error:")
        if st.button("Try again", key="again"):
            st.rerun()
        return None
    if not datasets.is_here(chosen.name):
        absent(chosen, data)
        return None
    kept = datasets.kept(data)
    if kept is None:
        wait_with_progress(data_service.look(data), "Reading every image once")
        st.rerun()
    return kept


def own_overview(name: str, path: str) -> Overview | None:
    """The overview of what `path` holds, once this person asked for it: a link fills the form and reads nothing."""
    data = datasets.data_settings(name, path)
    if st.button("Open it", type="primary", icon=":material/visibility:", key="look"):
        st.session_state[LOOKED] = (name, path, data_service.look(data))
    *asked, work = st.session_state.get(LOOKED, (None,))
    if asked != [name, path]:
        st.caption("Give the path of your images and press *Open it*, or import them above under a name.")
        return None
    wait_with_progress(work, "Reading every image once")
    if work.problem is not None:
        st.error(sentence(work.problem), icon=":material/error:")
    return datasets.opened(work.result) if work.result else None


def page() -> None:
    """The set, its pictures, and everything else below."""
    from lab.data.data_import import add_a_set, remove_a_set

    st.title("Data")
    chosen, path = choose()
    add_a_set(chosen.name)
    found = None
    with problems_shown():
        if chosen.entry is None:
            st.error(escaped(chosen.problem, 400), icon=":material/error:")
        elif chosen.entry.needs_path:
            found = own_overview(chosen.name, path)
        else:
            found = overview(chosen.entry)
    if found is not None and chosen.entry is not None:
        data_view.headline(found)
        data_view.reading(chosen.entry, found.reading)
        data_view.at_a_glance(found)
        data_view.sizes(found)
        data_view.transform(found, datasets.data_settings(chosen.name, path))
        data_view.copies(found)
        data_view.origin(chosen.entry)
    if chosen.entry is None or chosen.entry.imported:
        remove_a_set(chosen.name)


with problems_shown():
    page()
