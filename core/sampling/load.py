"""From a trained run to something that samples: U-Net, codec, schedule and the names of the classes."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Literal

import torch

from core import reading
from core.config.schema import Settings
from core.device import resolve_device
from core.diffusers_parts import UNet2DModel
from core.diffusion.schedule import NoiseSchedule, build_schedule
from core.errors import CheckpointError
from core.latent.codec import LatentCodec
from core.latent.stored_vae import build_from_files, load_codec
from core.rules import NEWEST
from core.runs.checkpoints import WEIGHTS_FILE, load_newest
from core.runs.facts import data_facts
from core.runs.listing import list_checkpoints
from core.runs.run import Run
from core.weighing import refuse_loading

logger = logging.getLogger(__name__)
Weights = Literal["ema", "raw"]


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A denoiser ready to sample, in evaluation mode, on one device.

    weights_sha256: of the U-Net's and the VAE's weights together, '' when the model was never on disk.
    noise_rule: version of the rule "noise" of its run, which its pictures follow where nothing else is said.
    """

    unet: UNet2DModel
    codec: LatentCodec
    schedule: NoiseSchedule
    settings: Settings
    class_names: tuple[str, ...]
    image_set_fingerprint: str
    run_id: str
    step: int
    device: torch.device
    weights_sha256: str = ""
    noise_rule: int = NEWEST.noise

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def unconditional_label(self) -> int:
        """The null class, K."""
        return self.num_classes

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(c, h, w)."""
        side = self.settings.data.image_size // self.settings.vae.downsample_factor
        return (self.settings.vae.latent_channels, side, side)


def load_model(run: Run, *, device: str = "auto", weights: Weights = "ema", step: int | None = None) -> LoadedModel:
    """A U-Net run's newest checkpoint that verifies (or `step`), with the run's own copy of its VAE.

    Raises UsageError for a VAE run and where memory has no room, CheckpointError when nothing was saved yet or nothing
    verifies.
    """
    run.check_generates(but="; images are sampled from a U-Net run")
    kept = [info for info in list_checkpoints(run) if step in (None, info.step)]
    if kept:
        refuse_loading(run.id, 2 * kept[-1].size_bytes)  # its files, and networks made of them
    checkpoint = load_newest(run.checkpoints_dir, step=step)
    if checkpoint is None:
        raise CheckpointError(f"{run.id}: has no checkpoint yet", "let it train until its first save")
    for sentence in checkpoint.skipped:
        logger.warning("%s: %s; using step %s", run.id, sentence, f"{checkpoint.step:,}")
    target = resolve_device(device)
    name = "unet_ema" if weights == "ema" else "unet"
    unet = build_from_files(UNet2DModel, checkpoint.files, name)
    try:
        data = data_facts(run)
        if not data.class_names:
            raise ValueError("it names no classes")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{run.id}: data.json cannot be read: {error}") from None
    return LoadedModel(
        unet=unet.to(target).eval(),
        codec=load_codec(run.vae_dir, target),
        schedule=build_schedule(run.settings.diffusion),
        settings=run.settings,
        class_names=data.class_names,
        image_set_fingerprint=data.fingerprint,
        run_id=run.id,
        step=checkpoint.step,
        device=target,
        weights_sha256=weights_hash(
            checkpoint.files[f"{name}/{WEIGHTS_FILE}"], reading.read_bytes(run.vae_dir / WEIGHTS_FILE)
        ),
        noise_rule=run.rules.noise,
    )


def weights_hash(*parts: bytes) -> str:
    """sha256 over the weights of a model: the same pictures need the same."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
