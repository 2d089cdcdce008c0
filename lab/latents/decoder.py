"""Decoder: how much noise it survives, and how it treats detail, shifts and single latent numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from core.latent.inspection.decoder_results import NoisyStrip, Survived, Traits
from core.latent.inspection.overview import LatentOverview
from core.words import count
from lab.latents import ceiling_service, decoder_service
from lab.latents.vae_service import Chosen
from lab.latents.verdict import pictures_of
from lab.latents.view_progress import answer
from lab.latents.views_chart import equivariance_figure, sensitivity_figure, spectrum_figure, survival_figure
from lab.widgets.chart import show_chart
from lab.widgets.scrubber import pack, scrubber
from lab.widgets.url_selectbox import pick
from lab.words import escaped, plain

SCHEDULES: Mapping[str, str] = {
    "flow": "flow matching, the straight path",
    "cosine": "cosine",
    "linear": "linear",
    "scaled_linear": "scaled linear",
    "sigmoid": "sigmoid of β",
}
MOST_MAPS = 4


def show(chosen: Chosen, found: LatentOverview) -> None:
    """Survival first; spectrum, equivariance and sensitivity under it."""
    _survival(chosen, found)
    st.divider()
    _traits(chosen, found)


def _survival(chosen: Chosen, about: LatentOverview) -> None:
    own = chosen.view.run.settings.diffusion.schedule
    names = {"own": f"{SCHEDULES.get(own, own)} (as the run is set)"}
    names |= {name: words for name, words in SCHEDULES.items() if name != own}
    cells = st.columns([2, 3], vertical_alignment="bottom")
    with cells[0]:
        schedule = pick("Noise schedule", names, "schedule", help="How noise enters with t: the U-Net must undo it.")
    known = ceiling_service.judge_is_known(chosen)
    judged = known
    if not known:
        asked = f"judge-{chosen.view.id}"
        with cells[1]:
            if st.button("Judge the images too", help="Trains a small classifier once for this dataset, a minute."):
                st.session_state[asked] = True
        judged = bool(st.session_state.get(asked))
    found: Survived | None = answer(
        chosen,
        f"survived-{schedule}-{judged}",
        decoder_service.survived(chosen, schedule, judged=judged),
        "What the decoder survives",
    )
    if found is None:
        return
    st.markdown(f"##### {escaped(found.words, 500)}")
    values, strip = found.survival, found.strip
    show_chart(
        survival_figure(
            values.t,
            values.psnr,
            values.accuracy,
            strip.log_snr,
            alone=found.alone,
            lost=found.lost,
            chance=found.chance,
            theme=st.context.theme.type,
        ),
        key="survival",
    )
    judge = "the share that the judge still names right, and " if values.accuracy else ""
    st.caption(
        f"{pictures_of(about, values.num_pictures)} with the same noise at every t: {judge}PSNR against the "
        "real image. A wide plateau on the left is good: the U-Net need not work there.",
        help="A curve that falls at once: the decoder takes noise for detail. One that is low from the start: the VAE "
        "preserves nothing. Which noise decides what: arXiv 2204.00227.",
    )
    _strip(strip, found.class_names)


def _strip(strip: NoisyStrip, class_names: tuple[str, ...]) -> None:
    frames = strip.pictures
    levels = list(zip(strip.t, strip.log_snr, strict=True))[1:]
    labels = ["no noise", *(f"t = {t:,}, log-SNR {value:.1f}" for t, value in levels)]
    heads = [plain(class_names[label], 10) for label in strip.labels]
    scrubber(
        pack(
            [frames],
            labels,
            columns=frames.shape[1],
            zoom=max(1, round(900 / (frames.shape[1] * frames.shape[3]))),
            heads=heads,
            captions=["The decoder's image of noisy latents, without a U-Net"],
            first=int(np.searchsorted(strip.t, strip.t[-1] * 0.4)),
        ),
        key="survival-strip",
    )
    st.caption("Drag until you cannot name an image any more: from there on the U-Net has to invent it.")


def _traits(chosen: Chosen, about: LatentOverview) -> None:
    found: Traits | None = answer(chosen, "traits", decoder_service.traits(chosen), "Detail, shifts and single numbers")
    if found is None:
        return
    st.caption(f"On {pictures_of(about, found.num_pictures)}, always the same.")
    theme = st.context.theme.type
    left, right = st.columns(2)
    with left:
        show_chart(
            spectrum_figure(
                [
                    ("latents", found.latents.frequency, found.latents.power),
                    ("images", found.pictures.frequency, found.pictures.power),
                ],
                theme=theme,
            ),
            key="spectrum",
        )
        st.caption(
            f"{found.latents.high_share:.0%} of the latents' varying energy lies in the upper half of their "
            f"frequencies, {found.pictures.high_share:.0%} of the images' (white noise: "
            f"{found.latents.flat_share:.0%}). Latents that fall like images are easy to learn. A flat line looks "
            "like noise.",
            help="Diffusion generates coarse structure first. Radial DCT: arXiv 2502.14831.",
        )
    with right:
        show_chart(
            equivariance_figure(
                [each.name for each in found.equivariance],
                [each.error for each in found.equivariance],
                [each.standard_error for each in found.equivariance],
                found.equivariance[0].unrelated,
                theme=theme,
            ),
            key="equivariance",
        )
        st.caption(
            f"At 0, moving the image moves its latents alike. One site is {found.downsample_factor} pixels. Near "
            "the dotted line, the U-Net must learn every position anew.",
            help="The dotted line is the distance to the latents of an unrelated image (arXiv 2502.09509).",
        )
    _sensitivity(found)


def _sensitivity(found: Traits) -> None:
    measured = found.sensitivity
    channels = measured.norms
    maps = np.concatenate([measured.by_site[None], channels[:MOST_MAPS]])
    names = ["all channels", *(f"channel {place + 1}" for place in range(len(maps) - 1))]
    step = measured.stride
    show_chart(sensitivity_figure(maps[:, ::step, ::step], names, theme=st.context.theme.type), key="sensitivity")
    by_channel = measured.by_channel
    strongest, weakest = int(by_channel.argmax()), int(by_channel.argmin())
    more = f" The first {MOST_MAPS} of {len(channels)} channels." if len(channels) > MOST_MAPS else ""
    st.caption(
        f"Norm of the decoder's Jacobian at each latent, in gray levels (root of the sum over pixels), over "
        f"{count(measured.num_pictures)} images. Channel {strongest + 1} moves the image most "
        f"({by_channel[strongest]:.0f}), channel {weakest + 1} least ({by_channel[weakest]:.0f}): an error of the "
        f"U-Net "
        f"costs as much there. A channel near 0 is one the decoder ignores; all near 0, a collapsed VAE (arXiv "
        f"1711.08014).{more}"
    )
