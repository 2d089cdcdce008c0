"""Drawing on an NVIDIA GPU: as on the CPU, twice the same, and one sentence when there is no room. Skipped without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from core.__main__ import FULL_GPU
from core.home import code_root
from core.model_folders.model_facts import DEMO
from core.model_folders.model_folder import load_model_folder
from core.sampling.request import SampleRequest
from core.sampling.steps import sample

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
# grey levels, mean over all pixels: a GPU sums in another order, and its convolutions round to TF32
CPU_BOUND = 1.0
FOLDER = code_root() / DEMO
HOG = """
import torch
held, size = [], 2**30
while size >= 2**20:
    try:
        held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
    except RuntimeError:
        size //= 2
print("full", flush=True)
input()
"""


def request(sampler: str = "unipc", **changes: object) -> SampleRequest:
    values = {"labels": tuple(range(10)), "num_inference_steps": 10, "guidance_scale": 1.5, "seed": 0, **changes}
    return SampleRequest(sampler=sampler, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", ["unipc", "euler", "dpmpp_2m", "heun"])
def test_a_gpu_draws_what_the_cpu_draws_and_twice_the_same(sampler: str) -> None:
    on_gpu, on_cpu = (load_model_folder(FOLDER, device=device) for device in ("cuda", "cpu"))
    first, again, expected = (sample(model, request(sampler)) for model in (on_gpu, on_gpu, on_cpu))
    assert np.array_equal(first, again)
    difference = np.abs(first.astype(int) - expected.astype(int))
    print(f"{sampler}: GPU against CPU, grey levels: mean {difference.mean():.3f}, largest {difference.max()}")
    assert difference.mean() < CPU_BOUND


def test_a_picture_of_a_seed_is_the_same_in_any_batch_on_the_gpu() -> None:
    model = load_model_folder(FOLDER, device="cuda")
    whole, parts = sample(model, request()), sample(model, request(batch_size=3))
    difference = np.abs(whole.astype(int) - parts.astype(int))
    print(f"batches of 10 against 3, grey levels: mean {difference.mean():.3f}, largest {difference.max()}")
    assert difference.mean() < CPU_BOUND


@pytest.fixture
def hog() -> Iterator[None]:
    """Somebody else's process that takes all memory of the GPU. Not on a box that others train on."""
    if not os.environ.get("LAB_FILL_GPU"):
        pytest.skip("fills the GPU's memory, which ends what others do there: set LAB_FILL_GPU=1")
    command = [sys.executable, "-c", HOG]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline().strip() == "full"
        yield
        process.communicate("\n", timeout=60)


@pytest.mark.usefixtures("hog")
def test_the_command_line_says_in_one_sentence_that_the_gpu_is_full() -> None:
    command = [sys.executable, "-m", "core", "sample", str(FOLDER), "--per-label", "1"]
    done = subprocess.run(command, cwd=code_root(), capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert FULL_GPU in done.stderr and "Traceback" not in done.stderr
