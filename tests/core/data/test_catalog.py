"""The catalog knows every set, and what is on this machine, without importing torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.data.catalog import entry, is_present, names, present_names
from core.data.loaders import TorchvisionLoader
from core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = [name for name in names() if isinstance(entry(name).loader, TorchvisionLoader)]


def loader_of(name: str) -> TorchvisionLoader:
    loader = entry(name).loader
    assert isinstance(loader, TorchvisionLoader)
    return loader


@pytest.mark.parametrize(
    "name",
    [
        *("mnist", "fashion_mnist", "kmnist", "emnist_letters", "emnist_balanced", "emnist_digits", "qmnist"),
        *("cifar10", "cifar100", "svhn", "usps", "digits", "image_folder", "npz"),
    ],
)
def test_the_set_is_in_the_catalog(name: str) -> None:
    found = entry(name)
    assert found.name == name
    assert found.title and found.licence and found.source


@pytest.mark.parametrize("name", PUBLISHED)
def test_class_names_are_as_many_as_the_classes(name: str) -> None:
    class_names = loader_of(name).class_names
    assert class_names is None or len(set(class_names)) == entry(name).classes


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_set_is_present_when_all_its_files_are(name: str, tmp_path: Path) -> None:
    paths = loader_of(name).paths
    for path in paths[1:]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert not is_present(name, tmp_path)
    (tmp_path / paths[0]).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / paths[0]).touch()
    assert is_present(name, tmp_path)
    assert present_names(tmp_path) == [name, "digits"]


def test_digits_are_always_there(tmp_path: Path) -> None:
    assert present_names(tmp_path) == ["digits"]


@pytest.mark.parametrize(
    ("typed", "hint"), [("mnst", "did you mean mnist"), ("cifar", "did you mean cifar"), ("?", "there are: mnist")]
)
def test_an_unknown_name_gets_a_hint(typed: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        entry(typed)


def test_the_light_part_of_the_data_room_imports_no_torch() -> None:
    program = "import sys, core.data.arrays, core.data.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
