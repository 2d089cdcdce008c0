"""The training loop both objectives share: a generator of frozen records; its caller logs, saves and stops.

A step depends on weights, optimizer state and step number only. The whole global batch of a step is drawn at once and
then cut into processes and micro-batches, so one process equals two and one micro-batch equals four, up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn

from core.config.schema import TrainSettings
from core.diffusers_parts import AdamW
from core.errors import NonFiniteError
from core.rules import NEWEST, check
from core.training.ema import Ema
from core.training.learning_rate import learning_rate_at
from core.training.muon import Muon
from core.training.ranks import SharedMean

MAX_NONFINITE_IN_A_ROW = 5

Draw = Callable[[int], dict[str, torch.Tensor]]
Mean = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What one optimizer step did. step: steps done, this one included. grad_norm: before clipping."""

    step: int
    losses: dict[str, float]
    grad_norm: float
    learning_rate: float
    is_finite: bool


def train_steps(
    objective: nn.Module,
    *,
    draw: Draw,
    accelerator: Accelerator,
    optimizer: torch.optim.Optimizer,
    ema: Ema,
    settings: TrainSettings,
    first_step: int,
    mean: Mean | None = None,
) -> Iterator[StepResult]:
    """Train from `first_step` steps done to `settings.steps`.

    draw(step): the global batch of that step, as keyword arguments of the objective with a leading batch dimension.
    mean: of a vector over all processes, where the wrapped objective does not average the gradients itself.
    A step whose loss or gradient is not finite changes neither weights nor optimizer nor EMA. Raises NonFiniteError
    after MAX_NONFINITE_IN_A_ROW of them in a row.
    """
    parameters = list(objective.parameters())
    nonfinite_in_a_row = 0
    for step in range(first_step, settings.steps):
        learning_rate = learning_rate_at(step, settings)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get("rate_factor", 1.0)
        parts = micro_batches(
            draw(step),
            count=settings.gradient_accumulation_steps,
            process_index=accelerator.process_index,
            num_processes=accelerator.num_processes,
        )
        totals: dict[str, torch.Tensor] = {}
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            with _sync_only(accelerator, objective, last):
                losses = objective(**part)
                accelerator.backward(losses["loss"] / len(parts))
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + value.detach() / len(parts)
        losses_of_step = torch.stack(list(totals.values()))
        if mean:
            losses_of_step = average(parameters, losses_of_step, mean)
        norm = nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
        figures = torch.cat([losses_of_step, torch.as_tensor(norm, device=accelerator.device).view(1)])
        figures = figures if mean else accelerator.reduce(figures, reduction="mean")
        *values, grad_norm = figures.tolist()  # the step's one device sync
        is_finite = all(map(math.isfinite, [*values, grad_norm]))
        if is_finite:
            optimizer.step()
            ema.step(parameters)
        optimizer.zero_grad(set_to_none=True)
        nonfinite_in_a_row = 0 if is_finite else nonfinite_in_a_row + 1
        yield StepResult(
            step=step + 1,
            losses=dict(zip(totals, values, strict=True)),
            grad_norm=grad_norm,
            learning_rate=learning_rate,
            is_finite=is_finite,
        )
        if nonfinite_in_a_row >= MAX_NONFINITE_IN_A_ROW:
            raise NonFiniteError(
                f"the loss or its gradient was not finite for {nonfinite_in_a_row} steps in a row, last at step "
                f"{step + 1}",
                "lower the learning rate, or set machine.mixed_precision to no; the last good checkpoint stands",
            )


def average(parameters: Sequence[nn.Parameter], figures: torch.Tensor, mean: Mean) -> torch.Tensor:
    """Replace the gradients by their mean over all processes; returns that of `figures` (n,). All go in one message."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    averaged = mean(torch.cat([figures, *(gradient.flatten() for gradient in gradients)]))
    figures, *parts = averaged.split([len(figures), *(gradient.numel() for gradient in gradients)])
    torch._foreach_copy_(gradients, [part.view_as(each) for part, each in zip(parts, gradients, strict=True)])
    return figures


def micro_batches(
    batch: dict[str, torch.Tensor], *, count: int, process_index: int = 0, num_processes: int = 1
) -> list[dict[str, torch.Tensor]]:
    """This process's share of a global batch, in `count` equal parts. The batch must divide evenly."""
    shares = {name: value.chunk(num_processes)[process_index] for name, value in batch.items()}
    chunks = {name: value.chunk(count) for name, value in shares.items()}
    return [{name: chunks[name][index] for name in chunks} for index in range(count)]


def build_optimizer(
    network: nn.Module, settings: TrainSettings, *, rule: int = NEWEST.optimizer, shared: SharedMean | None = None
) -> torch.optim.Optimizer:
    """AdamW (arXiv 1711.05101), or Muon beside it; the learning rate is set before every step.

    rule: version 1, see core.rules. shared: ranks that take the same steps, as `Muon` uses them.
    """
    check("optimizer", rule)
    if settings.optimizer == "muon":
        return Muon(network, settings, shared)
    return AdamW(
        network.parameters(),
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )


def build_ema(network: nn.Module, settings: TrainSettings) -> Ema:
    """The average of a network's weights, by the settings' decay."""
    return Ema(network.parameters(), decay=settings.ema_decay, power=settings.ema_power)


def _sync_only(accelerator: Accelerator, objective: nn.Module, sync: bool):  # type: ignore[no-untyped-def]
    """Gradients travel between processes with the last micro-batch only."""
    from contextlib import nullcontext

    return nullcontext() if sync else accelerator.no_sync(objective)
