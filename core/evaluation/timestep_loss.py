"""Held-out loss of a U-Net against t, with fixed pictures and noise: where on the schedule the network works hard.

The error is given three ways: in what the network predicts, and as the error of the noise and of the clean latents that
its prediction implies, which compare between ways of training (arXiv 2202.00512, section 4).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core import atomic
from core.data.batches import images_to_model
from core.diffusion.schedule import to_pred_epsilon, to_pred_original
from core.errors import UsageError
from core.seeding import derive, generator

if TYPE_CHECKING:
    from core.data.arrays import ImageSet
    from core.runs.run import Run
    from core.sampling.load import LoadedModel

FORMAT_VERSION = 1
SEED = 0  # one choice of pictures and noise for all runs, so that runs on one data set compare
MAX_PICTURES = 10_000
MAX_POINTS = 100
LEAST_SIGNAL = 1e-6


@dataclass(frozen=True, kw_only=True)
class TimestepLoss:
    """Means over N pictures at P timesteps, and their standard errors; every list has length P.

    target: mean squared error of what the network predicts. epsilon, original: of the noise and of the clean latents.
    linear: error of the clean latents that the best linear guess makes, which knows the variance of each channel only.
    log_snr: natural logarithm, finite (bounded at ±50).
    """

    run_id: str
    step: int
    data_set: str
    fingerprint: str
    schedule: str
    prediction_type: str
    num_pictures: int
    num_train_timesteps: int
    t: tuple[int, ...]
    log_snr: tuple[float, ...]
    alpha_bar: tuple[float, ...]
    target: tuple[float, ...]
    target_error: tuple[float, ...]
    epsilon: tuple[float, ...]
    epsilon_error: tuple[float, ...]
    original: tuple[float, ...]
    original_error: tuple[float, ...]
    linear: tuple[float, ...]
    format_version: int = FORMAT_VERSION


def timestep_loss(
    run: Run,
    model: LoadedModel,
    image_set: ImageSet,
    *,
    num_pictures: int = 512,
    num_points: int = 25,
    progress: Callable[[str, float], None] | None = None,
) -> TimestepLoss:
    """The loss of this model: from the run's `timestep_loss/` when known, else measured and kept there.

    Raises UsageError like `measure_timestep_loss`.
    """
    check_counts(num_pictures, num_points)
    decides = [model.step, num_pictures, num_points, SEED, model.image_set_fingerprint, FORMAT_VERSION]
    name = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:12]
    path = run.folder / "timestep_loss" / f"{model.step:08d}-{name}.json"
    kept = _read(path)
    if kept is not None:
        return kept
    found = measure_timestep_loss(model, image_set, num_pictures=num_pictures, num_points=num_points, progress=progress)
    path.parent.mkdir(exist_ok=True)
    atomic.write_json(path, asdict(found))
    return found


def check_counts(num_pictures: int, num_points: int) -> None:
    """Raises UsageError for fewer than 2 or more than 10,000 pictures, fewer than 2 or more than 100 timesteps."""
    if not 2 <= num_pictures <= MAX_PICTURES:
        raise UsageError(f"timestep-loss: 2 to {MAX_PICTURES:,} pictures, got {num_pictures}")
    if not 2 <= num_points <= MAX_POINTS:
        raise UsageError(f"timestep-loss: 2 to {MAX_POINTS} timesteps, got {num_points}")


@torch.no_grad()
def measure_timestep_loss(
    model: LoadedModel,
    image_set: ImageSet,
    *,
    num_pictures: int,
    num_points: int,
    batch_size: int = 256,
    progress: Callable[[str, float], None] | None = None,
) -> TimestepLoss:
    """Measure it. Labels are kept, no guidance; the noise of a picture is the same at every t.

    Raises UsageError for counts outside the bounds or a data set the model was not trained on.
    """
    check_counts(num_pictures, num_points)
    if model.image_set_fingerprint != image_set.fingerprint:
        raise UsageError(
            f"{model.run_id}: was trained on other pictures ({model.image_set_fingerprint[:12]}) than this "
            f"{image_set.name} ({image_set.fingerprint[:12]})",
            "use the data settings it was trained with",
        )
    schedule = model.schedule.to(model.device)
    total, heldout = schedule.num_train_timesteps, image_set.heldout
    t_points = np.unique(np.linspace(0, total - 1, num_points).round().astype(int))
    order = np.random.default_rng(derive(SEED, "timestep-loss")).permutation(len(heldout.labels))
    chosen = np.sort(order[:num_pictures])
    errors: dict[str, list[torch.Tensor]] = {"target": [], "epsilon": [], "original": []}
    latents_seen = []
    for start in range(0, len(chosen), batch_size):
        places = chosen[start : start + batch_size]
        pictures = torch.from_numpy(np.ascontiguousarray(heldout.images[places])).to(model.device)
        labels = torch.from_numpy(np.asarray(heldout.labels[places])).to(model.device)
        latents = model.codec.encode(images_to_model(pictures))
        latents_seen.append(latents)
        noise = torch.stack(
            [torch.randn(latents.shape[1:], generator=generator(SEED, "timestep-loss", int(place))) for place in places]
        ).to(model.device)
        found: dict[str, list[torch.Tensor]] = {name: [] for name in errors}
        for done, point in enumerate(t_points):
            t = torch.full((len(places),), int(point), device=model.device)
            noisy = schedule.add_noise(latents, noise, t)
            output = model.unet(noisy, schedule.timesteps[t], class_labels=labels).sample.float()
            signal, sigma = float(schedule.signal_scale[point]), float(schedule.noise_scale[point])
            original = to_pred_original(schedule.prediction_type, output, noisy, max(signal, LEAST_SIGNAL), sigma)
            is_noise = schedule.prediction_type == "epsilon"
            epsilon = output if is_noise else to_pred_epsilon(original, noisy, signal, sigma)
            target = schedule.target(latents, noise, t)
            for name, guess, truth in (
                ("target", output, target),
                ("epsilon", epsilon, noise),
                ("original", original, latents),
            ):
                found[name].append(((guess - truth) ** 2).mean(dim=(1, 2, 3)).cpu())
            if progress:
                share = (start + len(places) * (done + 1) / len(t_points)) / len(chosen)
                progress("measuring the loss at each timestep", share)
        for name in errors:
            errors[name].append(torch.stack(found[name]))
    joined = {name: torch.cat(parts, dim=1).double() for name, parts in errors.items()}
    means = {name: _tuple(values.mean(dim=1)) for name, values in joined.items()}
    spreads = {name: _tuple(values.std(dim=1) / values.shape[1] ** 0.5) for name, values in joined.items()}
    variance = torch.cat(latents_seen).double().var(dim=(0, 2, 3)).cpu()
    signals, sigmas = (scale.double().cpu()[t_points] for scale in (schedule.signal_scale, schedule.noise_scale))
    linear = (variance * sigmas[:, None] ** 2 / (signals[:, None] ** 2 * variance + sigmas[:, None] ** 2)).mean(dim=1)
    log_snr = 2 * (signals.clamp(min=1e-30).log() - sigmas.clamp(min=1e-30).log())
    return TimestepLoss(
        run_id=model.run_id,
        step=model.step,
        data_set=image_set.name,
        fingerprint=image_set.fingerprint,
        schedule=schedule.name,
        prediction_type=schedule.prediction_type,
        num_pictures=len(chosen),
        num_train_timesteps=total,
        t=tuple(int(point) for point in t_points),
        log_snr=_tuple(log_snr.clamp(-50, 50)),
        alpha_bar=_tuple(schedule.alphas_cumprod.double().cpu()[t_points]),
        target=means["target"],
        target_error=spreads["target"],
        epsilon=means["epsilon"],
        epsilon_error=spreads["epsilon"],
        original=means["original"],
        original_error=spreads["original"],
        linear=_tuple(linear),
    )


def _tuple(values: torch.Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _read(path: Path) -> TimestepLoss | None:
    """A kept measurement; None when there is none or it is damaged."""
    try:
        values: dict[str, Any] = atomic.read_json(path)
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        found = TimestepLoss(**{**values, **lists})
        lengths = {len(value) for value in asdict(found).values() if isinstance(value, tuple)}
        return found if found.format_version == FORMAT_VERSION and len(lengths) == 1 else None
    except (OSError, ValueError, TypeError):
        return None
