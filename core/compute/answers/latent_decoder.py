"""What a VAE's decoder survives and how it treats detail, shifts and single numbers: few pictures, bounded work."""

from __future__ import annotations

import numpy as np
import torch

from core.compute.answers.judges import trained_judge
from core.compute.answers.latents import opened
from core.compute.question import Tell
from core.config.schema import DiffusionSettings
from core.config.site import SiteSettings
from core.data.batches import images_to_model
from core.diffusion.schedule import build_schedule
from core.latent.inspection.decoder_results import NoisyStrip, Survived, Traits
from core.latent.inspection.sensitivity import sensitivity
from core.latent.inspection.spectrum import equivariance, radial_spectrum
from core.latent.inspection.survival import (
    first_below,
    in_words,
    last_above,
    log_snr,
    noisy_pictures,
    survival,
)
from core.latent.inspection.vae_source import AskedVae, indices_of
from core.model_folders.sources import source_named
from core.runs.store import RunStore

SURVIVES, MARGIN = 0.99, 0.05  # of the clean accuracy; above guessing
JUDGING = 0.6  # of the work, where a judge is trained first


def survive(
    tell: Tell, asked: AskedVae, diffusion: DiffusionSettings, count: int, points: int, judged: bool, site: SiteSettings
) -> Survived:
    """What the decoder makes of `count` pictures at `points` noise levels.

    judged: the judge looks too, and is trained first where it never was. Raises a LabError.
    """
    with opened(tell, asked, site) as study:
        first = JUDGING if judged else 0.0
        judge = None
        if judged:
            source = source_named(asked.run_id, RunStore(site.runs), site.models)
            judge = trained_judge(lambda text, share: tell(text, first * share), source, site)
        indices = indices_of(len(study.labels), count)
        table = build_schedule(diffusion).to(study.device)
        steps = np.unique(np.linspace(0, table.num_train_timesteps - 1, points).round().astype(int)).tolist()
        clean = torch.from_numpy(study.latents[indices]).to(study.device)
        labels = np.asarray(study.labels[indices])
        found = survival(
            study.codec,
            clean,
            np.asarray(study.images[indices]),
            table,
            steps,
            labels=labels,
            num_classes=len(study.class_names),
            classify=judge.classify if judge else None,
            progress=lambda text, share: tell(text, first + (1.0 - first) * share),
        )
        shown = _one_a_class(labels, len(study.class_names))
        frames = list(noisy_pictures(study.codec, clean[torch.from_numpy(shown)], table, steps))
        strip = NoisyStrip(
            pictures=np.stack([frame.pictures for frame in frames]),
            t=tuple(frame.t for frame in frames),
            log_snr=tuple(log_snr(frame.signal_scale, frame.noise_scale) for frame in frames),
            labels=tuple(int(labels[each]) for each in shown),
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


def traits(tell: Tell, asked: AskedVae, count: int, site: SiteSettings) -> Traits:
    """Spectrum, equivariance and sensitivity over `count` pictures. Raises a LabError."""
    with opened(tell, asked, site) as study:
        indices = indices_of(len(study.labels), count)
        images = np.asarray(study.images[indices])
        pictures = images_to_model(torch.from_numpy(np.array(images))).to(study.device)
        factor = images.shape[1] // study.moments.shape[2]
        tell("shifting and flipping", 0.1)
        moved = equivariance(study.codec.encode, pictures, factor)
        tell("moving one latent number at a time", 0.4)
        clean = torch.from_numpy(study.latents[indices]).to(study.device)
        return Traits(
            latents=radial_spectrum(study.latents[indices], bins=_bins(study.latents.shape[2])),
            pictures=radial_spectrum(images.transpose(0, 3, 1, 2) / 127.5 - 1.0, bins=_bins(images.shape[1])),
            equivariance=moved,
            sensitivity=sensitivity(lambda part: study.codec.decode(part), clean),
            downsample_factor=factor,
            num_pictures=len(indices),
        )


def _bins(side: int) -> int:
    """Rings of about √2 coefficients' width, at most 16: narrower ones would hold too few to be smooth."""
    return max(2, min(16, side))


def _one_a_class(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The first picture of each of at most 12 classes."""
    places = [np.flatnonzero(labels == label) for label in range(num_classes)]
    return np.array([each[0] for each in places if len(each)][:12], dtype=np.int64)
