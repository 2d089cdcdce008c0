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
from core.training.session import OnStep, Outcome, Recipe, ShouldStop, run_training
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
    resident = on_device(images.train, device)
    batches = Batches(images.train, batch_size=settings.train_vae.batch_size, seed=settings.seed)
    side = images.image_size // settings.vae.downsample_factor
    shape = (settings.vae.latent_channels, side, side)

    def noise(count: int, purpose: str, step: int) -> torch.Tensor:
        source = random.generator(purpose, step, device=device)
        return torch.randn(count, *shape, generator=source, device=device)

    def draw(step: int) -> dict[str, torch.Tensor]:
        pictures, _ = resident.gather(batches.indices(step))
        return {"images": pictures, "noise": noise(len(pictures), "posterior", step)}

    heldout = on_device(images.heldout, device)
    count = min(settings.logging.validation_images, len(images.heldout.labels))
    chosen = np.random.default_rng(derive(settings.seed, "validation")).permutation(len(images.heldout.labels))[:count]

    @torch.no_grad()
    def validate(network: nn.Module) -> dict[str, float]:
        fixed = VaeObjective(network, settings.train_vae)  # type: ignore[arg-type]
        totals: dict[str, float] = {}
        drawn = noise(count, "validation", 0)
        for start in range(0, count, 256):
            pictures, _ = heldout.gather(chosen[start : start + 256])
            for name, value in fixed(pictures, drawn[start : start + 256]).items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(pictures) / count
        return totals

    @torch.no_grad()
    def preview(network: Any) -> dict[str, np.ndarray]:
        pictures, labels = heldout.gather(chosen[: settings.logging.preview_images])
        reconstructions = network.decode(network.encode(pictures).latent_dist.mean).sample
        return {
            "inputs": to_uint8(pictures),
            "reconstructions": to_uint8(reconstructions),
            "labels": labels.cpu().numpy(),
        }

    return run_training(
        run,
        Recipe(objective=objective, draw=draw, validate=validate, preview=preview),
        network_name="vae",
        accelerator=start.accelerator,
        status=start.status,
        should_stop=should_stop,
        on_step=on_step,
    )
