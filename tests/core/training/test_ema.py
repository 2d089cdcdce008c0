"""The average of the weights, against diffusers' own."""

from __future__ import annotations

import pytest
import torch
from diffusers.training_utils import EMAModel
from torch import nn

from core.training.ema import Ema


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_it_equals_that_of_diffusers_to_the_bit(decay: float) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), nn.Conv2d(2, 3, 3))
    ours = Ema(network.parameters(), decay=decay, power=0.75)
    theirs = EMAModel(network.parameters(), decay=decay, use_ema_warmup=True, inv_gamma=1.0, power=0.75, foreach=True)
    for _ in range(50):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        ours.step(network.parameters())
        theirs.step(network.parameters())
        assert all(map(torch.equal, ours.shadow_params, theirs.shadow_params))
    assert ours.optimization_step == theirs.optimization_step
    ours.copy_to(network.parameters())
    assert all(map(torch.equal, ours.shadow_params, network.parameters()))
