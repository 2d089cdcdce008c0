"""One data set on the screen: pictures first, then balance, values, sizes, the transform, copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.config.schema import DataSettings
from core.data.catalog import CatalogEntry
from core.data.duplicates import NEAR_RMS, SIDE
from core.data.fit import fit_pictures
from core.data.importing.import_set import COLORS
from core.data.imports import Imported
from core.data.overview import EACH, Overview
from core.data.reader.reading_of_set import Reading, reading_lines
from core.words import ago, count
from lab.data.data_chart import MOST_BARS, balance_figure, values_figure
from lab.data.gallery import Row, gallery, shown, strip
from lab.frame.state import page_file
from lab.widgets.chart import show_chart
from lab.widgets.choice import choose
from lab.words import escaped, exactly, plain

FEW = 12  # classes whose gallery leaves room for the charts beside it
PAGE = 50  # classes in the gallery at once
SIZES = (16, 24, 32, 48, 64, 96, 128, 256, 512)
PICTURE = 112  # pixels on the screen, of one before or after
KINDS = {
    "across": "held out, and in train as well",
    "conflict": "the same image under two labels",
    "within": "twice in one split",
    "near across": "held out, and nearly the same in train",
    "near": "nearly the same in train",
}


def headline(found: Overview) -> None:
    """What it is, in one line, and what is wrong with it, if anything is."""
    train, heldout = int(found.counts_train.sum()), int(found.counts_heldout.sum())
    height, width, _ = found.sizes[0]
    size = f"{height} × {width}" if len(found.sizes) == 1 else f"{len(found.sizes):,} sizes"
    held = "its own test split" if found.has_own_heldout else "taken from each class"
    color = "color" if found.channels == 3 else "gray"
    st.markdown(
        f"**{count(train)}** training images, of which {count(found.num_validation)} "
        f"validate, **{count(heldout)}** held out ({held}) · "
        f"**{len(found.class_names):,}** classes · **{size}** {color}"
    )
    copies = found.duplicates
    trouble = []
    if copies.across:
        trouble.append(f"{copies.across:,} held-out images are in the training split as well")
    if copies.conflicts:
        trouble.append(f"{copies.conflicts:,} images are the same under different labels")
    smallest, largest = int(found.counts_train.min()), int(found.counts_train.max())
    if largest > 10 * smallest:
        trouble.append(f"the largest class has {largest / max(smallest, 1):,.0f} times the images of the smallest")
    if trouble:
        st.warning(f"{'; '.join(trouble).capitalize()}.", icon=":material/warning:")


def pictures(found: Overview) -> None:
    """Ten of each class."""
    names = found.class_names
    first = 0
    if len(names) > PAGE:
        first = choose(
            "Classes",
            range(0, len(names), PAGE),
            key=f"classes-{found.name}",
            in_url=False,
            label_shown=False,
            words=lambda start: f"{start + 1} to {min(start + PAGE, len(names))}",
        )
    rows = [
        strip(names[label], found.gallery[label, : found.gallery_counts[label]], each=EACH)
        for label in range(first, min(first + PAGE, len(names)))
    ]
    gallery(rows, key=f"gallery-{found.name}-{first}")
    pixels = "pixel for pixel" if found.are_native else f"cut square and reduced to {found.gallery.shape[2]} pixels"
    st.caption(
        f"Up to {EACH} random training images per class, {pixels}. An image that does not belong to its row "
        "has a wrong label; there are probably more."
    )


def at_a_glance(found: Overview) -> None:
    """The gallery, and both charts: beside it where the gallery is short."""
    if len(found.class_names) <= FEW:
        left, right = st.columns([11, 9], gap="medium")
        with left:
            pictures(found)
        with right:
            balance_and_values(found, right, right)
    else:
        pictures(found)
        balance_and_values(found, *st.columns(2))


def balance_and_values(found: Overview, left: DeltaGenerator, right: DeltaGenerator) -> None:
    """Two charts with their sentences."""
    theme = st.context.theme.type
    with left:
        show_chart(
            balance_figure(found.class_names, found.counts_train, found.counts_heldout, theme=theme), key="balance"
        )
        smallest, largest = int(found.counts_train.min()), int(found.counts_train.max())
        each = f"{largest:,}" if smallest == largest else f"From {smallest:,} to {largest:,}"
        more = (
            f" The first {MOST_BARS} of {len(found.class_names)} classes." if len(found.class_names) > MOST_BARS else ""
        )
        st.caption(
            f"{each} images per class. Classes with far fewer images generate badly; classes "
            f"without held-out images cannot be evaluated.{more}"
        )
    with right:
        show_chart(values_figure(found.values, theme=theme), key="values")
        mean = ", ".join(f"{value:.1f}" for value in found.mean)
        deviation = ", ".join(f"{value:.1f}" for value in found.deviation)
        st.caption(
            f"Mean {mean}, standard deviation {deviation} of 255, on a logarithmic scale. Values bunched in one part "
            "mean low contrast. Comb-like gaps mean the images have few gray levels or were contrast-stretched."
        )


def sizes(found: Overview) -> None:
    """How large the originals are."""
    st.subheader("Sizes of the originals")
    total = int(found.sizes[:, 2].sum())
    if len(found.sizes) == 1:
        height, width, _ = found.sizes[0]
        st.markdown(f"All {total:,} images are {height} pixels high and {width} wide.")
        return
    shapes = np.repeat(found.sizes[:, :2], found.sizes[:, 2], axis=0)
    low, mid, high = (np.percentile(shapes.min(axis=1), share) for share in (0, 50, 100))
    rows = found.sizes[:8]
    frame = pd.DataFrame(
        {
            "height": rows[:, 0],
            "width": rows[:, 1],
            "images": rows[:, 2],
            "share": [f"{number / total:.1%}" for number in rows[:, 2]],
        }
    )
    st.dataframe(frame, hide_index=True, width="content")
    st.caption(
        f"{len(found.sizes):,} sizes; short side from {low:,.0f} to {high:,.0f} pixels, median {mid:,.0f}. "
        "Smaller than data.image_size: enlarged and soft. Larger: detail is lost."
    )


def transform(found: Overview, data: DataSettings) -> None:
    """Native pixels above what the models get, with the settings that decide."""
    st.subheader("What the transform does")
    cells = st.columns([3, 2, 2], vertical_alignment="bottom")
    start = data.image_size if data.image_size in SIZES else 32
    side = int(cells[0].select_slider("data.image_size", SIZES, value=start, key="transform-size"))
    fit = choose("data.fit", ("resize", "pad"), default=data.fit, key="transform-fit", cell=cells[1], in_url=False)
    color = choose("data.color", COLORS, default=data.color, key="transform-color", cell=cells[2], in_url=False)
    channels = {"native": found.channels, "gray": 1, "rgb": 3}[color]
    prepared = [
        fit_pictures(picture[None], image_size=side, fit=fit, channels=channels)[0] for picture in found.examples
    ]
    rows = [
        _beside("before", found.examples, [f"{picture.shape[0]} × {picture.shape[1]}" for picture in found.examples]),
        _beside("after", prepared, [f"{side} × {side}"] * len(prepared)),
    ]
    gallery(rows, key=f"transform-{found.name}", columns=False)
    st.caption("Above: as stored. Below: as the models get it. What you cannot recognize below, no model can learn.")


def _beside(label: str, images: Sequence[np.ndarray], titles: Sequence[str]) -> Row:
    found = tuple(
        shown(picture, zoom=PICTURE / picture.shape[0], title=title)
        for picture, title in zip(images, titles, strict=True)
    )
    return Row(label=label, pictures=found, note=titles[0] if len(set(titles)) == 1 else "")


def copies(found: Overview) -> None:
    """Exact and near copies: counts, examples, what counts."""
    st.subheader("Copies")
    same = found.duplicates
    cells = st.columns(4)
    cells[0].metric(
        "twice in train", count(same.within_train), help="Images that repeat an earlier one, pixel for pixel"
    )
    cells[1].metric("held out, and in train", count(same.across), help="Held-out images that are also in train")
    cells[2].metric("under two labels", count(same.conflicts), help="Same pixels, different class")
    cells[3].metric(
        "nearly the same",
        f"{same.near_train:,} + {same.near_across:,}",
        help="Within train, plus held-out images near one in train. Exact copies are not counted again.",
    )
    rows = []
    for kind, pair, labels, places in zip(
        same.pair_kinds, found.pair_pictures, found.pair_labels, same.pairs, strict=True
    ):
        words = " and ".join(dict.fromkeys(found.class_names[label] for label in labels))
        images = tuple(
            shown(picture, zoom=64 / picture.shape[0], title=f"{KINDS.get(kind, kind)}: {words}, image {place + 1}")
            for picture, place in zip(pair, places, strict=True)
        )
        rows.append(Row(label=kind, pictures=images, note=words))
    if rows:
        gallery(rows, key=f"copies-{found.name}")
    total = int(found.counts_train.sum() + found.counts_heldout.sum())
    searched = "" if same.searched == total else f" Near copies: searched among {same.searched:,} random images."
    st.caption(
        f"Held-out copies of training images make every quality figure look better than it is.{searched}",
        help=f"Exact: equal size and pixels. Near: reduced to {SIDE} × {SIDE} gray cells, at most {NEAR_RMS:.0f} "
        "of 255 apart (root mean square). A shifted copy does not count, and flat images can be near by "
        "chance.",
    )


def origin(entry: CatalogEntry) -> None:
    """Licence, source, and who brought it."""
    st.subheader("License and source")
    lines = [f"License: {escaped(entry.licence, 300)}", f"Source: {escaped(entry.source, 300)}"]
    if entry.imported:
        when = f"{ago(entry.imported.imported_at)} ({exactly(entry.imported.imported_at)})"
        lines.append(f"Imported by {escaped(entry.imported.imported_by)} {escaped(when)}")
    st.markdown("  \n".join(lines))
    st.caption(f"In the settings: `data.name={plain(entry.name)}`")


def reading_table(found: Reading) -> None:
    """What a folder or a file was taken for, as the command line says it."""
    lines = [f"**{what}:** {escaped(words, 400)}" for what, words in reading_lines(found)]
    st.markdown("  \n".join(lines))


def reading(entry: CatalogEntry, own: Reading | None) -> None:
    """What an import took, what it left out and why, and the way on to Train. own: of a path of one's own."""
    found = entry.imported
    if own is not None:
        reading_table(own)
    if found is not None:
        held = (
            f"{found.heldout_count:,} more in its own test split" if found.heldout_count else "no test split of its own"
        )
        color = "color" if found.channels == 3 else "gray"
        st.markdown(
            f"**Imported:** {count(found.train_count)} images, {held}, "
            f"{len(found.class_names):,} classes, {color}. {left_out_words(found)}"
        )
    icon = ":material/model_training:"
    st.page_link(page_file("train"), label="Train on it", query_params={"data": entry.name}, icon=icon)


def left_out_words(found: Imported) -> str:
    """'Left out: 3 .txt files, 1 hidden files and folders.'; how many other files there were, and of which kind."""
    if not found.left_out:
        return "Nothing was left out."
    kinds = [f"{number:,} {escaped(kind, 60)}" for kind, number in found.left_out_kinds]
    rest = found.left_out - sum(number for _, number in found.left_out_kinds)
    if rest > 0:
        kinds.append(f"{rest:,} {'other files' if kinds else 'files that are not images'}")
    return f"Left out, as they are not images of a class: {', '.join(kinds)}."
