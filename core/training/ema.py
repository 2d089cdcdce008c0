"""The exponential moving average of the weights, which previews, validation and everything after the training use.

The values are those of `diffusers.training_utils.EMAModel` to the bit, which a test compares. To import that takes half
as long again as everything else that a training needs.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class Ema:
    """shadow_params: the averages, in the order of the parameters. optimization_step: updates done."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, decay: float, power: float) -> None:
        """decay: at most that of an update; the t-th after the first has 1 - (1 + t)^-power, if that is less."""
        self.shadow_params: list[torch.Tensor] = [parameter.detach().clone() for parameter in parameters]
        self.decay, self.power = decay, power
        self.optimization_step = 0

    @torch.no_grad()
    def step(self, parameters: Iterable[nn.Parameter]) -> None:
        """One update, after a step of the optimizer; the first takes the weights as they are."""
        self.optimization_step += 1
        decay = min(1.0 - float(self.optimization_step) ** -self.power, self.decay)
        away = torch._foreach_sub(self.shadow_params, list(parameters))  # type: ignore[arg-type]
        torch._foreach_sub_(self.shadow_params, away, alpha=1.0 - decay)

    @torch.no_grad()
    def copy_to(self, parameters: Iterable[nn.Parameter]) -> None:
        """Overwrite the parameters of a network of the same form by the averages."""
        torch._foreach_copy_(list(parameters), self.shadow_params)  # type: ignore[arg-type]
