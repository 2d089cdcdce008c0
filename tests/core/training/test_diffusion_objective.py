"""Which timesteps a training draws: the default to the bit, the logit-normal's quantiles, a stratum per image."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from core.config.schema import DiffusionSettings
from core.diffusion.schedule import build_schedule
from core.seeding import Randomness, generator
from core.training.diffusion_objective import DiffusionDraw, DiffusionObjective

RANDOM = Randomness(3, 1, "unet")


class Answers(torch.nn.Module):
    """A network that answers with what it was given, and half of its label."""

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, class_labels: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=noisy + class_labels.view(-1, 1, 1, 1) / 2)


def test_the_loss_is_the_weighted_mean_of_squared_errors() -> None:
    source = torch.Generator().manual_seed(0)
    noisy, target = (torch.randn(5, 2, 3, 3, generator=source) for _ in range(2))
    labels, weight = torch.arange(5), torch.rand(5, generator=source)
    loss = DiffusionObjective(Answers())(noisy, torch.zeros(5), labels, target, weight)["loss"]  # type: ignore[arg-type]
    errors = [float(((noisy[n] + n / 2 - target[n]) ** 2).mean()) for n in range(5)]
    assert loss.item() == pytest.approx(np.average(errors, weights=weight) * weight.mean().item(), rel=1e-5)


def timesteps(count: int, **changes: object) -> torch.Tensor:
    """Indices of one step's draw."""
    draw = DiffusionDraw(
        schedule=build_schedule(DiffusionSettings()),
        unconditional_label=10,
        cond_drop_prob=0.1,
        random=RANDOM,
        **changes,  # type: ignore[arg-type]
    )
    inputs = draw.inputs(torch.zeros(count, 1, 1, 1), torch.zeros(count, dtype=torch.long), 5)
    return torch.searchsorted(draw.schedule.timesteps, inputs["timesteps"])


def test_the_default_is_what_it_always_was() -> None:
    expected = torch.randint(0, 1000, (64,), generator=generator(3, "diffusion", 5, rule=1))
    assert torch.equal(timesteps(64), expected)


@pytest.mark.parametrize("distribution", ["uniform", "logit_normal"])
def test_stratified_each_equal_part_gives_one(distribution: str) -> None:
    place = (timesteps(100, distribution=distribution, is_stratified=True).double() + 0.5) / 1000
    if distribution == "logit_normal":
        place = torch.special.ndtr(torch.logit(place))
    parts = (place.sort().values * 100 - torch.arange(100)).numpy()
    assert (parts >= -0.2).all() and (parts <= 1.2).all()
    assert not (place.diff() > 0).all()


@pytest.mark.parametrize("mean", [-1.0, 0.0, 0.7])
def test_logit_normal_has_the_quantiles_of_its_formula(mean: float) -> None:
    drawn = timesteps(40_000, distribution="logit_normal", mean=mean).double()
    for share in (0.1, 0.5, 0.9):
        expected = torch.sigmoid(mean + torch.special.ndtri(torch.tensor(share, dtype=torch.double)))
        assert drawn.quantile(share).item() / 1000 == pytest.approx(expected.item(), abs=0.01)
    assert drawn.min() >= 0 and drawn.max() <= 999
