"""A U-Net run: takes its VAE, encodes the dataset once, trains on the cached latents."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core import atomic, reading
from core.data.arrays import ImageSet, Split
from core.data.batches import Batches, on_device
from core.data.splits import limited_indices
from core.diffusion.schedule import build_schedule
from core.errors import CheckpointError
from core.latent.cache import LatentSet, cached_latents
from core.latent.codec import LatentCodec, LatentScaling, split_moments
from core.latent.inspection.statistics import kl_per_channel
from core.latent.stored_vae import build_from_files, load_codec
from core.models.unet import build_unet
from core.runs.checkpoints import WEIGHTS_FILE, load_newest
from core.runs.kinds import function_at
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from core.sampling.load import LoadedModel
from core.sampling.request import request_of, slice_of
from core.sampling.trajectory import record
from core.seeding import Randomness, derive
from core.training.diffusion_objective import DiffusionDraw, DiffusionObjective
from core.training.session import OnStep, Outcome, Recipe, Share, ShouldStop, run_training
from core.training.start import start_run

logger = logging.getLogger(__name__)

KL_IMAGES = 2000  # the first of the training set, over which the KL of a channel is averaged


def train(
    run: Run,
    *,
    data_dir: Path,
    cache_dir: Path,
    store_root: Path,
    should_stop: ShouldStop,
    on_step: OnStep | None = None,
) -> Outcome:
    """Train (or resume) a U-Net run on its VAE's latents. Raises a LabError in one sentence when it cannot go on."""
    settings = run.settings
    start = start_run(run, data_dir=data_dir, cache_dir=cache_dir)
    device, images = start.device, start.images
    ranks = start.accelerator.num_processes if device.type == "cpu" else 1
    is_mixed = settings.train_unet.encode_in_mixed_precision and start.accelerator.mixed_precision == "bf16"
    dtype = torch.bfloat16 if is_mixed else torch.float32
    split = _limited(images.learned(run.rules.split), settings.train_unet.image_limit, settings.seed, run.rules.split)
    with nullcontext() if ranks > 1 else start.accelerator.main_process_first():  # on CPUs all of them encode together
        latents, codec = _latents(
            run, images, split, device, cache_dir, store_root, start.progress, should_stop, ranks, dtype
        )
    if latents is None:
        return Outcome(
            state=RunState.STOPPED, step=start.step, reason="stopped while encoding latents; nothing to save yet"
        )
    logger.info("latents are ready: %s", " × ".join(f"{side:,}" for side in latents.moments.shape))

    shape = (settings.vae.latent_channels, *latents.moments.shape[2:])
    random = Randomness(settings.seed, run.rules.noise, "unet")
    random.seed_torch("weights", 1)
    unet = build_unet(settings.unet, latent_channels=shape[0], latent_size=shape[1], num_classes=images.num_classes).to(
        device
    )
    objective = DiffusionObjective(unet)
    schedule = build_schedule(settings.diffusion, weight_rule=run.rules.loss_weight)
    batches = Batches(split, batch_size=settings.train_unet.batch_size, seed=settings.seed)
    gather = MomentsGather(latents, split.labels, device)
    drawing = DiffusionDraw(
        schedule=schedule.to(device),
        unconditional_label=images.num_classes,
        cond_drop_prob=settings.diffusion.cond_drop_prob,
        random=random,
        distribution=settings.diffusion.timestep_distribution,
        mean=settings.diffusion.timestep_mean,
        is_stratified=settings.diffusion.stratified_timesteps,
    )

    def draw(step: int) -> dict[str, torch.Tensor]:
        clean, labels = gather(batches.indices(step), random.generator("posterior", step, device=device))
        return drawing.inputs(clean, labels, step)

    validate = _validation(run, images, codec, drawing, device)
    count = settings.logging.preview_images
    request = replace(
        request_of(settings.sampling, (index % images.num_classes for index in range(count)), noise_rule=random.rule),
        num_inference_steps=settings.logging.preview_inference_steps,
    )

    def opened(network: Any) -> LoadedModel:
        return LoadedModel(
            unet=network,
            codec=codec,
            schedule=schedule,
            settings=settings,
            class_names=images.class_names,
            image_set_fingerprint=images.fingerprint,
            run_id=run.id,
            step=0,
            device=device,
        )

    def preview(network: Any, share: Share) -> dict[str, np.ndarray]:
        own = share.of(count)
        if not own:
            return {}
        path = record(opened(network), slice_of(request, own.start, own.stop))
        return {
            "images": path.images,
            "labels": np.array(path.labels, dtype=np.int64),
            "timesteps": path.timesteps,
            "noisy_images": path.noisy_images,
            "predicted_images": path.predicted_images,
        }

    quality = None
    if settings.evaluation.during:
        measure = function_at(run.kind.quality)(
            run,
            images,
            cache_dir=cache_dir,
            accelerator=start.accelerator,
            should_stop=should_stop,
            progress=start.progress,
        )
        quality = measure and (lambda network: measure(opened(network)))
    return run_training(
        run,
        Recipe(
            objective=objective,
            draw=draw,
            validate=validate,
            preview=preview,
            preview_axes={"images": 0, "labels": 0, "noisy_images": 1, "predicted_images": 1},
            quality=quality,
        ),
        network_name="unet",
        accelerator=start.accelerator,
        status=start.status,
        should_stop=should_stop,
        on_step=on_step,
    )


