"""The recipe of a training run: resume, step, log, validate, preview, save, stop. Both kinds of run share it."""

from __future__ import annotations

import io
import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import save as save_safetensors
from torch import nn

from core import atomic, leftovers
from core.config.schema import TrainSettings
from core.errors import CheckpointError, NonFiniteError, StorageFull, is_full_disk
from core.machine.gpus import CONTEXT_BYTES
from core.machine.peak_memory import own_peak, shared_with_others
from core.runs.checkpoints import Checkpoint, load_newest, network_files, save_checkpoint
from core.runs.metrics import MetricsWriter
from core.runs.run import Run, RunState
from core.seeding import Randomness
from core.training.cuda_graphs import GraphedObjective, can_graph
from core.training.loop import Draw, StepResult, build_ema, build_optimizer, train_steps
from core.training.ranks import shared_mean
from core.training.spent import Spent
from core.training.start import StatusKeeper
from core.training.trackers import Trackers

logger = logging.getLogger(__name__)

FIRST_PREVIEW = 20
ShouldStop = Callable[[], bool]
OnStep = Callable[[StepResult], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training ended: FINISHED or STOPPED, at which step, and why in words.

    peak: bytes of memory that all processes and each GPU took at the most; None where nobody can say so.
    """

    state: RunState
    step: int
    reason: str = ""
    peak: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one of the processes on a CPU does of work on images that needs no gradient."""

    rank: int = 0
    count: int = 1

    def of(self, images: int) -> range:
        """The places, of so many, that are this process's; empty where there are fewer images than processes."""
        return range(images * self.rank // self.count, images * (self.rank + 1) // self.count)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What differs between a VAE and a U-Net run.

    objective: module whose `.network` is trained. draw(step): that step's global batch. validate and preview get the
    averaged network in evaluation mode and the share of the images they work on. validate returns the share's part of
    each mean: the parts of all shares add up to it. preview returns the arrays of one previews/*.npz, with the images
    in the order of their places; preview_axes: the axis of each array that counts images, if any does. quality: of
    the averaged network, called by all ranks at once every evaluation.during steps; None measures nothing.
    """

    objective: nn.Module
    draw: Draw
    validate: Callable[[nn.Module, Share], dict[str, float]]
    preview: Callable[[nn.Module, Share], dict[str, np.ndarray]]
    preview_axes: Mapping[str, int]
    quality: Callable[[nn.Module], dict[str, float]] | None = None


def run_training(
    run: Run,
    recipe: Recipe,
    *,
    network_name: str,
    accelerator: Accelerator,
    status: StatusKeeper,
    should_stop: ShouldStop,
    on_step: OnStep | None,
) -> Outcome:
    """Train a run from its newest good checkpoint to its end, to a stop request, or to an error.

    Raises NonFiniteError, CheckpointError, StorageFull; the last good checkpoint stands in every case.
    """
    settings, train = run.settings, run.train_settings
    session = _Session(run, recipe, network_name, accelerator, train)
    checkpoint = session.resume()
    first_step = checkpoint.step if checkpoint else 0
    status.begin(session.elapsed_before_s)
    logger.info("training begins at step %s", f"{first_step:,}")
    spent = Spent()
    writer = MetricsWriter(run.metrics_path)
    if accelerator.is_main_process:
        writer.truncate_after(first_step)
    trackers = Trackers(accelerator, settings, run.id)
    previews = set(preview_steps(train.steps, settings.logging.num_previews))
    if first_step == 0 and 0 in previews:
        with spent.on("previews"):
            session.write_preview(0)
    interval = _Interval(train.batch_size)
    random = Randomness(settings.seed, run.rules.noise, network_name)

    def draw(step: int) -> dict[str, torch.Tensor]:
        random.seed_torch("dropout", step, accelerator.process_index)
        return recipe.draw(step)

    def write(line: dict[str, Any]) -> None:
        if accelerator.is_main_process:
            writer.append(line)
            trackers.log(line, line["step"])

    def log_line(result: StepResult, measured: dict[str, float]) -> None:
        write({**interval.line(result, status.elapsed_s), **measured})

    status.write(RunState.RUNNING, first_step, stage="training", force=True)
    result: StepResult | None = None
    is_diverging = False
    try:
        for result in train_steps(
            session.objective,
            draw=draw,
            accelerator=accelerator,
            optimizer=session.optimizer,
            ema=session.ema,
            settings=train,
            first_step=first_step,
            mean=session.mean,
        ):
            step = result.step
            interval.add(result)
            if not (result.is_finite or is_diverging):
                is_diverging = True
                session.tell_divergence(step)
            last = step == train.steps
            stopping = not last and session.any_process(should_stop())
            saves = last or stopping or step % settings.logging.save_every_steps == 0
            validates = last or step % settings.logging.validate_every_steps == 0
            with spent.on("validation"):
                measured = session.validate() if validates else {}
            if recipe.quality and (last or step % settings.evaluation.during == 0) and not stopping:
                with spent.on("quality"):
                    measured |= session.measure_quality(recipe.quality)
            if saves or validates or step % settings.logging.log_every_steps == 0:
                log_line(result, measured)
            elif measured:  # a line of its own: the others average the steps that they average without it
                write({"step": step, **measured})
            if step in previews:
                with spent.on("previews"):
                    session.write_preview(step)
            if stopping:
                status.write(RunState.STOPPING, step, stage="saving a checkpoint", force=True)
            if saves:
                with spent.on("checkpoints"):
                    session.save(step, status.elapsed_s)
            status.write(RunState.RUNNING, step, stage="training", force=last)
            if on_step:
                on_step(result)
            if stopping:
                session.join()
                return Outcome(state=RunState.STOPPED, step=step, reason=f"stopped; checkpoint of step {step:,} saved")
    except NonFiniteError:
        if result:
            log_line(result, {})
        raise
    except Exception as error:  # libraries tell a full disk by errors of their own
        if is_full_disk(error):
            step = result.step if result else first_step
            raise StorageFull(
                f"disk full at step {step:,} while writing to {run.folder}",
                f"{_last_checkpoint_in_words(run)}; free some space and resume",
            ) from error
        raise
    finally:
        trackers.close()
    peak = session.peak()
    session.join()
    logger.info(spent.in_words())
    return Outcome(state=RunState.FINISHED, step=train.steps, peak=peak)


def preview_steps(total: int, count: int) -> list[int]:
    """At most `count` steps from 0 to `total`, both included, log-spaced: early learning changes fastest.

    The first after 0 is at 1 % of the training and by step FIRST_PREVIEW: before, the averaged weights are still those
    of the beginning, and a film would stand still.
    """
    if count <= 0:
        return []
    if count == 1:
        return [total]
    first = max(1.0, min(FIRST_PREVIEW, total / 100))
    spaced = np.logspace(math.log10(first), math.log10(max(total, 1)), count - 1)
    return sorted({0, total, *(round(step) for step in spaced)})


class _Session:
    """Networks, optimizer and average of one run, and how they go to disk and come back."""

    def __init__(
        self, run: Run, recipe: Recipe, network_name: str, accelerator: Accelerator, train: TrainSettings
    ) -> None:
        self.run, self.recipe, self.name, self.accelerator = run, recipe, network_name, accelerator
        network: Any = recipe.objective.network
        self.network: Any = network.to(accelerator.device)
        self.averaged: Any = deepcopy(self.network).eval().requires_grad_(False)
        self.ema = build_ema(self.network, train)
        self.objective: nn.Module = recipe.objective
        self.mean = shared_mean()
        self.share = Share(rank=self.mean.rank, count=self.mean.count) if self.mean else Share()
        self.optimizer = build_optimizer(self.network, train, rule=run.rules.optimizer, shared=self.mean)
        self.elapsed_before_s = 0.0

    def resume(self) -> Checkpoint | None:
        """Load the newest checkpoint that verifies; tells the log and the events when newer ones were damaged."""
        if self.accelerator.is_main_process:
            leftovers.sweep(self.run.checkpoints_dir, older_than_s=0.0)
        self.accelerator.wait_for_everyone()
        checkpoint = load_newest(self.run.checkpoints_dir)
        if checkpoint:
            for sentence in checkpoint.skipped:
                message = f"{sentence}; falling back to step {checkpoint.step}"
                logger.warning(message)
                if self.accelerator.is_main_process:
                    self.run.add_event("checkpoint damaged", reason=message)
            self._restore(checkpoint)
            logger.info("resumed from step %s", f"{checkpoint.step:,}")
        # Accelerate wraps what is already on the device and restored; its own state is never saved. Ranks that share
        # memory need none of its averaging: evaluation_mode leaves that away, and sets no mode
        self.objective = self.accelerator.prepare_model(
            self.objective, device_placement=True, evaluation_mode=self.mean is not None
        )
        self.optimizer = self.accelerator.prepare_optimizer(self.optimizer)
        self.objective.train()
        if can_graph(self.accelerator, self.run.settings.machine, self.run.train_settings):
            self.objective = GraphedObjective(self.objective)
        return checkpoint

    def _restore(self, checkpoint: Checkpoint) -> None:
        try:
            self.network.load_state_dict(checkpoint.tensors(f"{self.name}/diffusion_pytorch_model.safetensors"))
            averaged = checkpoint.tensors(f"{self.name}_ema/diffusion_pytorch_model.safetensors")
            names = [name for name, _ in self.network.named_parameters()]
            self.ema.shadow_params = [averaged[name].to(self.accelerator.device) for name in names]
            facts = checkpoint.json("state.json")
            self.ema.optimization_step = facts["ema_updates"]
            self.elapsed_before_s = facts["elapsed_s"]
            if facts.get("optimizer", "adamw") == self.run.train_settings.optimizer:  # a branch may choose another
                moments = checkpoint.tensors("optimizer.safetensors")
                keys = facts["optimizer_keys"]
                for name, parameter in self.network.named_parameters():
                    own = [key for key in keys if f"{name}/{key}" in moments] or keys
                    state = {key: moments[f"{name}/{key}"].to(parameter.device) for key in own}
                    if state:
                        self.optimizer.state[parameter] = state
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{self.run.id}: checkpoint {checkpoint.folder.name} does not fit this network: "
                f"{str(error).splitlines()[0]}"
            ) from None

    def save(self, step: int, elapsed_s: float) -> None:
        """Write a durable checkpoint (main process only)."""
        if not self.accelerator.is_main_process:
            return
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        states = {name: optimizer.state.get(parameter, {}) for name, parameter in self.network.named_parameters()}
        keys = sorted({key for state in states.values() for key in state})
        moments = {
            f"{name}/{key}": value.detach().cpu().contiguous()
            for name, state in states.items()
            for key, value in state.items()
        }
        averaged = dict(zip((name for name, _ in self.network.named_parameters()), self.ema.shadow_params, strict=True))
        facts = {
            "step": step,
            "ema_updates": self.ema.optimization_step,
            "elapsed_s": elapsed_s,
            "optimizer": self.run.train_settings.optimizer,
            "optimizer_keys": keys,
            "torch": torch.__version__,
        }
        files = {
            **network_files(self.name, self.network.config, self.network.state_dict()),
            **network_files(f"{self.name}_ema", self.network.config, {**self.network.state_dict(), **averaged}),
            "optimizer.safetensors": save_safetensors(moments),
            "state.json": json.dumps(facts, indent=1).encode(),
        }
        save_checkpoint(self.run.checkpoints_dir, step, files, keep=self.run.settings.logging.keep_checkpoints)

    def tell_divergence(self, step: int) -> None:
        """The first step whose loss is no number, in the events: screens and the webhook tell people."""
        if self.accelerator.is_main_process:
            self.run.add_event(
                "diverging", step=step, reason=f"the loss or its gradient was not finite at step {step:,}"
            )

    def any_process(self, flag: bool) -> bool:
        """True when any process saw the stop request: all of them must leave at the same step."""
        if self.accelerator.num_processes == 1:
            return flag
        flags = torch.tensor([float(flag)], device=self.accelerator.device)
        return bool((self.mean(flags) if self.mean else self.accelerator.reduce(flags)).item() > 0)

    def peak(self) -> tuple[int, int] | None:
        """See `Outcome.peak`; called by all ranks at once. None over several machines."""
        if os.environ.get("LOCAL_WORLD_SIZE") != os.environ.get("WORLD_SIZE"):
            return None
        device = self.accelerator.device
        gpu = torch.cuda.max_memory_reserved(device) + CONTEXT_BYTES if device.type == "cuda" else 0
        own = own_peak() - (shared_with_others() if self.share.rank else 0)
        parts = _of_all((own, gpu)) if self.accelerator.num_processes > 1 else [(own, gpu)]
        host = sum(part[0] for part in parts)
        return (host, max(part[1] for part in parts)) if host > 0 else None

    def join(self) -> None:
        """Wait for the other ranks before the process ends: a rank that leaves early fails those that still talk."""
        if self.accelerator.num_processes > 1:
            self.accelerator.wait_for_everyone()
            torch.distributed.destroy_process_group()

    def _average(self) -> Any:
        self.ema.copy_to(self.averaged.parameters())
        return self.averaged

    def validate(self) -> dict[str, float]:
        """Held-out figures with the averaged weights, the same in all processes."""
        parts: list[Any] = [self.recipe.validate(self._average(), self.share)]
        if self.mean:
            parts = _of_all(parts[0])
        return {f"val_{name}": sum(part.get(name, 0.0) for part in parts) for name in parts[0] or parts[-1]}

    def measure_quality(self, quality: Callable[[nn.Module], dict[str, float]]) -> dict[str, float]:
        """Quality of the images of the averaged weights; {} in all ranks but the first."""
        return {f"eval_{name}": value for name, value in quality(self._average()).items()}

    def write_preview(self, step: int) -> None:
        """previews/step-%08d.npz, with the averaged weights (the fresh ones at step 0)."""
        if not (self.mean or self.accelerator.is_main_process):
            return
        arrays = self.recipe.preview(self._average(), self.share)
        if self.mean:
            arrays = merged(_of_all(arrays), self.recipe.preview_axes)
        if not self.accelerator.is_main_process:
            return
        buffer = io.BytesIO()
        np.savez_compressed(buffer, step=np.int64(step), **arrays)  # type: ignore[arg-type]
        atomic.make_folder(self.run.previews_dir, parents=False)
        atomic.write_bytes(self.run.previews_dir / f"step-{step:08d}.npz", buffer.getvalue())


def _of_all(own: Any) -> list[Any]:
    """What every process has, in their order, in all of them."""
    found = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, own)
    return found


def merged(parts: Sequence[Mapping[str, np.ndarray]], axes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The arrays of all shares as one; empty parts count for nothing."""
    parts = [part for part in parts if part]
    return {
        name: np.concatenate([part[name] for part in parts], axis=axes[name]) if name in axes else first
        for name, first in parts[0].items()
    }


class _Interval:
    """Averages steps into one line of metrics; a line always closes at a checkpoint, so resume repeats none."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.results: list[StepResult] = []
        self.started_s = math.nan

    def add(self, result: StepResult) -> None:
        self.results.append(result)

    def line(self, last: StepResult, elapsed_s: float) -> dict[str, Any]:
        count = max(1, len(self.results))
        means = {name: sum(item.losses[name] for item in self.results) / count for name in last.losses}
        seconds = elapsed_s - self.started_s
        images = count * self.batch_size
        line = {
            "step": last.step,
            "images_seen": last.step * self.batch_size,
            "elapsed_s": round(elapsed_s, 3),
            **means,
            "learning_rate": last.learning_rate,
            "grad_norm": sum(item.grad_norm for item in self.results) / count,
            **({"images_per_s": round(images / seconds, 1)} if seconds > 0 else {}),
        }
        self.results = []
        self.started_s = elapsed_s
        return line


def _last_checkpoint_in_words(run: Run) -> str:
    try:
        checkpoint = load_newest(run.checkpoints_dir)
    except CheckpointError:
        checkpoint = None
    return f"the checkpoint of step {checkpoint.step:,} stands" if checkpoint else "nothing was saved yet"
