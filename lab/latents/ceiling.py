"""Ceiling: what pictures are worth after this VAE alone, and what a line reads off its latents."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from core.evaluation.ceiling_results import Ceiling, ceiling_rows, in_words
from core.latent.inspection.overview import LatentOverview
from core.words import ago, count
from lab.frame.task_progress import outcome
from lab.latents import ceiling_service, vae_service
from lab.latents.vae_service import Chosen
from lab.latents.views_chart import probe_figure
from lab.widgets.chart import show_chart
from lab.words import escaped

COUNTS: Mapping[int, str] = {1000: "1,000 images", 10_000: "10,000 images"}


def show(chosen: Chosen, _found: LatentOverview) -> None:
    """The kept ceiling in figures and words, or the button that measures it."""
    if chosen.weights != "ema":
        st.markdown(
            "The ceiling is of the averaged weights, because a U-Net is trained on those. Choose the averaged "
            "checkpoint "
            "of this step."
        )
        return
    found = ceiling_service.known_ceiling(chosen)
    if found is None:
        st.markdown(
            "No U-Net generates better images than its VAE reconstructs. Measured once, the ceiling is stored with "
            "the run, "
            "and every evaluation on this VAE shows it beside its own figures."
        )
    else:
        _figures(found)
        _probes(found)
        with st.expander("Every figure and what it rests on"):
            st.dataframe(
                pd.DataFrame(ceiling_rows(found), columns=["metric", "value", "note"]), hide_index=True, width="stretch"
            )
    _measure(chosen, found)


def _figures(found: Ceiling) -> None:
    st.markdown(f"##### {escaped(in_words(found), 500)}")
    cells = st.columns(5)
    cells[0].metric(
        "Class accuracy",
        f"{found.class_accuracy:.2%}",
        help=f"95 % interval {found.class_accuracy_low:.2%} to {found.class_accuracy_high:.2%}; the untouched images "
        f"get {found.real_accuracy:.2%}.",
    )
    cells[1].metric(
        "FD-judge",
        f"{found.fd_judge:.3g}",
        help=f"Floor {found.fd_floor:.3g}: {count(found.fd_floor_count)} real held-out images against the same "
        f"{count(found.fd_reference_count)} training images.",
    )
    cells[2].metric("Precision / recall", f"{found.precision:.2f} / {found.recall:.2f}", help="arXiv 1904.06991")
    cells[3].metric("PSNR", f"{found.psnr:.1f} dB", help=f"± {2 * found.psnr_error:.2f} (2 standard errors)")
    cells[4].metric("SSIM", _ssim(found), help="Mean of the posterior means' reconstructions")
    st.caption(
        f"{count(found.num_pictures)} images, {found.decoded_in_words()}, measured "
        f"{ago(found.created_at)} with the judge and the functions of an evaluation. A U-Net's figures end "
        "near these. A ceiling far from the floor means: train a better VAE first.",
        help="Reconstructions limit what a U-Net can reach: arXiv 2112.10752, section 4.1.",
    )


def _ssim(found: Ceiling) -> str:
    return "–" if found.ssim is None else f"{found.ssim:.3f}"


def _probes(found: Ceiling) -> None:
    scores = {
        "latents, posterior samples": found.probe_samples,
        "latents, posterior means": found.probe_means,
        "raw pixels": found.probe_pixels,
    }
    bars = {name: (probe.accuracy, probe.low, probe.high) for name, probe in scores.items()}
    show_chart(probe_figure(bars, _chance(found), theme=st.context.theme.type), key="probe")
    st.caption(
        "A U-Net learns from samples. If they lie far below the means, the KL weight is too large and noise hides "
        "the class.",
        help=f"Logistic regression on {count(found.probe_pixels.num_train)} training images, tested on "
        f"{count(found.probe_pixels.num_test)} held-out ones, 95 % intervals. An image has "
        f"{count(found.probe_pixels.num_inputs)} pixels and {count(found.probe_samples.num_inputs)} latent "
        "numbers. KL weight and lost detail: arXiv 1610.01644.",
    )


def _chance(found: Ceiling) -> float:
    return 1.0 / max(found.num_classes, 1)


def _measure(chosen: Chosen, found: Ceiling | None) -> None:
    cells = st.columns([2, 2, 3], vertical_alignment="bottom")
    number = cells[0].selectbox("Measure over", list(COUNTS), format_func=COUNTS.__getitem__, key="ceiling-pictures")
    with cells[1]:
        pressed = st.button(
            "Measure the ceiling" if found is None else "Measure again over these",
            key="ceiling-measure",
            type="primary" if found is None else "secondary",
            help="About a minute per thousand images on a busy CPU; a minute more where the judge was never trained.",
        )
    name = f"ceiling-{number}"
    running = vae_service.running(chosen, "ceiling-")
    if pressed and running is None:
        running = vae_service.begin(chosen, name, ceiling_service.measure_ceiling(chosen, int(number)))
    if running is not None:
        outcome(running, "Measuring the ceiling, also when you leave this page")
        st.rerun()
