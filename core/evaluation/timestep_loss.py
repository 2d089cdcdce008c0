"""Held-out loss of a U-Net against t, with fixed pictures and noise: where on the schedule the network works hard.

The error is given three ways: in what the network predicts, and as the error of the noise and of the clean latents that
its answer implies, which compare between ways of training (arXiv 2202.00512, section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from core.data.batches import images_to_model
from core.errors import NonFiniteError, UsageError
from core.evaluation.timestep_loss_results import (
    LOG_SNR_LIMIT,
    SEED,
    ErrorOf,
    ErrorWeights,
    TimestepLoss,
    check_counts,
    keep,
    key_of,
    latents_of,
    read_kept,
    units_of,
)
from core.seeding import derive, generator

if TYPE_CHECKING:
    from core.data.arrays import ImageSet
    from core.latent.codec import LatentCodec
    from core.runs.run import Run
    from core.sampling.load import LoadedModel

BATCH_SIZE = 256
NOISE_RULE = 1  # of core.rules, for every run: what was measured before compares with what is measured now
OnProgress = Callable[[str, float], None]


def timestep_loss(
    run: Run,
    model: LoadedModel,
    image_set: ImageSet,
    *,
    weights: ErrorWeights = "ema",
    num_pictures: int = 512,
    num_points: int = 25,
    progress: OnProgress | None = None,
) -> TimestepLoss:
    """The loss of a run's model at each timestep: what is kept in the run, or measured now and kept there.

    weights: those that `model` was loaded with. Raises a LabError like `measure_timestep_loss`.
    """
    check_counts(num_pictures, num_points)
    key = key_of(run, model.step, weights=weights, num_pictures=num_pictures, num_points=num_points)
    kept = read_kept(run, model.step, key)
    if kept is not None:
        return kept
    found = measure_timestep_loss(
        model,
        image_set,
        num_pictures=num_pictures,
        num_points=num_points,
        progress=progress,
        key=key,
        weights=weights,
        latents_name=latents_of(run),
    )
    keep(run, found)
    return found


def measure_timestep_loss(
    model: LoadedModel,
    image_set: ImageSet,
    *,
    num_pictures: int,
    num_points: int,
    batch_size: int = BATCH_SIZE,
    progress: OnProgress | None = None,
    key: str = "",
    weights: ErrorWeights = "ema",
    latents_name: str = "",
) -> TimestepLoss:
    """Measure it: labels kept, no guidance, no loss weight; a picture has the same noise at every t and in every run.

    The latents are posterior samples, as in training: the mean over t is then what the run's validation
    loss estimates (on other pictures), where that has no min-SNR weight and draws timesteps uniformly.
    progress(text, fraction). Raises UsageError for counts outside the bounds, fewer than 2 held-out pictures, or a data
    set that the model was not trained on, and NonFiniteError when the network answers with something that is no number.
    """
    check_counts(num_pictures, num_points)
    _check_pictures(model, image_set)
    schedule, heldout = model.schedule, image_set.heldout
    points = np.unique(np.linspace(0, schedule.num_train_timesteps - 1, num_points).round().astype(int))
    order = np.random.default_rng(derive(SEED, "timestep-loss pictures")).permutation(len(heldout.labels))
    chosen = np.sort(order[:num_pictures])
    errors, latents_seen = [], []
    for start in range(0, len(chosen), batch_size):
        places = chosen[start : start + batch_size]
        pictures = torch.from_numpy(np.ascontiguousarray(heldout.images[places])).to(model.device)
        labels = torch.from_numpy(np.asarray(heldout.labels[places])).to(model.device)
        latents = posterior_samples(model.codec, images_to_model(pictures), places)
        latents_seen.append(latents.double().cpu())

        def report(share: float, done: int = start, count: int = len(places)) -> None:
            if progress:
                progress("measuring the loss at each timestep", (done + count * share) / len(chosen))

        errors.append(_batch_errors(model, latents, labels, places, points, report))
    joined = torch.cat(errors, dim=1).numpy()
    if not np.isfinite(joined).all():
        t = points[int(np.flatnonzero(~np.isfinite(joined).all(axis=1))[0])]
        raise NonFiniteError(
            f"{model.run_id}: at t = {t} the network of step {model.step:,} returns a value that is not a finite "
            "number",
            "choose another checkpoint",
        )
    mean, spread = joined.mean(axis=1), joined.std(axis=1, ddof=1) / joined.shape[1] ** 0.5
    variance = torch.cat(latents_seen).var(dim=(0, 2, 3)).numpy()
    signal, noise = (scale.double().cpu().numpy()[points] for scale in (schedule.signal_scale, schedule.noise_scale))
    units = [units_of(schedule.prediction_type, *pair) for pair in zip(signal, noise, strict=True)]

    def in_units(values: np.ndarray, error_of: ErrorOf) -> tuple[float, ...]:
        return _floats(values * np.array([unit[error_of] for unit in units]))

    of_noise, of_signal = noise[:, None] ** 2, signal[:, None] ** 2
    linear = (variance * of_noise / np.maximum(of_signal * variance + of_noise, 1e-30)).mean(axis=1)
    with np.errstate(divide="ignore"):
        log_snr = 2 * (np.log(signal) - np.log(noise))
    return TimestepLoss(
        key=key,
        run_id=model.run_id,
        step=model.step,
        weights=weights,
        data_set=image_set.name,
        fingerprint=image_set.fingerprint,
        latents=latents_name,
        schedule=schedule.name,
        prediction_type=schedule.prediction_type,
        num_pictures=len(chosen),
        num_train_timesteps=schedule.num_train_timesteps,
        variance=float(variance.mean()),
        t=tuple(int(point) for point in points),
        signal_scale=_floats(signal),
        noise_scale=_floats(noise),
        alpha_bar=_floats(signal**2 / (signal**2 + noise**2)),
        log_snr=_floats(np.clip(log_snr, -LOG_SNR_LIMIT, LOG_SNR_LIMIT)),
        target=_floats(mean),
        target_error=_floats(spread),
        epsilon=in_units(mean, "epsilon"),
        epsilon_error=in_units(spread, "epsilon"),
        original=in_units(mean, "original"),
        original_error=in_units(spread, "original"),
        linear=_floats(linear),
    )


@torch.no_grad()
def posterior_samples(codec: LatentCodec, images: torch.Tensor, places: Sequence[int] | np.ndarray) -> torch.Tensor:
    """images (B, C, H, W) → latents (B, c, h, w), a sample each, fixed by the picture's place in the dataset."""
    posterior = codec.vae.encode(images).latent_dist
    noise = fixed_noise("timestep-loss posterior", places, posterior.mean)
    return codec.scaling.normalize(posterior.mean.float() + posterior.std.float() * noise)


