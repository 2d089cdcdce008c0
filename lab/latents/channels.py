"""Channels: what each latent channel looks like, carries and repeats, and how it is scaled for the U-Net."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.latent.inspection.overview import LatentOverview
from core.latent.inspection.statistics import EDGES, ChannelStatistics
from core.words import count
from lab.latents import vae_service
from lab.latents.latents_chart import channel_bars, correlation_figure, histogram_figure
from lab.latents.pictures_view import wide
from lab.latents.vae_service import Chosen
from lab.latents.verdict import pictures_of
from lab.widgets.chart import show_chart
from lab.widgets.choice import choose
from lab.widgets.latent_colors import bar, diverging, symmetric_limit
from lab.widgets.pictures import png
from lab.widgets.strip import strip_html
from lab.words import escaped, plain

AS = {"scaled": "As the U-Net gets them", "raw": "Raw, as the encoder gives them"}
MOST_MAPS = 8
PICTURES = 5
MOST_LINES = 6


def show(chosen: Chosen, found: LatentOverview) -> None:
    """Maps, numbers, histograms, what a channel carries, correlation, scaling."""
    kind = choose(
        "Latents",
        AS,
        key="latents-as",
        help="Raw latents are what diffusion would get if the scaling were left out: compare the "
        "two to see what scaling does.",
    )
    scaled = kind == "scaled"
    stats = found.scaled if scaled else found.raw
    _maps(found, scaled=scaled)
    _numbers(found, stats)
    _histograms(found, stats)
    left, right = st.columns(2)
    with left:
        show_chart(channel_bars(stats.kl, stats.active, stats.units, theme=st.context.theme.type), key="kl")
        st.caption(
            "KL divergence of the posterior from N(0, 1), per image. A channel near 0 has collapsed: it carries "
            "nothing.",
            help="KL: arXiv 1312.6114. Active values have a posterior mean that varies between images by more than "
            "0.01: arXiv 1509.00519.",
        )
    with right:
        show_chart(correlation_figure(stats.correlation, theme=st.context.theme.type), key="correlation")
        st.caption(
            "Pearson's r of the posterior means over all images and places. Near ±1 two channels say the same, "
            "and fewer latent channels would do."
        )
    _scaling(found)


def _maps(found: LatentOverview, *, scaled: bool) -> None:
    """Posterior mean and deviation of a few pictures, every map on the same symmetric scale."""
    theme = st.context.theme.type
    chosen = found.one_a_class(PICTURES)
    mean, std = found.maps(chosen, scaled=scaled)
    shown = min(MOST_MAPS, mean.shape[1])
    limit = symmetric_limit(np.concatenate([mean.ravel(), std.ravel()]))
    limit = max(round(limit, 1), 0.1)
    images = np.asarray(found.images[chosen])
    rows: list[tuple[str, list[np.ndarray]]] = []
    for place, index in enumerate(chosen):
        name = plain(found.subject.class_names[int(found.labels[index])], 12)
        frames = [images[place]]
        for values in (mean[place, :shown], std[place, :shown]):
            frames += list(diverging(values, limit=limit, theme=theme))
        rows.append((name, frames))
    heads = ["image", *(f"mean {k + 1}" for k in range(shown)), *(f"dev. {k + 1}" for k in range(shown))]
    st.html(wide(strip_html(rows, heads)))
    cells = st.columns([1.2, 5], vertical_alignment="center")
    cells[0].image(png(bar(theme=theme, width=160, height=8)), width=160, alt="Color scale")
    cells[1].caption(
        f"−{limit:g} (blue) to +{limit:g} (red), one scale for every map. Good means show the shape of the "
        "image, with small and even standard deviations. Flat means with standard deviations of 1 are a "
        "collapsed channel." + (f" The first {shown} of {mean.shape[1]} channels." if shown < mean.shape[1] else "")
    )


def _numbers(found: LatentOverview, stats: ChannelStatistics) -> None:
    table = [
        {
            "channel": place + 1,
            "mean": round(float(stats.mean[place]), 3),
            "deviation": round(float(stats.deviation[place]), 3),
            "of means": round(float(stats.deviation_of_means[place]), 3),
            "of posterior": round(float(stats.posterior_deviation[place]), 3),
            "skew": round(float(stats.skew[place]), 2),
            "kurtosis": round(float(stats.kurtosis[place]), 2),
            "KL, nats": round(float(stats.kl[place]), 2),
            "active": f"{int(stats.active[place])} of {stats.units}",
        }
        for place in range(stats.num_channels)
    ]
    st.dataframe(table, hide_index=True, height=min(330, 36 * (len(table) + 1)))
    st.caption(
        f"Over {pictures_of(found)}. The schedule assumes mean 0 and standard deviation 1.",
        help="The standard deviation is that of posterior samples, which the U-Net trains on: √(of means² + of "
        "posterior²). Kurtosis is the excess over a Gaussian's. Scaling: arXiv 2112.10752, appendix G.",
    )


def _histograms(found: LatentOverview, stats: ChannelStatistics) -> None:
    middles = (EDGES[1:] + EDGES[:-1]) / 2
    lines = []
    for place in range(min(MOST_LINES, stats.num_channels)):
        deviation = max(float(stats.deviation_of_means[place]), 1e-6)
        x = stats.mean[place] + middles * deviation
        lines.append((f"channel {place + 1}", x, found.histograms[place] / deviation))
    span = float(np.clip(4 * max(1.0, np.nanmax(stats.deviation) + np.abs(stats.mean).max()), 4, 1e4))
    show_chart(histogram_figure(lines, theme=st.context.theme.type, span=span), key="histograms")
    more = f" The first {MOST_LINES} of {stats.num_channels} channels." if stats.num_channels > MOST_LINES else ""
    st.caption(
        "Noise ends as N(0, 1), so latents that start about as wide waste no timestep. A spike at 0 is a collapsed "
        f"channel; a curve much wider, narrower or shifted is unscaled (arXiv 2112.10752, appendix G).{more}"
    )


def _scaling(found: LatentOverview) -> None:
    """What a U-Net does to the latents first, where that comes from, and how far other pictures would move it."""
    st.markdown("##### Scaling and shift")
    own, spread = found.subject.scaling, found.spread
    measured_shift, measured_scale = found.measured_scaling
    others = [] if own else vae_service.scalings_of_children(found.subject)
    table = []
    for place in range(found.raw.num_channels):
        row: dict[str, object] = {"channel": place + 1}
        if own:
            row |= {"shift in use": round(own[0][place], 4), "scale in use": round(own[1][place], 4)}
        row |= {
            "shift, held-out": round(float(measured_shift[place]), 4),
            "± (deviations)": round(float(spread.shift_error[place]), 4),
            "scale, held-out": round(float(measured_scale[place]), 4),
            "± %": round(100 * float(spread.scale_error[place]), 3),
            "halves: shift": round(float(spread.half_shift[place]), 4),
            "halves: scale %": round(100 * float(spread.half_scale[place]), 2),
        }
        for name, (shift, scale) in others:
            row |= {f"shift of {name}": round(shift[place], 4), f"scale of {name}": round(scale[place], 4)}
        table.append(row)
    st.dataframe(table, hide_index=True, height=min(330, 36 * (len(table) + 1)))
    if own:
        origin = "In use is what this U-Net run measured over its training set and stores in its codec file."
    elif others:
        names = ", ".join(escaped(name, 40) for name, _ in others)
        origin = f"A VAE run has no scaling; what {names} use was measured over their training set."
    else:
        origin = "A VAE run has no scaling until a U-Net run measures one over its training set; this one is over the "
        origin += "held-out images, in the same way."
    st.caption(
        f"{origin} ± is one standard error over {count(200)} bootstrap sets of images; the halves are the first "
        "against the second half of the held-out set. Below 1 % and 0.05 the scaling is stable; halves that differ by "
        "more say that the set is ordered, or too small."
    )
