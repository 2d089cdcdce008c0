"""Map: where pictures lie in the latents, walks between two of them, neighbours, class means and directions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from core.latent.inspection.overview import LatentOverview
from core.latent.inspection.projection import PERPLEXITY, SEED, LatentMap
from core.latent.inspection.walks import share_of_same_class
from lab.latents import map_service
from lab.latents.map_service import COUNTS
from lab.latents.vae_service import Chosen
from lab.latents.verdict import pictures_of
from lab.latents.view_progress import answer
from lab.widgets.choice import choose
from lab.widgets.scatter import pack_cloud, scatter
from lab.widgets.scrubber import pack, scrubber
from lab.widgets.strip import strip_html
from lab.words import escaped, plain

KINDS: Mapping[str, str] = {"pca": "principal components", "tsne": "t-SNE"}
ALONG: Mapping[str, str] = {"channels": "channels", "directions": "principal directions"}
NEIGHBOURS = 8
PARAM = "points"
LITTLE = 0.5  # of the latents' deviation: less says that posterior noise rules
# of the theme, light and dark: ten that differ for every kind of colour vision
LIGHT = ("#2563EB", "#D97706", "#0D9488", "#CC2A1B", "#9B7DCD", "#883352", "#1E2A8C", "#6E519D", "#5C0300", "#3D1F49")
DARK = ("#6EA0FF", "#F0A83C", "#2DD4BF", "#DC692E", "#D4EA8D", "#AB7DA7", "#6CF7F7", "#994920", "#4158FA", "#6A588A")


def show(chosen: Chosen, about: LatentOverview) -> None:
    """The cloud, then what two picked pictures say."""
    kind, dimensions, number = _controls(about)
    found: LatentMap | None = answer(chosen, f"map-{number}", map_service.latent_map(chosen, number), "Opening the map")
    if found is None:
        return
    start, end = _picked(found)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _cloud(chosen, found, kind, dimensions, (start, end), pictures_of(about, len(found.labels)))
    with right:
        _walk(chosen, found, start, end)
    _neighbours(found, end)
    _class_means(chosen, found)
    _traversal(chosen, found, end)


def _controls(about: LatentOverview) -> tuple[str, int, int]:
    cells = st.columns([3, 1.6, 2.4], vertical_alignment="bottom")
    words = "Principal components preserve distances as far as a plane can; t-SNE preserves neighbors."
    kind = choose("Arranged by", KINDS, key="map", cell=cells[0], help=words)
    flat = choose("Shown", ["2-D", "3-D"], key="map-in", cell=cells[1])
    number = choose(
        "Images",
        COUNTS,
        default=COUNTS[1],
        key="map-of",
        cell=cells[2],
        words=lambda count: f"{count:,}",
        help=f"Of {pictures_of(about)}, always the same ones.",
    )
    return kind, 3 if flat == "3-D" else 2, number


def _picked(found: LatentMap) -> tuple[int, int]:
    """The two pictures in the link, else the two typical ones of the first and the last class."""
    try:
        start, end = (int(part) - 1 for part in st.query_params.get(PARAM, "").split("-"))
        if 0 <= start < len(found.labels) and 0 <= end < len(found.labels):
            return start, end
    except ValueError:
        pass
    return _typical(found, int(found.labels.min())), _typical(found, int(found.labels.max()))


def _typical(found: LatentMap, label: int) -> int:
    """The picture of a class that is nearest to its mean latent."""
    places = np.flatnonzero(found.labels == label)
    inside = found.latents[places].reshape(len(places), -1)
    return int(places[np.linalg.norm(inside - inside.mean(axis=0), axis=1).argmin()])


def _cloud(
    chosen: Chosen, found: LatentMap, kind: str, dimensions: int, picked: tuple[int, int], pictures: str
) -> None:
    if kind == "pca":
        positions = found.components.coordinates[:, :dimensions]
        if positions.shape[1] < dimensions:  # fewer numbers in a latent than dimensions asked
            positions = np.pad(positions, ((0, 0), (0, dimensions - positions.shape[1])))
    elif map_service.is_embedded(chosen, found, dimensions):
        positions = map_service.embedding(chosen, found, dimensions)
    else:
        arranged = answer(
            chosen,
            f"t-sne-{len(found.labels)}-{dimensions}",
            lambda tell, _: map_service.embedding(chosen, found, dimensions, tell),
            "Once for this VAE and these images",
        )
        if arranged is None:
            return
        positions = arranged

    def pick(number: int) -> None:
        st.query_params[PARAM] = f"{picked[1] + 1}-{number + 1}"

    colors = DARK if st.context.theme.type == "dark" else LIGHT
    names = [plain(name, 14) for name in found.class_names]
    payload = pack_cloud(positions, found.labels, found.images, names, picked=picked, colors=colors)
    scatter(payload, key="cloud", on_pick=pick)
    turned = "Drag to turn. " if dimensions == 3 else ""
    st.caption(
        f"{pictures}: hover to see one, click to pick it; the last two picked are A and B. {turned}"
        f"{_reading(found, kind)}",
        help="t-SNE: van der Maaten and Hinton 2008." if kind == "tsne" else "Principal components: Pearson 1901.",
    )


def _reading(found: LatentMap, kind: str) -> str:
    if kind == "tsne":
        small = min(PERPLEXITY, (len(found.labels) - 1) / 3)
        words = (
            f"t-SNE (perplexity {small:g}, seed {SEED}): neighbors mean something; distances between islands and "
            "their sizes do not. Islands of one color are good."
        )
    else:
        shares = found.components.shares
        words = (
            f"The first two components hold {shares[:2].sum():.0%} of the variance, the first three "
            f"{shares[:3].sum():.0%}. Overlap is normal: a plane hides most. A cloud on a line means that the VAE "
            "uses few directions."
        )
    if found.spread < LITTLE:
        words += (
            f" **The map magnifies noise: these means vary by {found.spread:.2g} only, and a U-Net sees a "
            "standard deviation of 1.**"
        )
    return words


def _walk(chosen: Chosen, found: LatentMap, start: int, end: int) -> None:
    names = [plain(found.class_names[int(found.labels[each])], 14) for each in (start, end)]
    layers = map_service.walk_pictures(chosen, found, start, end)
    frames = len(layers[0])
    shares = [f"{100 * place / (frames - 1):.0f} % of the way from {names[0]} to {names[1]}" for place in range(frames)]
    st.markdown(f"##### From A, {escaped(names[0])}, to B, {escaped(names[1])}")
    scrubber(
        pack(
            layers,
            shares,
            columns=1,
            zoom=max(1, round(170 / layers[0].shape[3])),
            captions=["Straight line", "Great circle"],
            first=frames // 2,
        ),
        key="walk",
    )
    ends, middle, distance = map_service.walk_lengths(found, start, end)
    st.caption(
        "Every image between A and B should be plausible. A gray or doubled image in the middle means holes "
        "between classes.",
        help=f"The straight line's middle has norm {_short(middle)}, its ends {_short(ends)}, "
        f"at a distance of {_short(distance)}. The great circle preserves the norm (arXiv 1609.04468).",
    )


def _short(value: float) -> str:
    """One decimal, or two figures of what is less than 1."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _neighbours(found: LatentMap, index: int) -> None:
    st.markdown("##### What lies nearest to B")
    others, distances = map_service.neighbours(found, index, NEIGHBOURS)
    frames = found.images[np.concatenate([[index], others])]
    name = plain(found.class_names[int(found.labels[index])], 10)
    heads = [f"B: {name}"]
    heads += [
        f"{plain(found.class_names[int(found.labels[each])], 10)} · {_short(distance)}"
        for each, distance in zip(others, distances, strict=True)
    ]
    st.html(strip_html([("", frames)], heads))
    same = share_of_same_class(found.labels, index, others)
    st.caption(
        f"{round(same * len(others))} of {len(others)} have B's class; the number is the distance over all "
        "channels and sites. Neighbors should look alike."
    )


