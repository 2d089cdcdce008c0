"""What the decoder survives: noisy latents decoded as they are, without any denoising, at every noise level.

Where the pictures are still right, a denoiser has nothing left to decide; where they are lost, all is up to it. That
noise levels decide different things: arXiv 2204.00227, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.diffusion.schedule import NoiseSchedule
from core.latent.codec import LatentCodec
from core.latent.inspection.decoder_results import Survival
from core.latent.inspection.psnr_ssim import picture_psnr
from core.rules import NEWEST
from core.seeding import generator

SEED = 0
AT_ONCE = 64  # pictures in a decoder: more only cost memory on a CPU
Classify = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class SurvivalStep:
    """Noisy latents decoded at one level: pictures (N, H, W, C) uint8. t = -1: no noise, the reconstruction."""

    t: int
    signal_scale: float
    noise_scale: float
    pictures: np.ndarray


def noisy_pictures(
    codec: LatentCodec, latents: torch.Tensor, schedule: NoiseSchedule, timesteps: Sequence[int]
) -> Iterator[SurvivalStep]:
    """Latents (N, c, h, w) with the same noise at every t, decoded: clean first, then each of `timesteps`."""
    noise = torch.randn(latents.shape, generator=generator(SEED, "survival", rule=NEWEST.noise)).to(latents.device)
    yield SurvivalStep(t=-1, signal_scale=1.0, noise_scale=0.0, pictures=_decoded(codec, latents))
    for t in timesteps:
        index = torch.full((len(latents),), int(t), dtype=torch.long)
        noisy_latents = schedule.add_noise(latents, noise, index)
        yield SurvivalStep(
            t=int(t),
            signal_scale=float(schedule.signal_scale[t]),
            noise_scale=float(schedule.noise_scale[t]),
            pictures=_decoded(codec, noisy_latents),
        )


def _decoded(codec: LatentCodec, latents: torch.Tensor) -> np.ndarray:
    return np.concatenate([codec.decode_to_uint8(part) for part in latents.split(AT_ONCE)])


def survival(
    codec: LatentCodec,
    latents: torch.Tensor,
    images: np.ndarray,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    *,
    labels: np.ndarray | None = None,
    num_classes: int = 0,
    classify: Classify | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Survival:
    """PSNR at each level, and judged accuracy where a judge's `classify`, pictures → probabilities (N, K), is given."""
    found: list[tuple[SurvivalStep, float, float, float]] = []
    for step in noisy_pictures(codec, latents, schedule, timesteps):
        values = picture_psnr(images, step.pictures)
        accuracy = 0.0
        if classify is not None and labels is not None:
            accuracy = float((classify(step.pictures).argmax(axis=1) == labels).mean())
        spread = float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
        found.append((step, float(values.mean()), spread, accuracy))
        if progress:
            progress("decoding noisy latents", len(found) / (len(timesteps) + 1))
    return Survival(
        schedule=schedule.name,
        num_train_timesteps=schedule.num_train_timesteps,
        num_pictures=len(latents),
        num_classes=num_classes,
        t=tuple(step.t for step, *_ in found),
        signal_scale=tuple(step.signal_scale for step, *_ in found),
        noise_scale=tuple(step.noise_scale for step, *_ in found),
        psnr=tuple(value for _, value, _, _ in found),
        psnr_error=tuple(spread for _, _, spread, _ in found),
        accuracy=tuple(value for *_, value in found) if classify is not None else (),
    )


def in_words(found: Survival, share: float = 0.99) -> str:
    """Which part of the noise range is left to the U-Net, in a sentence or two.

    share: of the clean accuracy that counts as survived. Lost is less than 5 points above guessing. Without a judge the
    PSNR speaks: within 1 dB of the reconstruction.
    """
    last = found.num_train_timesteps - 1
    if not found.accuracy:
        alone = last_above(found, found.psnr, found.psnr[0] - 1.0)
        return (
            f"Up to {_place(found, alone)} the decoder alone stays within 1 dB of its clean {found.psnr[0]:.1f} dB."
            if alone is not None and alone >= 0
            else "Even the least noise costs more than 1 dB: the decoder tolerates none."
        )
    clean, guess = found.accuracy[0], 1.0 / max(found.num_classes, 1)
    if clean < guess + 0.1:
        return (
            f"Without any noise only {clean:.0%} of the decoded images have their class, where guessing gives "
            f"{guess:.0%}. No U-Net can help this decoder."
        )
    limit = share * clean
    alone = last_above(found, found.accuracy, limit)
    lost = first_below(found, found.accuracy, guess + 0.05)
    if alone is None or alone < 0:
        words = f"Even the least noise leaves less than {limit:.1%} right, so the U-Net must decide every t."
    else:
        words = (
            f"Up to {_place(found, alone)} the decoder alone gets at least {limit:.1%} right. The U-Net decides "
            f"from t = {alone:,} to {last:,} and only sharpens below."
        )
    if lost is not None and lost > 0:
        words += f" From {_place(found, lost)} on the class is lost: there the U-Net decides what the image is."
    return words


def log_snr(signal_scale: float, noise_scale: float) -> float:
    """Natural logarithm of signal² / noise², cut at ±50."""
    if noise_scale <= 0.0:
        return 50.0
    return float(np.clip(2.0 * np.log(max(signal_scale, 1e-12) / noise_scale), -50.0, 50.0))


def _place(found: Survival, t: int) -> str:
    index = found.t.index(t)
    return f"t = {t:,} (log-SNR {log_snr(found.signal_scale[index], found.noise_scale[index]):.1f})"


def last_above(found: Survival, values: Sequence[float], limit: float) -> int | None:
    """The last t up to which `values` never fall below limit; -1 when only the clean one does not, None for none."""
    last = None
    for t, value in zip(found.t, values, strict=True):
        if value < limit:
            break
        last = t
    return last


def first_below(found: Survival, values: Sequence[float], limit: float) -> int | None:
    """The first t from which `values` stay below limit to the end, or None when the last one does not."""
    first = None
    for t, value in zip(reversed(found.t), reversed(values), strict=True):
        if value >= limit:
            break
        first = t
    return first
