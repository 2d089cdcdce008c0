"""Settings and launches for the Train screen. PyTorch is imported by `measure` and at the start of a training only."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Literal

import streamlit as st

from core.config.load import dump_settings, load_config, preset_names, settings_from
from core.config.schema import Settings
from core.jobs import service
from core.runs.run import Run

TrainKind = Literal["vae", "unet", "all"]
_MEASURING = threading.Lock()

PRESET_WORDS = {
    "quick": ("Quick", "Good digits in about three minutes on two CPU cores. Small networks, flow matching."),
    "standard": ("Standard", "The best quality we know. Made for a GPU; hours on two CPU cores."),
    "reference": (
        "Reference",
        "The hyper-parameters of ldm-hf, to compare with. Made for a GPU; about a day on two cores.",
    ),
}


def presets() -> list[str]:
    """Names of the presets, quickest first."""
    return preset_names()


def settings_for(preset: str, changes: Mapping[str, Any]) -> Settings:
    """A preset with changed settings (dotted name → value). Raises ConfigError in one sentence."""
    return load_config(preset=preset, overrides=changes)


def with_vae_of(settings: Settings, vae_run: Run) -> Settings:
    """The settings a U-Net run gets: data and VAE are its VAE run's."""
    return service.inherit(settings, vae_run)


def start(kind: TrainKind, settings: Settings, *, preset: str, name: str, vae_run: str = "") -> list[str]:
    """Create the run or runs, start their process, and return the ids. Raises LabError; nothing is created then."""
    runs = service.start_training(kind, settings, vae_run=vae_run or None, name=name, preset=preset, detach=True)
    return [run.id for run in runs]


def steps_and_pictures(settings: Settings, kind: TrainKind) -> list[tuple[str, int, int]]:
    """(network, steps, pictures seen) of each part of a training."""
    parts = []
    if kind in ("vae", "all"):
        parts.append(("VAE", settings.train_vae.steps, settings.train_vae.steps * settings.train_vae.batch_size))
    if kind in ("unet", "all"):
        parts.append(("U-Net", settings.train_unet.steps, settings.train_unet.steps * settings.train_unet.batch_size))
    return parts


@st.cache_data(max_entries=64, show_spinner=False)
def _measure(frozen: str, kind: str) -> tuple[int, float, float, str]:
    from core.config.load import parse_yaml
    from core.training.probe import probe

    with _MEASURING:
        found = probe(settings_from(parse_yaml(frozen)), kind)
    return found.parameters, found.images_per_s, found.estimated_s, found.device


def measure(settings: Settings, part: str) -> tuple[int, float, float, str]:
    """(parameters, pictures a second, seconds in all, device) from a few real steps of 'vae' or 'unet' here, now."""
    return _measure(dump_settings(settings), part)