def _class_means(chosen: Chosen, found: LatentMap) -> None:
    st.markdown("##### The mean of each class")
    decoded, pixels = map_service.mean_pictures(chosen, found)
    shown, of = len(decoded), len(found.class_names)
    heads = [plain(name, 10) for name in found.class_names[:shown]]
    st.html(strip_html([("of latents, decoded", decoded), ("of pixels", pixels)], heads))
    more = f" The first {shown} of {of} classes." if shown < of else ""
    st.caption(
        "A sharp decoded mean: the class is one region of the latents. One as blurred as the mean of pixels: "
        f"the latents are little more than shrunken images.{more}"
    )


def _traversal(chosen: Chosen, found: LatentMap, start: int) -> None:
    cells = st.columns([2, 3], vertical_alignment="bottom")
    cells[0].markdown("##### From B along one direction")
    along = choose("Along", ALONG, key="along", cell=cells[1], label_shown=False)
    frames = map_service.traversal(chosen, found, start, along)
    if along == "channels":
        heads = [f"channel {place + 1}" for place in range(frames.shape[1])]
    else:
        heads = [f"{place + 1}: {share:.0%}" for place, share in enumerate(found.components.shares)]
    scrubber(
        pack(
            [frames],
            [f"{value:+.2f} deviations" for value in map_service.DEVIATIONS],
            columns=frames.shape[1],
            zoom=max(1, round(640 / (frames.shape[1] * frames.shape[3]))),
            heads=heads,
            captions=["Moved, decoded"],
            first=len(frames) // 2,
        ),
        key="traversal",
    )
    st.caption(
        "A channel moves at every site at once, a principal direction (with its share of the variance) as the images "
        "vary together. Good ones change one thing smoothly; no change at all is a direction that the decoder ignores, "
        "sudden ruin one that images never leave."
    )
