"""Muon (https://kellerjordan.github.io/posts/muon): the update of a weight matrix is its momentum, made orthogonal.

All directions of a matrix then learn at one speed, where AdamW follows the few that dominate the gradient.
torch.optim.Muon takes matrices only, no convolutions, and iterates in bfloat16 on each of them. Here kernels count as
matrices (O, I·h·w), and matrices of one size are made orthogonal together. A test compares steps with torch.optim.Muon.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw

from core.config.schema import TrainSettings
from core.training.ranks import SharedMean

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of x → a·x + b·x³ + c·x⁵, which pulls singular values towards 1
ITERATIONS = 5
MOMENTUM = 0.95
SCALE = 0.2  # root mean square of an update at rate 1, that of AdamW (arXiv 2502.16982, section 2.2)


class Muon(torch.optim.Optimizer):
    """Muon for the matrices of a network, AdamW for biases, norms and embeddings. No gradient of either may be missing.

    Of a network with an encoder, only what is outside it goes to Muon: on a VAE's encoder it spreads the latents over
    more directions, and the U-Net has more to learn. Each group's rate is `learning_rate` times its `rate_factor`.
    shared: ranks with the same gradients, each of which makes its share of the updates orthogonal for all.
    """

    def __init__(self, network: nn.Module, settings: TrainSettings, shared: SharedMean | None = None) -> None:
        named = list(network.named_parameters())
        matrices = [parameter for name, parameter in named if _is_for_muon(name, parameter)]
        others = [parameter for name, parameter in named if not _is_for_muon(name, parameter)]
        factor = settings.muon_learning_rate / settings.learning_rate
        groups: list[dict[str, Any]] = [
            {"params": others, "rate_factor": 1.0},
            {"params": matrices, "rate_factor": factor},
        ]
        super().__init__(groups, {"lr": settings.learning_rate, "weight_decay": settings.weight_decay})
        self.betas = settings.adam_beta1, settings.adam_beta2
        self.shared = shared

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all weights from their gradients. closure: not used, part of PyTorch's interface."""
        for group, update in zip(self.param_groups, (self._step_adamw, self._step_muon), strict=True):
            update(group["params"], group["lr"], group["weight_decay"])

    def _step_adamw(self, parameters: Sequence[nn.Parameter], rate: float, decay: float) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                zeros = [torch.zeros_like(parameter) for _ in range(2)]
                step = torch.zeros((), device=parameter.device)
                self.state[parameter].update(exp_avg=zeros[0], exp_avg_sq=zeros[1], step=step)
        adamw(
            list(parameters),
            [parameter.grad for parameter in parameters],  # type: ignore[misc]
            [self.state[parameter]["exp_avg"] for parameter in parameters],
            [self.state[parameter]["exp_avg_sq"] for parameter in parameters],
            [],
            [self.state[parameter]["step"] for parameter in parameters],
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=rate,
            weight_decay=decay,
            eps=1e-8,
            maximize=False,
        )

    def _step_muon(self, parameters: Sequence[nn.Parameter], rate: float, decay: float) -> None:
        gradients = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1.0 - MOMENTUM)  # type: ignore[arg-type]
        wanted = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # type: ignore[arg-type]  # Nesterov: one step ahead
        if decay:
            torch._foreach_mul_(list(parameters), 1.0 - rate * decay)
        matrices = [each.flatten(1) for each in wanted]
        updates = orthogonal_together(matrices, self.shared) if self.shared else orthogonal(matrices)
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.add_(update.view_as(parameter), alpha=-rate * SCALE * max(update.shape) ** 0.5)


def _is_for_muon(name: str, parameter: nn.Parameter) -> bool:
    is_embedding = "class_embedding" in name  # a row per class, of which a batch touches some
    return parameter.ndim >= 2 and not is_embedding and not name.startswith(("encoder.", "quant_conv."))


def orthogonal(matrices: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Each matrix X = U·S·Vᵀ (r, c) → about U·Vᵀ: singular values between .7 and 1.2 unless they were next to nothing.

    The iteration X ← (a + b·G + c·G²)·X with G = X·Xᵀ only ever multiplies X from the left, so it runs on the small G
    and multiplies X once at its end. Matrices of one smaller side share each multiplication.
    """
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    a, b, c = COEFFICIENTS
    found: list[torch.Tensor] = list(wide)
    for side in sorted({len(matrix) for matrix in wide}):
        places = [index for index, matrix in enumerate(wide) if len(matrix) == side]
        gram = torch.stack([wide[index] @ wide[index].T for index in places])
        squares = gram.diagonal(dim1=1, dim2=2).sum(1).clamp(min=1e-24)[:, None, None]  # of the matrices' norms
        gram, eye = gram / squares, torch.eye(side, device=gram.device, dtype=gram.dtype)
        left = eye.expand_as(gram)
        for iteration in range(ITERATIONS):
            factor = torch.baddbmm(b * gram, gram, gram, alpha=c) + a * eye
            left = factor @ left if iteration else factor
            if iteration < ITERATIONS - 1:
                gram = factor @ gram @ factor
        for index, rotation in zip(places, left * squares.rsqrt(), strict=True):
            found[index] = rotation @ wide[index]
    return [
        each if matrix.shape[0] <= matrix.shape[1] else each.T for matrix, each in zip(matrices, found, strict=True)
    ]


def orthogonal_together(matrices: Sequence[torch.Tensor], shared: SharedMean) -> list[torch.Tensor]:
    """`orthogonal` of equal matrices in all ranks, each of which takes a share; all get the same bits.

    The mean over ranks of which one has a matrix and the others have zeros is a count-th of that matrix.
    """
    costs = [matrix.numel() * min(matrix.shape) for matrix in matrices]
    loads, owners = [0] * shared.count, [0] * len(matrices)
    for place in sorted(range(len(matrices)), key=lambda each: -costs[each]):
        owners[place] = loads.index(min(loads))
        loads[owners[place]] += costs[place]
    own = [place for place, owner in enumerate(owners) if owner == shared.rank]
    found = [torch.zeros_like(matrix) for matrix in matrices]
    for place, matrix in zip(own, orthogonal([matrices[place] for place in own]), strict=True):
        found[place] = matrix * shared.count
    parts = shared(torch.cat([each.flatten() for each in found])).split([each.numel() for each in found])
    return [part.view_as(matrix) for part, matrix in zip(parts, matrices, strict=True)]
