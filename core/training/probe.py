"""What a training will cost, from a few real steps on random data of the right shape."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import torch

from core.config.schema import Settings
from core.device import free_on_gpu, resolve_device
from core.diffusion.schedule import build_schedule
from core.models.summary import latent_shape
from core.models.unet import build_unet
from core.models.vae import build_vae
from core.rules import NEWEST
from core.runs.kinds import KINDS
from core.seeding import Randomness
from core.training.cost import Probe
from core.training.diffusion_objective import DiffusionDraw, DiffusionObjective
from core.training.loop import Draw, build_ema, build_optimizer, train_steps
from core.training.start import open_accelerator
from core.training.vae_objective import VaeObjective
from core.weighing import need_of, ranks_of, refuse_what_is_not_free


def probe(
    settings: Settings,
    kind: str,
    *,
    channels: int = 1,
    num_classes: int = 10,
    steps: int = 6,
    warmup: int = 2,
    draw: Draw | None = None,
) -> Probe:
    """Measure `kind` ('vae' or 'unet') with these settings; takes a second or two on a CPU.

    draw: the batch of each step, for one process (default: one of noise, the same for all).
    The estimate leaves out the dataset's preparation, encoding, validation and previews. Of several processes on a CPU
    it measures one with its share of the batch. The caller's random state
    and thread count are left as they were. Raises UsageError, before anything is built, where memory has no room.
    """
    device = resolve_device(settings.machine.device)
    on_gpu = device.type == "cuda"
    need = need_of(settings, KINDS[kind], on_gpu=on_gpu)
    refuse_what_is_not_free(need, free_on_gpu(device) if on_gpu else None)
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        accelerator = open_accelerator(settings)
        device = accelerator.device
        train = KINDS[kind].training_in(settings)
        images = train.batch_size if on_gpu else train.batch_size // ranks_of(settings, KINDS[kind], on_gpu=False)
        shape = latent_shape(settings)
        if kind == "vae":
            size = settings.data.image_size
            objective: torch.nn.Module = VaeObjective(
                build_vae(settings.vae, channels=channels, image_size=size), settings.train_vae
            )
            batch = {
                "images": torch.rand(images, channels, size, size, device=device) * 2 - 1,
                "noise": torch.randn(images, *shape, device=device),
            }
        else:
            unet = build_unet(settings.unet, latent_channels=shape[0], latent_size=shape[1], num_classes=num_classes)
            objective = DiffusionObjective(unet)
            batch = DiffusionDraw(
                schedule=build_schedule(settings.diffusion).to(device),
                unconditional_label=num_classes,
                cond_drop_prob=settings.diffusion.cond_drop_prob,
                random=Randomness(0, NEWEST.noise, "unet"),
            ).inputs(
                torch.randn(images, *shape, device=device),
                torch.zeros(images, dtype=torch.long, device=device),
                0,
            )
        network: Any = objective.to(device).network
        ema, optimizer = build_ema(network, train), build_optimizer(network, train)
        prepared, prepared_optimizer = accelerator.prepare(objective, optimizer)
        count = min(train.steps, warmup + steps)
        marks = [time.perf_counter()]
        for _ in train_steps(
            prepared,
            draw=draw or (lambda step: batch),
            accelerator=accelerator,
            optimizer=prepared_optimizer,
            ema=ema,
            settings=train.model_copy(update={"steps": count}),
            first_step=0,
        ):
            marks.append(time.perf_counter())
    torch.set_num_threads(threads)
    durations = sorted(after - before for before, after in pairwise(marks))
    median = durations[len(durations) // 2]
    return Probe(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        seconds_per_step=median,
        images_per_s=train.batch_size / median,
        estimated_s=median * train.steps,
        device=str(device),
    )
