"""Counted sizes against the networks themselves, which are built on devices that hold no numbers."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from core.config.load import load_config, preset_names
from core.config.schema import Settings
from core.errors import LabError
from core.models.shapes import only_shapes
from core.models.summary import latent_shape, summarize
from core.models.unet import build_unet
from core.models.vae import build_vae
from core.models.weight import (
    Precision,
    decoder_layers,
    encoder_layers,
    unet_layers,
    weigh_drawing,
    weigh_judge,
    weigh_training,
)
from core.training.diffusion_objective import DiffusionObjective
from core.training.vae_objective import VaeObjective

CHANNELS, CLASSES, IMAGES = 3, 12, 4
ODD = {
    "data.image_size": 48,
    "vae.latent_channels": 7,
    "vae.block_out_channels": [8, 24],
    "vae.layers_per_block": 2,
    "vae.mid_block_add_attention": True,
    "unet.block_out_channels": [12, 24, 36],
    "unet.norm_num_groups": 4,
    "unet.attention_levels": [0, 2],
    "unet.layers_per_block": 3,
    "unet.dropout": 0.1,
}
CASES = [*((preset, {}) for preset in preset_names()), ("quick", ODD)]


def counted(settings: Settings, part: str) -> list[Any]:
    """The layers of a network as `weigh_training` counts them."""
    shape, size = latent_shape(settings), settings.data.image_size
    if part == "unet":
        return [unet_layers(settings.unet, latent_channels=shape[0], side=shape[1], num_classes=CLASSES)]
    return [build(settings.vae, channels=CHANNELS, image_size=size) for build in (encoder_layers, decoder_layers)]


@contextlib.contextmanager
def autocast(device: str, enabled: bool) -> Iterator[None]:
    """As torch.autocast, which refuses CUDA's rules where there is no GPU."""
    torch.set_autocast_enabled(device, enabled)
    torch.set_autocast_dtype(device, torch.bfloat16)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled(device, False)


def saved_by_pytorch(settings: Settings, part: str, device: str, bf16: bool) -> int:
    """Bytes that one forward pass saves for its backward pass, beside the weights and the batch: hooks see each."""
    shape, size = latent_shape(settings), settings.data.image_size
    with FakeTensorMode(), torch.device(device):
        if part == "vae":
            vae = build_vae(settings.vae, channels=CHANNELS, image_size=size)
            objective: torch.nn.Module = VaeObjective(vae, settings.train_vae)
            batch = {"images": torch.empty(IMAGES, CHANNELS, size, size), "noise": torch.empty(IMAGES, *shape)}
        else:
            unet = build_unet(settings.unet, latent_channels=shape[0], latent_size=shape[1], num_classes=CLASSES)
            objective = DiffusionObjective(unet)
            batch = {name: torch.empty(IMAGES, *shape) for name in ("noisy_latents", "target")}
            batch |= {name: torch.empty(IMAGES) for name in ("timesteps", "weight")}
            batch["labels"] = torch.zeros(IMAGES, dtype=torch.long)
        owned = {each.untyped_storage() for each in (*objective.parameters(), *batch.values())}
        saved: dict[int, torch.UntypedStorage] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if all(storage._cdata != each._cdata for each in owned):
                saved[storage._cdata] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast(device, bf16):
            objective.train()(**batch)
    return sum(storage.nbytes() for storage in saved.values())


@pytest.mark.slow
@pytest.mark.parametrize("part", ["vae", "unet"])
@pytest.mark.parametrize(("preset", "changes"), CASES)
def test_parameters_are_counted_exactly(preset: str, changes: dict[str, Any], part: str) -> None:
    settings = load_config(preset=preset, overrides=changes)
    network = summarize(settings, part, channels=CHANNELS, num_classes=CLASSES)
    assert sum(layers.parameters for layers in counted(settings, part)) == network.parameters
    weight = weigh_training(settings, part, channels=CHANNELS, num_classes=CLASSES, on_gpu=False, bf16=False)
    assert weight.parameters == network.parameters


