"""Pictures: what goes into the VAE, what comes out, and where that differs."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.latent.inspection.overview import LatentOverview
from core.latent.inspection.statistics import psnr_of
from lab.frame.deferred_render import later
from lab.latents.latents_chart import class_figure
from lab.latents.vae_service import Chosen
from lab.latents.verdict import decibels, pictures_of
from lab.widgets.chart import show_chart
from lab.widgets.latent_colors import bar, diverging
from lab.widgets.pictures import png
from lab.widgets.strip import strip_html
from lab.words import plain

SHOWN = 10
CLASSES_HIGH = 460
ERROR_LIMIT = 0.5


def show(_chosen: Chosen, found: LatentOverview) -> None:
    """A picture of each class, the worst ones, and quality by class."""
    st.html(wide(strip(found, found.one_a_class(SHOWN))))
    _scale()
    st.markdown("##### Worst first")
    names = ["all classes", *(plain(name, 30) for name in found.subject.class_names)]
    cells = st.columns([2, 5], vertical_alignment="bottom")
    place = cells[0].selectbox(
        "Class",
        range(len(names)),
        format_func=names.__getitem__,
        key="worst-class",
        help="The held-out images of this class with the largest error",
    )
    order = found.worst(len(found.labels))
    if place:
        order = order[found.labels[order] == place - 1]
    if not len(order):
        st.caption("No held-out image of this class.")
    else:
        st.html(wide(strip(found, order[:SHOWN])))
    st.caption(
        "The U-Net cannot restore what is missing (blue) or remove what is invented (red). A few odd images "
        "are normal; whole classes are not."
    )
    if later("latents", CLASSES_HIGH):
        _by_class(found)


def wide(table: str) -> str:
    """A strip of pictures as wide as the page."""
    return f'<div class="lab-latents">{table}</div>'


def strip(found: LatentOverview, chosen: np.ndarray) -> str:
    """Original, reconstruction and signed error as a table, a column a picture with its class and PSNR."""
    images, back = np.asarray(found.images[chosen]), np.asarray(found.reconstructions[chosen])
    names = [plain(found.subject.class_names[int(label)], 12) for label in found.labels[chosen]]
    heads = [
        f"{name} · {decibels(float(psnr_of(found.squared_error[index])))}"
        for name, index in zip(names, chosen, strict=True)
    ]
    return strip_html([("original", images), ("reconstruction", back), ("error", error_colors(images, back))], heads)


def error_colors(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Reconstruction minus original (N, H, W, C) uint8 → RGB (N, H, W, 3), half the range each way."""
    error = (reconstructions.astype(np.float32) - images).mean(axis=3) / 255.0
    return diverging(error, limit=ERROR_LIMIT, theme=st.context.theme.type)


def _scale() -> None:
    cells = st.columns([1.2, 5], vertical_alignment="center")
    cells[0].image(png(bar(theme=st.context.theme.type, width=160, height=8)), width=160, alt="Color scale")
    cells[1].caption(
        "Error, reconstruction minus original: −½ of the range (blue) to +½ (red), the same for every VAE. A good VAE "
        "leaves thin outlines; a collapsed one leaves the whole digit, because it decodes every image to the same."
    )


def _by_class(found: LatentOverview) -> None:
    rows = found.by_class()
    left, right = st.columns([3, 2])
    with left:
        show_chart(class_figure(found.psnr_quantiles(), theme=st.context.theme.type), key="psnr-by-class")
        st.caption(
            "Half of a class's images lie in its box, 90 % between the whiskers. The U-Net generates a class far "
            "below the others worse, too."
        )
    with right:
        table = [
            {"class": plain(name, 40), "images": number, "PSNR, dB": round(psnr, 2), "SSIM": round(ssim, 4)}
            for name, number, psnr, ssim in rows
        ]
        table.insert(
            0,
            {
                "class": "all",
                "images": len(found.labels),
                "PSNR, dB": round(found.psnr, 2),
                "SSIM": round(found.mean_ssim, 4),
            },
        )
        st.dataframe(table, hide_index=True, height=min(420, 38 * (len(table) + 1)))
        st.caption(
            f"{pictures_of(found)}. SSIM compares structure instead of pixels; 1 is a perfect copy.",
            help="PSNR = 10 log₁₀(255² / mean squared error); of a class, that of its mean error. SSIM: Wang et al. "
            "2004, 11 × 11 Gaussian window.",
        )
