"""The first thing seen of a VAE: one word, one sentence, three numbers, and how they are judged."""

from __future__ import annotations

import math

import streamlit as st

from core.latent.inspection.overview import LatentOverview
from core.latent.inspection.verdict import RULES, Verdict, judge, span
from core.words import count
from lab.words import escaped

LOOKS = {
    "good": ("green", "check_circle"),
    "partly collapsed": ("orange", "layers_clear"),
    "blurred": ("orange", "blur_on"),
    "unscaled": ("orange", "straighten"),
    "collapsed": ("red", "layers_clear"),
}


def verdict_line(found: LatentOverview) -> Verdict:
    """Word and sentence, then reconstruction, KL and scale."""
    verdict = judge(found)
    color, icon = LOOKS[verdict.word]
    st.markdown(f"##### :{color}-badge[:material/{icon}: {verdict.word.capitalize()}] {escaped(verdict.sentence, 500)}")
    cells = st.columns([1, 1, 1, 0.9], vertical_alignment="top")
    with cells[0]:
        st.metric(
            "Reconstruction (PSNR)",
            decibels(verdict.psnr),
            help="Peak signal-to-noise ratio of all held-out "
            "images against their reconstructions, from the posterior mean; higher is better.",
        )
        ssim = "" if math.isnan(found.mean_ssim) else f", SSIM {found.mean_ssim:.3f}"
        st.caption(f"{max(0.0, verdict.explained):.1%} of the variance comes back{ssim}")
    with cells[1]:
        st.metric(
            "KL divergence",
            nats(verdict.kl),
            help="How much an image's posterior says beyond N(0, 1), mean over images. Near 0 they say nothing.",
        )
        st.caption(f"{verdict.kl_per_value:.2f} per latent value; {verdict.active_share:.0%} of the values are active")
    with cells[2]:
        st.metric(
            "Scale",
            span(verdict.deviation),
            help="Standard deviation of a channel's latents as the U-Net gets them. The noise schedule assumes 1.",
        )
        origin = "by this U-Net's own scaling" if found.subject.scaling else "once a U-Net run scales them"
        st.caption(f"{origin}; raw {span(verdict.raw_deviation)}")
    with cells[3].popover("How this is judged", type="tertiary"):
        st.markdown("The first rule that applies gives the verdict. If none applies, the VAE is good.")
        for word, rule, source in RULES:
            look, sign = LOOKS[word]
            st.markdown(f":{look}-badge[:material/{sign}: {word.capitalize()}] {escaped(rule, 500)}.")
            st.caption(escaped(source, 500))
        st.caption(f"Measured on {pictures_of(found)}.")
    return verdict


def pictures_of(found: LatentOverview, shown: int | None = None) -> str:
    """'10,000 held-out pictures', '10,000 of 26,032 held-out pictures'. shown: of a view that looks at fewer."""
    shown, there = len(found.labels) if shown is None else shown, found.subject.num_heldout
    return f"{count(shown)} of {count(there)} held-out images" if shown < there else f"{count(shown)} held-out images"


def nats(value: float) -> str:
    """'370 nats', '3,390 nats', '0.0 nats'."""
    return f"{value:,.0f} nats" if value >= 10 else f"{value:.1f} nats"


def decibels(value: float) -> str:
    """'28.2 dB'; '∞' for a perfect copy."""
    return f"{value:.1f} dB" if math.isfinite(value) else "∞ dB"
