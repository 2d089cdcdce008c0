"""With zero_init every residual block begins as the identity, and without it nothing changes."""

from __future__ import annotations

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from core.config.schema import UnetSettings, VaeSettings
from core.models.unet import build_unet
from core.models.vae import build_vae


def unet(**changes: object) -> nn.Module:
    torch.manual_seed(0)
    settings = UnetSettings(block_out_channels=(8, 16), attention_levels=(1,), **changes)  # type: ignore[arg-type]
    return build_unet(settings, latent_channels=2, latent_size=8, num_classes=3)


def vae(**changes: object) -> nn.Module:
    torch.manual_seed(0)
    settings = VaeSettings(block_out_channels=(8, 8), mid_block_add_attention=True, **changes)  # type: ignore[arg-type]
    return build_vae(settings, channels=1, image_size=16)


def test_residual_blocks_pass_their_input_on() -> None:
    for network, embedding in ((unet(zero_init=True), torch.randn(2, 32)), (vae(zero_init=True), None)):
        blocks = [block for block in network.modules() if isinstance(block, ResnetBlock2D)]
        assert len(blocks) > 4
        for block in blocks:
            given = torch.randn(2, block.in_channels, 4, 4)
            expected = given if block.conv_shortcut is None else block.conv_shortcut(given)
            assert torch.equal(block(given, embedding), expected)


def test_attention_adds_nothing_and_the_answer_of_the_unet_is_zero() -> None:
    network = unet(zero_init=True)
    outputs = [module.to_out[0] for module in network.modules() if hasattr(module, "to_out")]
    assert outputs and all(not parameter.any() for output in outputs for parameter in output.parameters())
    answer = network(torch.randn(2, 2, 8, 8), torch.tensor([3, 700]), class_labels=torch.tensor([0, 3])).sample
    assert torch.equal(answer, network.conv_out.bias.view(1, -1, 1, 1).expand_as(answer))


def test_only_the_ends_of_branches_change() -> None:
    for plain, zeroed in ((unet(), unet(zero_init=True)), (vae(), vae(zero_init=True))):
        changed = {
            name
            for (name, before), (_, after) in zip(plain.named_parameters(), zeroed.named_parameters(), strict=True)
            if not torch.equal(before, after)
        }
        assert changed and all("conv2" in name or "to_out" in name or name == "conv_out.weight" for name in changed)
