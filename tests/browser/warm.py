"""Imports what pages import when they are first looked at."""

from __future__ import annotations

import importlib
import pkgutil

import torch  # noqa: F401
from diffusers import AutoencoderKL, UNet2DModel  # noqa: F401
from streamlit.web import bootstrap, cli  # noqa: F401

for package in ("lab", "core.latent", "core.sampling", "core.evaluation", "core.diffusion"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if module.name != "lab.Home":  # the script itself
            importlib.import_module(module.name)