def _limited(split: Split, limit: int | None, seed: int, rule: int) -> Split:
    """The split itself, or some of its images, chosen as data.train_limit chooses."""
    places = limited_indices(np.arange(len(split.labels)), limit, seed, rule=rule)
    if len(places) == len(split.labels):
        return split
    return split.part(places)


class MomentsGather:
    """Clean, normalised latents of chosen pictures: a posterior sample each, drawn from the given generator."""

    def __init__(self, latents: LatentSet, labels: np.ndarray, device: torch.device) -> None:
        self.device = device
        self.scaling = latents.scaling
        self.labels = torch.from_numpy(np.array(labels)).to(device)
        size = latents.moments.nbytes
        fits = device.type == "cuda" and size < torch.cuda.mem_get_info(device)[0] // 4
        self.resident = torch.from_numpy(np.array(latents.moments)).to(device) if fits else None
        self.moments = latents.moments

    def __call__(self, indices: np.ndarray, source: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """indices (B,) → latents (B, c, h, w), labels (B,)."""
        if self.resident is not None:
            moments = self.resident[torch.from_numpy(indices).to(self.device)]
        else:
            moments = torch.from_numpy(self.moments[indices]).to(self.device)
        mean, std = split_moments(moments)
        noise = torch.randn(mean.shape, generator=source, device=self.device)
        labels = self.labels[torch.from_numpy(indices).to(self.device)]
        return self.scaling.normalize(mean + std * noise), labels


def _latents(
    run: Run,
    images: ImageSet,
    split: Split,
    device: torch.device,
    cache_dir: Path,
    store_root: Path,
    progress: Any,
    should_stop: ShouldStop,
    ranks: int,
    dtype: torch.dtype,
) -> tuple[LatentSet | None, LatentCodec]:
    """The latents of the split, and the codec; at the first start the VAE is copied into the run folder.

    ranks, dtype: how many processes come here together, and what they compute in; see `cached_latents`.
    """
    if (run.vae_dir / "codec.json").exists():
        load_codec(run.vae_dir, device)  # refuses an altered copy before anything is encoded with it
        files = {name: reading.read_bytes(run.vae_dir / name) for name in ("config.json", WEIGHTS_FILE)}
        origin = reading.read_object(run.vae_dir / "codec.json")
    else:
        parent = RunStore(store_root).get(run.info.parents[0])
        checkpoint = load_newest(parent.checkpoints_dir)
        if checkpoint is None:
            raise CheckpointError(f"{parent.id}: this VAE run has no checkpoint yet", "train it first")
        files = {name: checkpoint.files[f"vae_ema/{name}"] for name in ("config.json", WEIGHTS_FILE)}
        origin = {"vae_run": parent.id, "vae_step": checkpoint.step}
    weights_hash = hashlib.sha256(files[WEIGHTS_FILE]).hexdigest()
    from core.diffusers_parts import AutoencoderKL

    vae = build_from_files(AutoencoderKL, {f"vae/{name}": data for name, data in files.items()}, "vae")
    vae = vae.to(device).eval().requires_grad_(False)
    if vae.config.in_channels != images.channels:
        raise CheckpointError(
            f"{run.id}: its VAE is for {vae.config.in_channels}-channel images, '{images.name}' has {images.channels}"
        )
    found = cached_latents(
        vae,
        split.images,
        key=_latents_key(run, images, split, weights_hash),
        cache_dir=cache_dir,
        progress=progress,
        should_stop=should_stop,
        ranks=ranks,
        dtype=dtype,
    )
    if found is None:
        return None, LatentCodec(vae=vae, scaling=LatentScaling(shift=(0.0,), scale=(1.0,)))
    is_first = ranks == 1 or torch.distributed.get_rank() == 0
    if is_first and not (run.vae_dir / "codec.json").exists():
        mean, std = split_moments(torch.from_numpy(np.array(found.moments[:KL_IMAGES])))
        facts = {**origin, "sha256": weights_hash, "shift": found.scaling.shift, "scale": found.scaling.scale}
        facts["kl"] = kl_per_channel(mean.numpy(), std.numpy()).tolist()
        atomic.write_folder(run.vae_dir, {**files, "codec.json": json.dumps(facts, indent=1).encode()})
    if ranks > 1:
        torch.distributed.barrier()  # the others read what the first wrote
    return found, load_codec(run.vae_dir, device)


def _latents_key(run: Run, images: ImageSet, split: Split, weights_hash: str) -> str:
    """Names images and weights of latents that are kept: runs with the same ones share them."""
    key = f"{images.name}-{images.fingerprint[:12]}-{weights_hash[:12]}"
    if split is images.train:
        return key
    if run.rules.split > 1:
        key += f"-split-{run.rules.split}"
    is_limited = run.settings.train_unet.image_limit is not None
    return f"{key}-{len(split.labels)}-of-seed-{run.settings.seed}" if is_limited else key


def _validation(run: Run, images: ImageSet, codec: LatentCodec, drawing: DiffusionDraw, device: torch.device) -> Any:
    """Loss on fixed pictures that are not learned from, fixed noise, fixed timesteps, all labels kept."""
    settings, split = run.settings, images.validation(run.rules.split)
    count = min(settings.logging.validation_images, len(split.labels))
    chosen = np.random.default_rng(derive(settings.seed, "validation")).permutation(len(split.labels))[:count]
    resident = on_device(split, device)
    pairs = [resident.gather(chosen[start : start + 256]) for start in range(0, count, 256)]
    with torch.no_grad():
        posteriors = [codec.vae.encode(pictures).latent_dist for pictures, _ in pairs]
    mean, std = (torch.cat([getattr(item, name).float() for item in posteriors]) for name in ("mean", "std"))
    source = drawing.random.generator("validation posterior", device=device)
    # a posterior sample, as in training: its noise is part of the loss, and the two curves can be compared
    clean = codec.scaling.normalize(mean + std * torch.randn(mean.shape, generator=source, device=device))
    labels = torch.cat([part for _, part in pairs])
    fixed = replace(drawing, cond_drop_prob=0.0).inputs(clean, labels, 0, purpose="validation")

    @torch.no_grad()
    def validate(network: nn.Module, share: Share) -> dict[str, float]:
        objective = DiffusionObjective(network)  # type: ignore[arg-type]
        total = 0.0
        own = share.of(count)
        for start in range(own.start, own.stop, 256):
            part = {name: value[start : min(start + 256, own.stop)] for name, value in fixed.items()}
            total += float(objective(**part)["loss"]) * len(part["labels"]) / count
        return {"loss": total}

    return validate
