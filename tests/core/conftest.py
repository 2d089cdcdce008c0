"""A tiny experiment on scikit-learn's digits, small enough to train in a second or two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.config.load import load_config
from core.config.schema import Settings
from core.runs.run import Run
from core.runs.store import RunStore

TINY = {
    "data.name": "digits",
    "data.image_size": 16,
    "vae.block_out_channels": [8, 8],
    "unet.block_out_channels": [8, 16],
    "train_vae.steps": 24,
    "train_vae.batch_size": 16,
    "train_vae.gradient_accumulation_steps": 2,
    "train_unet.steps": 30,
    "train_unet.batch_size": 16,
    "train_unet.gradient_accumulation_steps": 2,
    "logging.log_every_steps": 5,
    "logging.save_every_steps": 8,
    "logging.validate_every_steps": 20,
    "logging.validation_images": 32,
    "logging.num_previews": 3,
    "logging.preview_images": 4,
    "logging.preview_inference_steps": 2,
    "machine.device": "cpu",
    "machine.num_threads": 1,
}


@pytest.fixture
def tiny() -> Callable[..., Settings]:
    def _tiny(**changes: object) -> Settings:
        return load_config(overrides={**TINY, **changes}, environment={})

    return _tiny


class Lab:
    """A runs folder and a cache under one temporary directory."""

    def __init__(self, root: Path) -> None:
        import torch

        torch.set_num_threads(1)
        self.root = root
        self.store = RunStore(root / "runs")
        self.folders = {"data_dir": root / "data", "cache_dir": root / "cache", "store_root": root / "runs"}

    def create(self, kind: str, settings: Settings, parent: Run | None = None) -> Run:
        return self.store.create(kind, settings, parents=(parent.id,) if parent else ())  # type: ignore[arg-type]

    def train(self, run: Run, should_stop: Callable[[], bool] = lambda: False, on_step: object = None) -> object:
        from core.training import train_unet, train_vae

        module = train_vae if run.info.kind == "vae" else train_unet
        return module.train(run, should_stop=should_stop, on_step=on_step, **self.folders)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished tiny U-Net run, shared and not to be changed."""
    lab = Lab(tmp_path_factory.mktemp("trained"))
    settings = load_config(overrides=TINY, environment={})
    vae = lab.create("vae", settings)
    lab.train(vae)
    unet = lab.create("unet", settings, vae)
    lab.train(unet)
    return unet


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)
