"""What a VAE's decoder survives and how it treats detail, shifts and single numbers, for a screen.

Few pictures, bounded work. PyTorch is imported inside the functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.config.schema import DiffusionSettings
from lab.latents import vae_service
from lab.latents.ceiling_service import judge
from lab.latents.memoize_bytes import indices_of, memoize_bytes, study_of
from lab.latents.vae_service import Chosen, Progress

if TYPE_CHECKING:
    from core.latent.inspection.sensitivity import Sensitivity
    from core.latent.inspection.spectrum import Equivariance, Spectrum
    from core.latent.inspection.survival import Survival

SURVIVAL_PICTURES, SURVIVAL_POINTS = 256, 25
FEW_PICTURES = 256
SURVIVES, MARGIN = 0.99, 0.05  # of the clean accuracy; above guessing


@dataclass(frozen=True, kw_only=True)
class NoisyStrip:
    """One picture a class at each noise level of a survival: (P, K, H, W, C) uint8, with its timesteps and labels."""

    pictures: np.ndarray
    t: tuple[int, ...]
    log_snr: tuple[float, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Survived:
    """A survival and what it says. alone: the last t that the decoder masters by itself; lost: the first t at which the
    class is gone; None for never. chance: the accuracy of guessing."""

    survival: Survival
    strip: NoisyStrip
    words: str
    alone: int | None
    lost: int | None
    chance: float
    class_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Spectra of latents and pictures, equivariance and sensitivity."""

    latents: Spectrum
    pictures: Spectrum
    equivariance: list[Equivariance]
    sensitivity: Sensitivity
    downsample_factor: int
    num_pictures: int


def schedule_settings(chosen: Chosen, name: str) -> DiffusionSettings:
    """The run's own diffusion settings for 'own', else a schedule of that name with the defaults."""
    if name == "own":
        return chosen.view.run.settings.diffusion
    return DiffusionSettings(schedule=name, prediction_type="flow" if name == "flow" else "epsilon")  # type: ignore[arg-type]


def survived(chosen: Chosen, schedule: str, *, judged: bool, on_progress: Progress | None = None) -> Survived:
    """What the decoder survives. judged: the judge looks too, and is trained first where it never was."""

    def make() -> Survived:
        import torch

        from core.diffusion.schedule import build_schedule
        from core.latent.inspection.survival import (
            first_below,
            in_words,
            last_above,
            log_snr,
            noisy_pictures,
            survival,
        )

        report = on_progress or (lambda text, share: None)
        study = study_of(chosen, on_progress)
        looked_at_by = judge(chosen, lambda text, share: report(text, 0.6 * share)) if judged else None
        indices = indices_of(len(study.labels), SURVIVAL_PICTURES)
        table = build_schedule(schedule_settings(chosen, schedule)).to(study.device)
        steps = np.unique(np.linspace(0, table.num_train_timesteps - 1, SURVIVAL_POINTS).round().astype(int)).tolist()
        clean = torch.from_numpy(study.latents[indices]).to(study.device)
        found = survival(
            study.codec,
            clean,
            np.asarray(study.images[indices]),
            table,
            steps,
            labels=np.asarray(study.labels[indices]),
            num_classes=len(study.class_names),
            classify=looked_at_by.classify if looked_at_by else None,
            progress=lambda text, share: report(text, (0.6 if judged else 0.0) + (0.4 if judged else 1.0) * share),
        )
        shown = _one_a_class(np.asarray(study.labels[indices]), len(study.class_names))
        frames = list(noisy_pictures(study.codec, clean[torch.from_numpy(shown)], table, steps))
        strip = NoisyStrip(
            pictures=np.stack([frame.pictures for frame in frames]),
            t=tuple(frame.t for frame in frames),
            log_snr=tuple(log_snr(frame.signal_scale, frame.noise_scale) for frame in frames),
            labels=tuple(int(study.labels[indices[each]]) for each in shown),
        )
        chance = 1.0 / max(found.num_classes, 1)
        alone: int | None
        lost: int | None
        if found.accuracy and found.accuracy[0] < chance + 2 * MARGIN:  # nothing to survive with
            alone, lost = None, found.t[0]
        elif found.accuracy:
            alone = last_above(found, found.accuracy, SURVIVES * found.accuracy[0])
            lost = first_below(found, found.accuracy, chance + MARGIN)
        else:
            alone, lost = last_above(found, found.psnr, found.psnr[0] - 1.0), None
        return Survived(
            survival=found,
            strip=strip,
            words=in_words(found, SURVIVES),
            alone=alone,
            lost=lost,
            chance=chance,
            class_names=study.class_names,
        )

    return memoize_bytes(("survived", *vae_service.name_of(chosen), schedule, judged), make)


def traits(chosen: Chosen, on_progress: Progress | None = None) -> Traits:
    """Spectrum, equivariance and sensitivity over a few hundred pictures."""

    def make() -> Traits:
        import torch

        from core.data.batches import images_to_model
        from core.latent.inspection.sensitivity import sensitivity
        from core.latent.inspection.spectrum import equivariance, radial_spectrum

        report = on_progress or (lambda text, share: None)
        study = study_of(chosen, on_progress)
        indices = indices_of(len(study.labels), FEW_PICTURES)
        images = np.asarray(study.images[indices])
        pictures = images_to_model(torch.from_numpy(np.array(images))).to(study.device)
        factor = images.shape[1] // study.moments.shape[2]
        report("shifting and flipping", 0.1)
        moved = equivariance(study.codec.encode, pictures, factor)
        report("moving one latent number at a time", 0.4)
        clean = torch.from_numpy(study.latents[indices]).to(study.device)
        found = sensitivity(lambda part: study.codec.decode(part), clean)
        return Traits(
            latents=radial_spectrum(study.latents[indices], bins=_bins(study.latents.shape[2])),
            pictures=radial_spectrum(images.transpose(0, 3, 1, 2) / 127.5 - 1.0, bins=_bins(images.shape[1])),
            equivariance=moved,
            sensitivity=found,
            downsample_factor=factor,
            num_pictures=len(indices),
        )

    return memoize_bytes(("traits", *vae_service.name_of(chosen)), make)


def _bins(side: int) -> int:
    """Rings of about √2 coefficients' width, at most 16: narrower ones would hold too few to be smooth."""
    return max(2, min(16, side))


def _one_a_class(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The first picture of each of at most 12 classes."""
    places = [np.flatnonzero(labels == label) for label in range(num_classes)]
    return np.array([each[0] for each in places if len(each)][:12], dtype=np.int64)
