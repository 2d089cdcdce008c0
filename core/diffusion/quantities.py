"""What a noise schedule means, quantity by quantity: each with its formula, its source and a sentence for a person.

Light: `core.diffusion.schedule_table` computes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEAK = 0.01  # √alpha_bar_T above this: a hundredth of the picture's amplitude is left where sampling starts from none


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One column of `schedule_table`. formula: LaTeX. log_axis: spans decades, so draw it on a log axis."""

    key: str
    title: str
    symbol: str
    formula: str
    meaning: str
    source: str
    log_axis: bool = False


_ALL = (
    Quantity(
        key="alpha_bar",
        title="Share of signal",
        symbol="ᾱ",
        formula=r"\bar\alpha_t = \prod_{s \le t} (1 - \beta_s)",
        meaning="How much of the variance of the noisy image is still the image: 1 is clean, 0 is noise only.",
        source="arXiv 2006.11239, eq. 4; for flow matching (1−σ)² / ((1−σ)² + σ²)",
    ),
    Quantity(
        key="beta",
        title="Noise added in one step",
        symbol="β",
        formula=r"q(x_t \mid x_{t-1}) = \mathcal{N}("
        r"\sqrt{1 - \beta_t}\,x_{t-1},\; \beta_t I)",
        meaning="The variance of the fresh noise at step t; a schedule is a choice of these numbers.",
        source="arXiv 2006.11239, eq. 2",
        log_axis=True,
    ),
    Quantity(
        key="signal_scale",
        title="Weight of the image",
        symbol="√ᾱ",
        formula=r"x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1 - \bar\alpha_t}\,\varepsilon",
        meaning="What the clean image is multiplied by; at the last step it should be 0, else the image leaks.",
        source="arXiv 2006.11239, eq. 4; for flow matching 1 − σ, arXiv 2209.03003",
    ),
    Quantity(
        key="noise_scale",
        title="Weight of the noise",
        symbol="√(1−ᾱ)",
        formula=r"x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1 - \bar\alpha_t}\,\varepsilon",
        meaning="What the noise is multiplied by.",
        source="arXiv 2006.11239, eq. 4; for flow matching σ, arXiv 2209.03003",
    ),
    Quantity(
        key="posterior_variance",
        title="Variance of a backward step",
        symbol="β̃",
        formula=r"\tilde\beta_t = \frac{1 - \bar\alpha_{t-1}}{1 - \bar\alpha_t}\,\beta_t",
        meaning="The noise that ancestral sampling puts back at step t; flow matching has none.",
        source="arXiv 2006.11239, eq. 7",
        log_axis=True,
    ),
    Quantity(
        key="snr",
        title="Signal-to-noise ratio",
        symbol="SNR",
        formula=r"\mathrm{SNR}_t = \frac{\bar\alpha_t}{1 - "
        r"\bar\alpha_t}",
        meaning="Signal variance over noise variance; above 1 there is more image than noise.",
        source="arXiv 2107.00630, eq. 2",
        log_axis=True,
    ),
    Quantity(
        key="log_snr",
        title="log-SNR",
        symbol="λ",
        formula=r"\lambda_t = \log \frac{\bar\alpha_t}{1 - \bar\alpha_t}",
        meaning="The natural scale of noise: two schedules do the same thing where their log-SNR is the same.",
        source="arXiv 2107.00630, section 3.1",
    ),
    Quantity(
        key="sigma",
        title="Noise over signal",
        symbol="σ",
        formula=r"\sigma_t = \sqrt{\frac{1 - \bar\alpha_t}{\bar\alpha_t}}",
        meaning="The noise level in the scale of Karras and the k-diffusion samplers.",
        source="arXiv 2206.00364, table 1",
        log_axis=True,
    ),
    Quantity(
        key="log_snr_density",
        title="Where training looks",
        symbol="p(λ)",
        formula=r"p(\lambda) = \frac{1}{T}\left|\frac{\mathrm{d}t}{\mathrm{d}\lambda}\right|",
        meaning="How often training sees a noise level when t is uniform; the area under it is 1.",
        source="arXiv 2303.00848, section 2",
    ),
    Quantity(
        key="weight_epsilon",
        title="Loss weight, noise predicted",
        symbol="w(ε)",
        formula=r"w_t = \mathrm{SNR}_t",
        meaning="An error of the clean image counts this much when the noise is predicted: little at high noise.",
        source="arXiv 2202.00512, section 4",
        log_axis=True,
    ),
    Quantity(
        key="weight_v",
        title="Loss weight, v predicted",
        symbol="w(v)",
        formula=r"w_t = \mathrm{SNR}_t + 1",
        meaning="With v as the target the weight never falls below 1, so high noise is learned too.",
        source="arXiv 2202.00512, section 4",
        log_axis=True,
    ),
    Quantity(
        key="weight_flow",
        title="Loss weight, flow predicted",
        symbol="w(flow)",
        formula=r"w_t = \left(1 + \sqrt{\mathrm{SNR}_t}\right)^2",
        meaning="The weight on the clean image's error that the velocity of flow matching implies: 1/σ² of its path.",
        source="arXiv 2403.03206, section 3.1",
        log_axis=True,
    ),
    Quantity(
        key="weight_min_snr",
        title="Loss weight, min-SNR-5",
        symbol="min(SNR, 5)",
        formula=r"w_t = \min(\mathrm{SNR}_t,\; 5)",
        meaning="Caps the weight of nearly clean images, which are easy; γ = 5 is usual.",
        source="arXiv 2303.09556, section 3.4",
        log_axis=True,
    ),
    Quantity(
        key="weight_truncated",
        title="Loss weight, truncated SNR",
        symbol="max(SNR, 1)",
        formula=r"w_t = \max(\mathrm{SNR}_t,\; 1)",
        meaning="Keeps the weight from vanishing at high noise.",
        source="arXiv 2202.00512, section 4",
        log_axis=True,
    ),
)
QUANTITIES: Mapping[str, Quantity] = {quantity.key: quantity for quantity in _ALL}


def effective_snr(snr: np.ndarray, variance: Sequence[float]) -> np.ndarray:
    """SNR (c, T) of latents whose channels have this variance (c,), on a schedule of `snr` (T,): their product.

    Latents that are not scaled to unit variance meet another schedule than the one that was chosen (arXiv 2112.10752,
    appendix G).
    """
    return np.asarray(variance, dtype=np.float64)[:, None] * snr[None, :]