def fixed_noise(purpose: str, places: Sequence[int] | np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Noise (B, c, h, w) that depends on each picture's place only: the same in any batch, run and on any device."""
    sources = [generator(SEED, purpose, int(place), rule=NOISE_RULE) for place in places]
    parts = [torch.randn(like.shape[1:], generator=source) for source in sources]
    return torch.stack(parts).to(like.device)


@torch.no_grad()
def _batch_errors(
    model: LoadedModel,
    latents: torch.Tensor,
    labels: torch.Tensor,
    places: np.ndarray,
    points: np.ndarray,
    report: Callable[[float], None],
) -> torch.Tensor:
    """Squared error of the network's answer, mean over its elements: (P, B) float64, on the CPU."""
    schedule = model.schedule.to(model.device)
    noise = fixed_noise("timestep-loss noise", places, latents)
    found = []
    for done, point in enumerate(points):
        t = torch.full((len(places),), int(point), device=model.device)
        noisy_latents = schedule.add_noise(latents, noise, t)
        answer = model.unet(noisy_latents, schedule.timesteps[t], class_labels=labels).sample
        error = (answer.float() - schedule.target(latents, noise, t)) ** 2
        found.append(error.mean(dim=(1, 2, 3)).cpu().double())
        report((done + 1) / len(points))
    return torch.stack(found)


def _check_pictures(model: LoadedModel, image_set: ImageSet) -> None:
    if model.image_set_fingerprint != image_set.fingerprint:
        raise UsageError(
            f"{model.run_id}: was trained on other images ({model.image_set_fingerprint[:12]}) than this "
            f"{image_set.name} ({image_set.fingerprint[:12]})",
            "use the data settings it was trained with",
        )
    if len(image_set.heldout.labels) < 2:
        raise UsageError(
            f"{image_set.name}: the loss needs 2 held-out images, got {len(image_set.heldout.labels)}",
            "raise data.holdout_fraction and train again",
        )


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
