"""The loop on a small network: accumulation, non-finite steps, the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from core.config.schema import TrainSettings
from core.errors import NonFiniteError
from core.training.learning_rate import learning_rate_at
from core.training.loop import StepResult, build_ema, build_optimizer, micro_batches, train_steps


class Regression(nn.Module):
    """A two-layer network whose loss can be spoilt at chosen steps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Linear(16, 1))

    def forward(self, inputs: torch.Tensor, target: torch.Tensor, spoil: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": ((self.network(inputs) - target) ** 2 * spoil).mean()}


def draw_with(bad: dict[int, float] | None = None):  # type: ignore[no-untyped-def]
    def draw(step: int) -> dict[str, torch.Tensor]:
        source = torch.Generator().manual_seed(step)
        inputs = torch.randn(8, 3, generator=source)
        return {
            "inputs": inputs,
            "target": inputs.sum(1, keepdim=True),
            "spoil": torch.full((8, 1), (bad or {}).get(step, 1.0)),
        }

    return draw


def start(
    settings: TrainSettings, bad: dict[int, float] | None = None
) -> tuple[Regression, object, Iterator[StepResult]]:
    objective = Regression()
    ema = build_ema(objective.network, settings)
    steps = train_steps(
        objective,
        draw=draw_with(bad),
        accelerator=Accelerator(cpu=True),
        optimizer=build_optimizer(objective.network, settings),
        ema=ema,
        settings=settings,
        first_step=0,
    )
    return objective, ema, steps


def weights(objective: Regression) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in objective.network.parameters()])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_loss_falls(optimizer: Literal["adamw", "muon"]) -> None:
    _, _, steps = start(
        TrainSettings(steps=150, batch_size=8, learning_rate=0.01, muon_learning_rate=0.1, optimizer=optimizer)
    )
    losses = [result.losses["loss"] for result in steps]
    assert losses[-1] < losses[0] / 5


@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_give_the_step_of_one_batch(parts: int) -> None:
    whole, _, steps = start(TrainSettings(steps=10, batch_size=8))
    list(steps)
    cut, _, steps = start(TrainSettings(steps=10, batch_size=8, gradient_accumulation_steps=parts))
    list(steps)
    assert torch.allclose(weights(whole), weights(cut), atol=1e-5)


def test_two_processes_and_micro_batches_share_a_batch_without_overlap() -> None:
    batch = {"inputs": torch.arange(8)}
    parts = [
        part["inputs"] for rank in (0, 1) for part in micro_batches(batch, count=2, process_index=rank, num_processes=2)
    ]
    assert torch.cat(parts).tolist() == list(range(8))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_step_that_is_not_finite_reaches_neither_weights_nor_optimizer_nor_average(value: float) -> None:
    settings = TrainSettings(steps=6, batch_size=8, warmup_steps=0)
    objective, ema, steps = start(settings, {3: value})
    results = []
    before = None
    for result in steps:
        results.append(result)
        if result.step == 3:
            before = weights(objective), [shadow.clone() for shadow in ema.shadow_params]  # type: ignore[attr-defined]
        if result.step == 4:
            assert before is not None
            assert torch.equal(weights(objective), before[0])
            assert all(map(torch.equal, ema.shadow_params, before[1]))  # type: ignore[attr-defined]
    assert [result.is_finite for result in results] == [True, True, True, False, True, True]
    assert torch.isfinite(weights(objective)).all()


def test_five_in_a_row_end_the_run_with_the_reason() -> None:
    _, _, steps = start(TrainSettings(steps=20, batch_size=8), dict.fromkeys(range(4, 20), math.nan))
    with pytest.raises(NonFiniteError, match="5 steps in a row, last at step 9"):
        list(steps)


def test_four_in_a_row_do_not() -> None:
    _, _, steps = start(TrainSettings(steps=20, batch_size=8), dict.fromkeys(range(4, 8), math.nan))
    assert len(list(steps)) == 20


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    settings = TrainSettings(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate_at(step, settings) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)


def test_learning_rate_can_decay_beyond_the_last_step_or_stay_constant() -> None:
    long = TrainSettings(steps=100, warmup_steps=0, learning_rate=1.0, decay_steps=200)
    assert learning_rate_at(100, long) == pytest.approx(0.5)
    constant = TrainSettings(steps=100, warmup_steps=0, learning_rate=1.0, lr_schedule="constant")
    assert learning_rate_at(99, constant) == 1.0


def test_learning_rate_can_fall_along_a_line() -> None:
    settings = TrainSettings(steps=110, warmup_steps=10, learning_rate=1.0, lr_schedule="linear")
    assert [learning_rate_at(step, settings) for step in (4, 10, 35, 60, 110)] == pytest.approx([0.5, 1, 0.75, 0.5, 0])
