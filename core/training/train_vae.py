"""A VAE run from its settings to its last checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.data.batches import Batches, on_device
from core.latent.codec import to_uint8
from core.models.vae import build_vae
from core.runs.run import Run
from core.seeding import Randomness, derive
from core.training.session import OnStep, Outcome, Recipe, Share, ShouldStop, run_training
from core.training.start import start_run
from core.training.vae_objective import VaeObjective


def train(
    run: Run,
    *,
    data_dir: Path,
    cache_dir: Path,
    store_root: Path,
    should_stop: ShouldStop,
    on_step: OnStep | None = None,
) -> Outcome:
    """Train (or resume) a VAE run. Raises a LabError in one sentence when it cannot go on."""
    settings = run.settings
    start = start_run(run, data_dir=data_dir, cache_dir=cache_dir)
    device, images = start.device, start.images
    random = Randomness(settings.seed, run.rules.noise, "vae")
    random.seed_torch("weights", 0)
    vae = build_vae(settings.vae, channels=images.channels, image_size=images.image_size)
    objective = VaeObjective(vae, settings.train_vae).to(device)
    learned, unlearned = images.learned(run.rules.split), images.validation(run.rules.split)
    resident = on_device(learned, device)
    batches = Batches(learned, batch_size=settings.train_vae.batch_size, seed=settings.seed)
    side = images.image_size // settings.vae.downsample_factor
    shape = (settings.vae.latent_channels, side, side)

    def noise(count: int, purpose: str, step: int) -> torch.Tensor:
        source = random.generator(purpose, step, device=device)
        return torch.randn(count, *shape, generator=source, device=device)

    def draw(step: int) -> dict[str, torch.Tensor]:
        pictures, _ = resident.gather(batches.indices(step))
        return {"images": pictures, "noise": noise(len(pictures), "posterior", step)}

    validation = on_device(unlearned, device)
    count = min(settings.logging.validation_images, len(unlearned.labels))
    chosen = np.random.default_rng(derive(settings.seed, "validation")).permutation(len(unlearned.labels))[:count]

    @torch.no_grad()
    def validate(network: nn.Module, share: Share) -> dict[str, float]:
        fixed = VaeObjective(network, settings.train_vae)  # type: ignore[arg-type]
        totals: dict[str, float] = {}
        drawn = noise(count, "validation", 0)
        own = share.of(count)
        for start in range(own.start, own.stop, 256):
            part = slice(start, min(start + 256, own.stop))
            pictures, _ = validation.gather(chosen[part])
            for name, value in fixed(pictures, drawn[part]).items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(pictures) / count
        return totals

    @torch.no_grad()
    def preview(network: Any, share: Share) -> dict[str, np.ndarray]:
        own = share.of(min(count, settings.logging.preview_images))
        if not own:
            return {}
        pictures, labels = validation.gather(chosen[own.start : own.stop])
        reconstructions = network.decode(network.encode(pictures).latent_dist.mean).sample
        return {
            "inputs": to_uint8(pictures),
            "reconstructions": to_uint8(reconstructions),
            "labels": labels.cpu().numpy(),
        }

    return run_training(
        run,
        Recipe(
            objective=objective,
            draw=draw,
            validate=validate,
            preview=preview,
            preview_axes={"inputs": 0, "reconstructions": 0, "labels": 0},
        ),
        network_name="vae",
        accelerator=start.accelerator,
        status=start.status,
        should_stop=should_stop,
        on_step=on_step,
    )
