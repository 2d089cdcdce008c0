"""A start at which every residual block passes its input on unchanged (arXiv 1706.02677, section 5.1; 2105.05233).

A deep network then begins as a shallow one, and no branch has to unlearn random output: it matters in short trainings.
"""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def start_branches_at_zero(network: nn.Module) -> None:
    """Set the last convolution of each residual block and the output of each attention to zero, biases included.

    diffusers names them conv2 and to_out.0.
    """
    for name, parameter in network.named_parameters():
        if name.rpartition(".")[0].endswith((".conv2", ".to_out.0")):
            parameter.zero_()
