"""Which trainings replay CUDA graphs, and that losses keep their names. On a GPU: test_gpu.py beside this file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from core.config.schema import MachineSettings, TrainSettings
from core.training.cuda_graphs import GraphedObjective, can_graph

BATCH = {"target": torch.ones(4, 1), "inputs": torch.ones(4, 3)}


class Objective(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(3, 1)

    def forward(self, inputs: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        error = ((self.network(inputs) - target) ** 2).mean()
        return {"loss": error * 2, "error": error}


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """A driver that captures nothing and runs the callable; what it was asked to capture."""
    asked: list[tuple[Any, ...]] = []

    def _capture(callables: Callable[..., Any], values: tuple[torch.Tensor, ...], **_: Any) -> Callable[..., Any]:
        asked.append(values)
        return callables

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", _capture)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda _: torch.zeros(1))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *_: None)
    yield asked


def accelerator(device: str = "cuda", num_processes: int = 1) -> Any:
    return SimpleNamespace(device=torch.device(device), num_processes=num_processes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"device": "cpu"}, False),
        ({"num_processes": 2}, False),
        ({"cuda_graphs": False}, False),
        ({"gradient_accumulation_steps": 4}, False),
    ],
)
def test_only_one_gpu_without_micro_batches_replays_graphs(changes: dict[str, Any], expected: bool) -> None:
    where = {key: changes[key] for key in ("device", "num_processes") if key in changes}
    machine = MachineSettings(cuda_graphs=changes.get("cuda_graphs", True))
    train = TrainSettings(steps=1, gradient_accumulation_steps=changes.get("gradient_accumulation_steps", 1))
    assert can_graph(accelerator(**where), machine, train) is expected


def test_losses_keep_their_names_and_only_the_loss_has_a_gradient(captures: list[tuple[Any, ...]]) -> None:
    objective = Objective()
    graphed = GraphedObjective(objective)
    for _ in range(2):
        losses = graphed(**BATCH)
    assert len(captures) == 1 and [value.shape[1] for value in captures[0]] == [3, 1]  # in the order of their names
    assert list(losses) == ["loss", "error"] and losses["loss"] == 2 * losses["error"]
    assert losses["loss"].requires_grad and not losses["error"].requires_grad
    losses["loss"].backward()
    assert objective.network.weight.grad is not None
    assert list(graphed.parameters()) == list(objective.parameters())


def test_what_cannot_be_captured_trains_without(
    captures: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def _fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", _fail)
    assert GraphedObjective(Objective())(**BATCH)["loss"].requires_grad
    assert "training without: operation not permitted when stream is capturing" in caplog.text
