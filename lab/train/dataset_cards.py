"""The datasets to train on, as cards: images, size, classes, and whether they are on this server."""

from __future__ import annotations

import base64

import numpy as np
import streamlit as st

from core.compute.questions import CLASS_IMAGES
from core.errors import LabError
from core.mosaic import mosaic
from core.words import count, size
from lab.frame.live_fragment import live_until
from lab.frame.state import page_file
from lab.services import background, datasets
from lab.services.background import Work
from lab.services.computing import asked
from lab.services.datasets import Listed
from lab.services.settings import current_site
from lab.widgets.cards import Card, cards, chosen_card
from lab.widgets.pictures import png

PARAM = "data"
STRIP = 10  # images on a card
LOOK_S = 1.0


def choose_dataset(default: str, *, returned: bool) -> str:
    """The name of the chosen dataset, in the address as `data` where it is not the default."""
    listed = [each for each in datasets.listed() if each.entry is not None]
    names = {each.name: each for each in listed}
    chosen = chosen_card(PARAM, list(names), default if default in names else next(iter(names)), returned=returned)
    work = _images_of(names[chosen])
    near = [each for each in listed if each.name == chosen or (each.is_here and not _is_own(each))]
    far = [each for each in listed if each not in near]
    options, more = ([_card(each, work if each.name == chosen else None) for each in part] for part in (near, far))
    cards("Dataset", options, chosen, PARAM, more=more, more_label=f"{len(more)} more: to download, or your own files")
    if work is not None and not work.is_done:
        live_until(lambda: work.is_done, _reading, every_s=LOOK_S)
    if not names[chosen].is_here:
        st.caption(_download_words(names[chosen]))
    with st.container(horizontal=True):
        query = {"set": chosen}
        st.page_link(
            page_file("data"), label="Look at this dataset", query_params=query, icon=":material/photo_library:"
        )
        query = {datasets.ADD: "1"}
        st.page_link(page_file("data"), label="Import your own images", query_params=query, icon=":material/upload:")
    return chosen


def _reading() -> None:
    st.caption("Reading the images of this dataset")


def _is_own(each: Listed) -> bool:
    return each.entry is not None and each.entry.needs_path


def _download_words(each: Listed) -> str:
    cost = f" ({size(each.entry.download_bytes)})" if each.entry and each.entry.download_bytes else ""
    return f"This dataset is not on this server yet. Starting the training downloads it first{cost}."


def _card(each: Listed, work: Work | None) -> Card:
    entry = each.entry
    assert entry is not None
    if entry.needs_path:
        where = "Give its path below, under All settings, Data"
    elif each.is_here:
        where = "On this server"
    else:
        where = f"To download: {size(entry.download_bytes)}" if entry.download_bytes else "To download"
    facts = [
        f"{count(entry.train_count)} images" if entry.train_count else "",
        f"{entry.classes} classes" if entry.classes else "",
        f"{entry.native_size} × {entry.native_size}" if entry.native_size else "",
    ]
    lines = tuple(line for line in (" · ".join(fact for fact in facts if fact), where) if line)
    return Card(key=each.name, title=entry.title, lines=lines, src=_strip(each, work))


def _images_of(each: Listed) -> Work | None:
    """Images of a dataset that nobody has looked at yet, read in the background; None where none are needed."""
    if not each.is_here or _is_own(each) or _kept_strip(each.name):
        return None
    key = f"card-images-{each.name}"
    task = asked(CLASS_IMAGES, datasets.data_settings(each.name, ""), current_site())
    return background.find(key) or background.begin(key, task)


def _strip(each: Listed, work: Work | None) -> str:
    if not each.is_here or _is_own(each):
        return ""
    if work is not None and work.is_done and work.problem is None:
        return _address(work.result.images[:STRIP])
    return _kept_strip(each.name)


def _kept_strip(name: str) -> str:
    """From what the Data page kept of it, or ''."""
    try:
        found = datasets.kept(datasets.data_settings(name, ""))
    except (LabError, OSError):
        return ""
    return _address(found.gallery[:STRIP, 0]) if found is not None else ""


def _address(images: np.ndarray) -> str:
    """(N, H, W, C) uint8 side by side, as a data address."""
    return f"data:image/png;base64,{base64.b64encode(png(mosaic(images, columns=len(images)))).decode()}"
