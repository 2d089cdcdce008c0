"""Muon against singular values, against torch.optim.Muon, and in a checkpoint."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.config.schema import TrainSettings, VaeSettings
from core.models.vae import build_vae
from core.training.loop import build_optimizer
from core.training.muon import MOMENTUM, Muon, orthogonal


def muon(network: nn.Module, **changes: object) -> Muon:
    found = build_optimizer(network, TrainSettings(optimizer="muon", **changes))  # type: ignore[arg-type]
    assert isinstance(found, Muon)
    return found


def test_an_update_keeps_the_directions_of_a_matrix_and_makes_their_sizes_alike() -> None:
    torch.manual_seed(0)
    given = [torch.randn(6, 20), torch.randn(20, 6), torch.randn(9, 9), torch.randn(6, 31)]
    for matrix, found in zip(given, orthogonal(given), strict=True):
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        sizes = torch.diagonal(left.T @ found @ right.T)
        torch.testing.assert_close(left @ torch.diag(sizes) @ right, found, atol=1e-4, rtol=1e-3)
        assert sizes.min() > 0.5 and sizes.max() < 1.3


def test_nothing_becomes_nothing() -> None:
    (found,) = orthogonal([torch.zeros(3, 5)])
    assert torch.equal(found, torch.zeros(3, 5))


def test_steps_are_those_of_torch_up_to_its_half_precision() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(24, 8, bias=False), nn.Linear(24, 8, bias=False)
    theirs.load_state_dict(ours.state_dict())
    before = ours.weight.detach().clone()
    optimizers = (
        muon(ours, muon_learning_rate=0.5, learning_rate=0.5, weight_decay=0.1),
        torch.optim.Muon(theirs.parameters(), lr=0.5, momentum=MOMENTUM, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        gradient = torch.randn(8, 24)
        for network, optimizer in zip((ours, theirs), optimizers, strict=True):
            network.weight.grad = gradient.clone()
            optimizer.step()
    moved, difference = (theirs.weight - before).norm(), (ours.weight - theirs.weight).norm()
    assert moved > 1 and difference < 0.02 * moved


def test_a_kernel_counts_as_a_matrix_and_what_is_none_goes_to_adamw() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3)
    twin = nn.Conv2d(3, 4, 3)
    twin.load_state_dict(network.state_dict())
    optimizer = muon(network, muon_learning_rate=0.1, learning_rate=0.01)
    adamw = build_optimizer(twin, TrainSettings(learning_rate=0.01))
    before = network.weight.detach().clone()
    for _ in range(2):
        for each, steps in ((network, optimizer), (twin, adamw)):
            for parameter, number in zip(each.parameters(), (1.0, 2.0), strict=True):
                parameter.grad = torch.full_like(parameter, number)
            for group in steps.param_groups:
                group["lr"] = 0.01 * group.get("rate_factor", 1.0)
            steps.step()
    assert torch.equal(network.bias, twin.bias)
    moved = (network.weight - before).flatten(1)
    assert torch.linalg.matrix_rank(moved) >= 1 and not torch.allclose(network.weight, twin.weight)
    assert set(optimizer.state[network.weight]) == {"momentum"}


def test_a_vae_keeps_adamw_for_its_encoder() -> None:
    vae = build_vae(VaeSettings(block_out_channels=(8, 8)), channels=1, image_size=16)
    names = {parameter: name for name, parameter in vae.named_parameters()}
    others, matrices = ([names[each] for each in group["params"]] for group in muon(vae).param_groups)
    assert len(others) + len(matrices) == len(names)
    assert all(name.startswith(("decoder.", "post_quant_conv.")) and name.endswith("weight") for name in matrices)
    assert any(name.startswith("encoder.") and "conv" in name for name in others)


@pytest.mark.parametrize("rate", [1e-3, 4e-3])
def test_each_group_has_its_own_rate(rate: float) -> None:
    groups = muon(nn.Linear(3, 3), learning_rate=rate, muon_learning_rate=8e-3).param_groups
    assert [rate * group["rate_factor"] for group in groups] == pytest.approx([rate, 8e-3])
