"""The first look without PyTorch gives what diffusers gives, and refuses what is damaged in one sentence."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from core.config.schema import VaeSettings
from core.errors import CheckpointError
from core.latent.inspection import first_look as module
from core.latent.inspection.first_look import first_look
from core.latent.inspection.opened_vae import open_subject
from core.latent.inspection.plain_vae import read_plain_vae
from core.latent.inspection.quality import make_overview
from core.latent.inspection.vae_source import WEIGHTS_FILE
from core.models.vae import build_vae
from tests.core.latent.test_quality import subject_of
from tests.core.latent.test_study import made, root  # noqa: F401


def network(channels: int = 1, **settings: Any) -> AutoencoderKL:
    torch.manual_seed(3)
    usual: dict[str, Any] = {"latent_channels": 3, "block_out_channels": (8, 16, 24), "norm_num_groups": 4}
    vae = build_vae(VaeSettings(**{**usual, **settings}), channels=channels, image_size=16)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return vae.eval()


@pytest.mark.parametrize(
    ("channels", "settings"),
    [
        (1, {}),
        (3, {"mid_block_add_attention": True}),
        (1, {"layers_per_block": 2, "block_out_channels": (8, 8)}),
        (3, {"block_out_channels": (8,), "latent_channels": 1}),
    ],
)
def test_numpy_encodes_and_decodes_as_diffusers_does(channels: int, settings: dict[str, Any]) -> None:
    vae = network(channels, **settings)
    plain = read_plain_vae(json.dumps(dict(vae.config)).encode(), save_safetensors(vae.state_dict()))
    assert plain is not None and plain.channels == channels
    images = torch.rand(3, channels, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        moments = vae.encode(images).latent_dist.parameters
        back = vae.decode(moments.chunk(2, dim=1)[0]).sample
    found = plain.encode(images.permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2), moments.numpy(), rtol=1e-4, atol=1e-4)
    decoded = plain.decode(found[..., : found.shape[3] // 2])
    np.testing.assert_allclose(decoded.transpose(0, 3, 1, 2), back.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["vae", "unet"])
def test_the_first_look_is_the_overview_of_the_same_pictures(root: Path, kind: str) -> None:  # noqa: F811
    subject = subject_of(root, kind, limit=30)
    found = first_look(subject)
    assert found is not None
    kept = make_overview(subject, open_subject(subject, device="cpu", cache_dir=root / "cache"), root / "cache")
    assert np.abs(found.reconstructions.astype(int) - kept.reconstructions).max() <= 1  # rounding
    for name in ("mean", "deviation", "skew", "kurtosis", "kl"):
        np.testing.assert_allclose(getattr(found.raw, name), getattr(kept.raw, name), rtol=1e-3, atol=1e-5)
    assert found.psnr == pytest.approx(kept.psnr, abs=0.01)
    assert found.explained == pytest.approx(kept.explained, abs=1e-3)
    assert (found.raw.active == kept.raw.active).all()


def test_the_first_look_needs_no_pytorch() -> None:
    words = (
        "import core.latent.inspection.first_look, sys; assert not {'torch', 'diffusers', 'scipy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


def test_large_networks_and_those_of_another_make_are_left_to_pytorch(
    root: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = json.loads((subject_of(root).vae_dir / "config.json").read_text())
    weights = (subject_of(root).vae_dir / WEIGHTS_FILE).read_bytes()
    for changes in ({"act_fn": "gelu"}, {"down_block_types": ["DownBlock2D", "DownBlock2D"]}):
        assert read_plain_vae(json.dumps({**config, **changes}).encode(), weights) is None
    monkeypatch.setattr(module, "MOST_VALUES", 10)
    assert first_look(subject_of(root, limit=30)) is None


@pytest.mark.parametrize("file", ["config.json", WEIGHTS_FILE])
def test_a_damaged_vae_is_one_sentence(root: Path, file: str) -> None:  # noqa: F811
    subject = subject_of(root, "unet", limit=30)
    (subject.vae_dir / file).write_bytes(b"[")
    with pytest.raises(CheckpointError, match="its VAE cannot be read"):
        first_look(subject)


def test_weights_that_are_no_numbers_are_one_sentence(root: Path) -> None:  # noqa: F811
    subject = subject_of(root, "unet", limit=30)
    path = subject.vae_dir / WEIGHTS_FILE
    weights = load_safetensors(path.read_bytes())
    weights["encoder.conv_out.bias"][0] = torch.nan
    path.write_bytes(save_safetensors(weights))
    with pytest.raises(CheckpointError, match="no numbers"):
        first_look(replace(subject, vae_hash=hashlib.sha256(path.read_bytes()).hexdigest()))
