"""A VAE as a run keeps it: weights and scaling from files, refused when they were altered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from core import reading
from core.diffusers_parts import AutoencoderKL
from core.errors import CheckpointError
from core.latent.codec import LatentCodec, LatentScaling
from core.runs.checkpoints import WEIGHTS_FILE
from core.runs.facts import codec_facts
from core.runs.run import Run


def load_codec(folder: Path, device: torch.device) -> LatentCodec:
    """The VAE and its scaling as a U-Net run keeps them. Raises CheckpointError when damaged."""
    try:
        facts = codec_facts(Run(folder.parent))
        files = {f"vae/{name}": reading.read_bytes(folder / name) for name in ("config.json", WEIGHTS_FILE)}
        if hashlib.sha256(files[f"vae/{WEIGHTS_FILE}"]).hexdigest() != facts.sha256:
            raise ValueError("its weights were altered")
        scaling = LatentScaling(shift=facts.shift, scale=facts.scale)
        vae = build_from_files(AutoencoderKL, files, "vae")
    except (OSError, ValueError, CheckpointError) as error:
        raise CheckpointError(f"{folder.parent.name}: its copy of the VAE cannot be read: {error}") from None
    return LatentCodec(vae=vae.to(device).eval().requires_grad_(False), scaling=scaling)


def build_from_files(network_class: Any, files: Mapping[str, bytes], name: str) -> Any:
    """A diffusers network from `name/config.json` and its safetensors. Raises CheckpointError when they do not fit."""
    try:
        network = network_class.from_config(reading.json_object(files[f"{name}/config.json"], f"{name}/config.json"))
        network.load_state_dict(load_safetensors(files[f"{name}/{WEIGHTS_FILE}"]))
    except (KeyError, ValueError, RuntimeError, OSError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{name}: the weights do not fit the network: {str(error).splitlines()[0]}") from None
    return network
