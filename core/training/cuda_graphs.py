"""Forward and backward pass of a training step as CUDA graphs.

A small network keeps a GPU waiting for Python, which launches a thousand kernels a step; a graph launches them all at
once (https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs). What is computed stays the same.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from core.config.schema import MachineSettings, TrainSettings

logger = logging.getLogger(__name__)


def can_graph(accelerator: Accelerator, machine: MachineSettings, train: TrainSettings) -> bool:
    """True on one GPU without micro-batches.

    A graph leaves its gradients in memory that its next replay writes again, so a second micro-batch would be added to
    itself; and several processes exchange gradients while they are computed.
    """
    return (
        machine.cuda_graphs
        and accelerator.device.type == "cuda"
        and accelerator.num_processes == 1
        and train.gradient_accumulation_steps == 1
    )


class GraphedObjective(nn.Module):
    """An objective on a GPU, captured at its first batch and replayed from then on; all batches have its shapes.

    Where capturing fails the objective works as ever, and the log says why.
    """

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.in_order = _InOrder(objective)
        self.is_captured = False

    def forward(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Keyword arguments of the objective → its losses; only `loss` carries a gradient."""
        values = tuple(batch[name] for name in sorted(batch))
        if not self.is_captured:
            self.in_order.names = tuple(sorted(batch))
            self._capture(values)
        losses = self.in_order(*values)
        return dict(zip(self.in_order.loss_names, losses, strict=True))

    def _capture(self, values: tuple[torch.Tensor, ...]) -> None:
        """Warming up draws random numbers (dropout), so the generator is put back: resuming changes no step."""
        device = values[0].device
        before = torch.cuda.get_rng_state(device)
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)  # captured on a stream of its own
        self.is_captured = True
        began = time.monotonic()
        try:
            torch.cuda.make_graphed_callables(self.in_order, values, allow_unused_input=True)
            logger.info("captured the CUDA graph in %.2f s", time.monotonic() - began)
        except RuntimeError as error:
            logger.warning("no CUDA graph, training without: %s", str(error).splitlines()[0])
        torch.cuda.set_rng_state(before, device)


class _InOrder(nn.Module):
    """The objective with its arguments and losses in a fixed order, as graphs want them."""

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.objective = objective
        self.names: tuple[str, ...] = ()
        self.loss_names: tuple[str, ...] = ()

    def forward(self, *values: Any) -> tuple[torch.Tensor, ...]:
        losses = self.objective(**dict(zip(self.names, values, strict=True)))
        self.loss_names = tuple(losses)
        return tuple(value if name == "loss" else value.detach() for name, value in losses.items())
