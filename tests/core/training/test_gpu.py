"""The same training on an NVIDIA GPU, data and latents on the device. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from core.config.schema import Settings
from core.runs.checkpoints import load_newest
from core.runs.run import Run
from core.sampling.load import load_model
from core.sampling.request import SampleRequest
from core.sampling.steps import sample
from tests.models import Lab

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
# kernels may sum in another order from run to run; relative to the largest weight
RESUME_BOUND = 1e-3
# the same kernels in the same order; Adam's first steps magnify what rounding is left
GRAPH_BOUND = 1e-2


def weights(run: Run, name: str) -> torch.Tensor:
    checkpoint = load_newest(run.checkpoints_dir)
    assert checkpoint is not None
    tensors = checkpoint.tensors(f"{name}/diffusion_pytorch_model.safetensors")
    return torch.cat([tensors[key].flatten() for key in sorted(tensors)])


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_both_networks_train_stop_resume_and_sample_on_the_gpu(
    lab: Lab, tiny: Callable[..., Settings], precision: str
) -> None:
    settings = tiny(**{"machine.device": "cuda", "machine.mixed_precision": precision, "unet.dropout": 0.1})
    vae = lab.create("vae", settings)
    lab.train(vae)
    quiet, stopped = (lab.create("unet", settings, vae) for _ in range(2))
    lab.train(quiet)
    seen: list[int] = []
    lab.train(stopped, lambda: len(seen) >= 11, lambda result: seen.append(result.step))
    lab.train(stopped)
    difference = (weights(quiet, "unet_ema") - weights(stopped, "unet_ema")).abs().max()
    print(f"resumed against never stopped, {precision}: largest difference {difference:.2e}")
    assert difference <= RESUME_BOUND * weights(quiet, "unet_ema").abs().max()
    model = load_model(quiet, device="cuda")
    assert next(model.unet.parameters()).device.type == "cuda"
    request = SampleRequest(labels=tuple(range(10)), sampler="unipc", num_inference_steps=4, guidance_scale=1.5, seed=0)
    assert sample(model, request).shape == (10, 16, 16, 1)


@pytest.mark.parametrize("kind", ["vae", "unet"])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_cuda_graphs_train_the_same_network(
    lab: Lab, tiny: Callable[..., Settings], kind: str, precision: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = []
    for graphs in (True, False):
        machine = {"machine.device": "cuda", "machine.mixed_precision": precision, "machine.cuda_graphs": graphs}
        run = lab.create("vae", tiny(**machine))
        lab.train(run)
        if kind == "unet":
            run = lab.create("unet", tiny(**machine), run)
            lab.train(run)
        found.append(weights(run, f"{kind}_ema"))
    assert "no CUDA graph" not in caplog.text
    difference = (found[0] - found[1]).abs().max()
    print(f"{kind}, {precision}: graphs against none, largest difference of weights {difference:.2e}")
    assert difference <= GRAPH_BOUND * found[1].abs().max()


def test_the_training_data_lives_on_the_gpu(lab: Lab, tiny: Callable[..., Settings]) -> None:
    from core.data.arrays import prepare
    from core.data.batches import on_device

    images = prepare(tiny().data, data_dir=lab.folders["data_dir"], cache_dir=lab.folders["cache_dir"])
    before = torch.cuda.memory_allocated()
    resident = on_device(images.train, torch.device("cuda"))
    assert torch.cuda.memory_allocated() - before >= images.train.images.nbytes
    pictures, labels = resident.gather(np.arange(5))
    assert pictures.device.type == labels.device.type == "cuda"
