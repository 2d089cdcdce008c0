"""A tiny experiment on scikit-learn's digits, small enough to train in a second or two."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.config.schema import Settings
from core.runs.run import Run
from tests.models import Lab, tiny_settings


@pytest.fixture
def tiny() -> Callable[..., Settings]:
    return tiny_settings


@pytest.fixture(scope="session")
def trained(trained_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished tiny U-Net run, shared by this worker's tests and not to be changed."""
    root = tmp_path_factory.mktemp("trained") / "lab"
    shutil.copytree(trained_lab, root)
    return Lab(root).the("unet")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def finished_vae(lab: Lab, trained_lab: Path) -> Run:
    """A trained tiny VAE run in the test's own lab, with its data and cache; what is on it may be changed."""
    shutil.copytree(trained_lab, lab.root, dirs_exist_ok=True)
    shutil.rmtree(lab.the("unet").folder)
    return lab.the("vae")
