"""What is taken from diffusers is what diffusers gives, and costs less to import."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
import torch

from core.diffusers_parts import AdamW
from core.home import code_root

TRAIN_A_STEP = """
import sys, torch
import core.training.train_vae, core.training.train_unet
from core.diffusers_parts import AdamW
weight = torch.nn.Parameter(torch.ones(2))
optimizer = AdamW([weight])
weight.sum().backward()
optimizer.step()
optimizer.zero_grad()
"""
LOAD_A_MODEL = """
import sys
from pathlib import Path
from core.model_folders.model_folder import load_model_folder
load_model_folder(Path("models/mnist-demo"))
"""
NOT_NEEDED = """
print(*{"torch._dynamo", "scipy.stats", "sympy", "diffusers.pipelines.pipeline_utils"} & set(sys.modules))
"""
ASK_FOR_THE_REST = """
from core import diffusers_parts
import diffusers, scipy, torch
from diffusers.models.transformers import FluxTransformer2DModel
from diffusers.models.unets.unet_2d import UNet2DModel
assert UNet2DModel is diffusers.UNet2DModel is diffusers_parts.UNet2DModel
assert diffusers.DiTTransformer2DModel is diffusers.models.transformers.DiTTransformer2DModel
assert 0.4 < scipy.stats.norm.cdf(0.0) < 0.6
assert torch._dynamo.is_compiling() is False
from scipy.stats import binomtest
print("all there")
"""


def printed(program: str) -> str:
    words = [sys.executable, "-c", program]
    return subprocess.run(words, cwd=code_root(), capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_whatever_was_put_off_is_there_when_it_is_asked_for() -> None:
    assert printed(ASK_FOR_THE_REST) == "all there"


@pytest.mark.skipif(
    version("torch").split(".")[:2] != ["2", "14"] or version("diffusers").split(".")[:2] != ["0", "42"],
    reason="other versions import other things",
)
@pytest.mark.parametrize("program", [TRAIN_A_STEP, LOAD_A_MODEL], ids=["a training step", "a model"])
def test_neither_compiler_nor_distributions_are_imported_for(program: str) -> None:
    assert printed(program + NOT_NEEDED) == ""


def test_the_step_is_that_of_pytorch() -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(50), torch.randn(5, 50)
    ends = []
    for kind in (AdamW, torch.optim.AdamW):
        weight = torch.nn.Parameter(start.clone())
        optimizer = kind([weight], lr=0.1, betas=(0.9, 0.99), weight_decay=0.02, fused=True)
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimizer.step()
        ends.append(weight.detach())
    assert torch.equal(*ends)