def test_whatever_the_schema_accepts_can_be_built() -> None:
    """A start looks no further before a run exists. One seed that meets each refusal of widths, sides and groups."""
    chance, built, refused = random.Random(3), 0, 0
    while built < 6:
        levels = chance.randint(1, 3)
        try:
            settings = load_config(
                overrides={
                    "data.image_size": chance.choice([8, 16, 28, 32]),
                    "vae.block_out_channels": [chance.choice([4, 6, 8, 24]) for _ in range(chance.randint(1, 3))],
                    "vae.norm_num_groups": chance.choice([2, 3, 4]),
                    "vae.mid_block_add_attention": chance.random() < 0.5,
                    "unet.block_out_channels": [chance.choice([4, 8, 12, 24]) for _ in range(levels)],
                    "unet.norm_num_groups": chance.choice([2, 3, 4]),
                    "unet.attention_levels": [level for level in range(levels) if chance.random() < 0.5],
                }
            )
        except LabError:
            refused += 1
            continue
        for part in ("vae", "unet"):
            summarize(settings, part)
        built += 1
    assert refused > 6


@pytest.mark.parametrize("precision", ["float32", "cpu_bf16"])
@pytest.mark.parametrize("part", ["vae", "unet"])
@pytest.mark.parametrize(("preset", "changes"), [("quick", {}), ("quick", ODD)])
def test_activations_are_what_pytorch_saves(
    preset: str, changes: dict[str, Any], part: str, precision: Precision
) -> None:
    settings = load_config(preset=preset, overrides=changes)
    ours = sum(sum(layers.saved_bytes(IMAGES, precision)) for layers in counted(settings, part))
    assert ours / saved_by_pytorch(settings, part, "cpu", precision != "float32") == pytest.approx(1.03, abs=0.06)


@pytest.mark.parametrize("part", ["vae", "unet"])
def test_a_gpu_saves_what_its_autocast_keeps_in_float32(part: str) -> None:
    settings = load_config(preset="quick", overrides={"unet.layers_per_block": 2, "vae.block_out_channels": [8, 24]})
    ours = sum(sum(layers.saved_bytes(IMAGES, "gpu_bf16")) for layers in counted(settings, part))
    assert ours / saved_by_pytorch(settings, part, "cuda", True) == pytest.approx(1.0, abs=0.03)


def test_the_judge_is_counted_exactly() -> None:
    from core.evaluation.judge import JudgeNetwork

    for size in (16, 32, 64, 512):
        settings = load_config(preset="quick", overrides={"data.image_size": size})
        with only_shapes():
            judge = JudgeNetwork(channels=CHANNELS, image_size=size, num_classes=CLASSES)
        weight = weigh_judge(settings, channels=CHANNELS, num_classes=CLASSES, on_gpu=False)
        assert weight.parameters == sum(each.numel() for each in judge.parameters())


def test_the_largest_settings_are_weighed_at_once_and_grow_with_what_decides_them() -> None:
    huge = load_config(
        overrides={
            "data.image_size": 512,
            "vae.block_out_channels": [2048] * 3,
            "vae.layers_per_block": 8,
            "unet.block_out_channels": [2048] * 6,
            "unet.layers_per_block": 8,
            "train_vae.batch_size": 65536,
            "sampling.batch_size": 8192,
            "unet.attention_levels": [0, 1, 2, 3, 4, 5],
        }
    )
    known = {"channels": CHANNELS, "num_classes": CLASSES, "on_gpu": False}
    for part in ("vae", "unet"):
        weight = weigh_training(huge, part, bf16=True, **known)  # type: ignore[arg-type]
        assert weight.parameters > 2e9 and weight.device_bytes > 1e12
    few, many = (weigh_drawing(huge, images=images, frames=11, **known) for images in (1, 1000))  # type: ignore[arg-type]
    assert many.device_bytes - few.device_bytes > 900 * 512**2 * 2048 * 4
