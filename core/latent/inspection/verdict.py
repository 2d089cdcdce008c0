"""Is this VAE good enough to diffuse in? One word, one sentence, and the rules it was judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.latent.inspection.overview import LatentOverview

Word = Literal["good", "collapsed", "partly collapsed", "blurred", "unscaled"]

COLLAPSED_EXPLAINED = 0.2
COLLAPSED_ACTIVE = 0.1
BLURRED_EXPLAINED = 0.9
UNSCALED_DEVIATION = 2.0
UNSCALED_MEAN = 0.5

RULES: tuple[tuple[Word, str, str], ...] = (
    (
        "collapsed",
        f"less than {COLLAPSED_EXPLAINED:.0%} of the images' variance comes back, or less than "
        f"{COLLAPSED_ACTIVE:.0%} of the latent values are active",
        "Active: the posterior mean varies between images by more than 0.01 (arXiv 1509.00519, section 5.2). "
        "Collapse: arXiv 1511.06349, section 3. The two shares are ours.",
    ),
    (
        "partly collapsed",
        "a channel has no active value, so the U-Net denoises it in vain",
        "arXiv 1509.00519, section 5.2",
    ),
    (
        "blurred",
        f"less than {BLURRED_EXPLAINED:.0%} of the variance comes back: nothing the U-Net generates can be sharper",
        "A convention of ours. Stable Diffusion's VAE has a PSNR of 23.4 dB on COCO (model card of "
        "sd-vae-ft-ema). MNIST reaches more because most of it is black.",
    ),
    (
        "unscaled",
        f"after scaling, a channel's standard deviation is not within 1/{UNSCALED_DEVIATION:g} to "
        f"{UNSCALED_DEVIATION:g}, or its mean is more than {UNSCALED_MEAN:g} from 0. The noise level at every "
        "t is then off by the deviation squared",
        "arXiv 2112.10752, appendix G; scaling the input is another schedule: arXiv 2301.10972. The "
        "limits are ours: a factor of 4 in signal to noise.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """word: which rule applied, the first of RULES or 'good'. sentence: why, with the numbers, and what to do."""

    word: Word
    sentence: str
    psnr: float
    explained: float
    kl: float
    kl_per_value: float
    active_share: float
    deviation: tuple[float, float]
    raw_deviation: tuple[float, float]
    largest_mean: float
    num_pictures: int


def judge(overview: LatentOverview) -> Verdict:
    """The verdict over an overview; rules are tried in the order of RULES."""
    scaled, raw = overview.scaled, overview.raw
    deviation = (float(scaled.deviation.min()), float(scaled.deviation.max()))
    raw_deviation = (float(raw.deviation.min()), float(raw.deviation.max()))
    largest = float(np.abs(scaled.mean).max())
    kl = float(raw.kl.sum())
    silent = [place for place, active in enumerate(raw.active) if active == 0]
    explained, share, psnr = overview.explained, raw.active_share, overview.psnr
    word: Word = "good"
    if explained < COLLAPSED_EXPLAINED or share < COLLAPSED_ACTIVE:
        word = "collapsed"
        back = f"{max(0.0, explained):.0%} of the images' variance comes back"
        if explained < COLLAPSED_EXPLAINED:
            back += ": every image is decoded to nearly the same"
        if share < COLLAPSED_ACTIVE:
            sentence = f"Only {share:.0%} of the latent values say anything about the image, and {back}. Train again "
            sentence += "with a lower KL weight."
        else:
            sentence = f"Only {back}, although its latents differ. Train longer, or again with a lower KL weight."
    elif silent:
        word = "partly collapsed"
        names = ", ".join(str(place + 1) for place in silent)
        sentence = (
            f"Channel{'s' if len(silent) > 1 else ''} {names} of {raw.num_channels} carry nothing. Use fewer "
            "latent channels, a lower KL weight or free bits."
        )
    elif explained < BLURRED_EXPLAINED:
        word = "blurred"
        sentence = (
            f"Only {explained:.0%} of the images' variance comes back, and no U-Net can be sharper than its VAE. "
            "Train longer, or with more latent channels."
        )
    elif deviation[0] < 1 / UNSCALED_DEVIATION or deviation[1] > UNSCALED_DEVIATION or largest > UNSCALED_MEAN:
        word = "unscaled"
        worst = max(deviation[1], 1 / deviation[0])
        sentence = (
            f"The U-Net gets latents with a standard deviation of {span(deviation)} and a mean up to "
            f"{largest:.2f} from 0. The schedule assumes 1 and 0, so the signal-to-noise ratio is off by up to "
            f"{worst**2:,.3g} times. Train the U-Net again with the measured scaling."
        )
    else:
        own = overview.subject.scaling is not None
        sentence = (
            f"{explained:.0%} of the images' variance comes back, all {raw.num_channels} channels carry something, "
            + (
                "and the scaling in use fits the schedule."
                if own
                else f"and a U-Net run will scale their standard deviation of {span(raw_deviation)} to 1."
            )
        )
    return Verdict(
        word=word,
        sentence=sentence,
        psnr=psnr,
        explained=explained,
        kl=kl,
        kl_per_value=kl / (raw.units * raw.num_channels),
        active_share=share,
        deviation=deviation,
        raw_deviation=raw_deviation,
        largest_mean=largest,
        num_pictures=len(overview.labels),
    )


def figures(overview: LatentOverview) -> list[tuple[str, float, str]]:
    """(figure with its unit, value, which way is better) of one VAE, in the order in which people decide."""
    verdict = judge(overview)
    return [
        ("PSNR, dB", verdict.psnr, "higher"),
        ("SSIM", overview.mean_ssim, "higher"),
        ("variance that comes back", verdict.explained, "higher"),
        ("KL, nats per image", verdict.kl, ""),
        ("share of active values", verdict.active_share, "higher"),
        ("smallest deviation a channel, as the U-Net gets it", verdict.deviation[0], "1"),
        ("largest deviation a channel, as the U-Net gets it", verdict.deviation[1], "1"),
        ("smallest raw deviation", verdict.raw_deviation[0], ""),
        ("largest raw deviation", verdict.raw_deviation[1], ""),
    ]


def span(values: tuple[float, float]) -> str:
    """(0.85, 1.13) → '0.85 to 1.13'; '1.00' where both ends read the same."""
    low, high = (f"{value:,.3g}" if value >= 10 else f"{value:.2f}" for value in values)
    return low if low == high else f"{low} to {high}"
