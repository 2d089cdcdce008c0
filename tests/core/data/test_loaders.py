"""torchvision's sets differ in constructors and in their ways; stand-ins with those ways, and the failed download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchvision

from core.config.schema import DataSettings
from core.data.catalog import entry, names
from core.data.loaders import RawSet, load_raw
from core.errors import DataUnavailable


def stand_in(data: np.ndarray, labels: object, field: str = "targets") -> tuple[type, list[dict[str, object]]]:
    calls: list[dict[str, object]] = []

    class Stub:
        classes = tuple(f"class {index}" for index in range(200))

        def __init__(self, **kwargs: object) -> None:
            calls.append(kwargs)
            self.data = data
            setattr(self, field, labels)

    return Stub, calls


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RawSet]:
    def _load(name: str, stub: type) -> RawSet:
        monkeypatch.setattr(torchvision.datasets, entry(name).torchvision_class, stub)
        return load_raw(DataSettings(name=name), tmp_path)

    return _load


def test_emnist_letters_stand_upright_and_start_at_zero(load: Callable[..., RawSet]) -> None:
    sideways = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    stub, calls = stand_in(sideways, np.array([1, 26]))
    found = load("emnist_letters", stub)
    assert found.train.labels.tolist() == [0, 25]
    assert isinstance(found.train.pictures, np.ndarray)
    assert np.array_equal(found.train.pictures[0], sideways[0].T)
    assert found.class_names[0] == "A" and len(found.class_names) == 26
    assert [(call["split"], call["train"]) for call in calls] == [("letters", True), ("letters", False)]


def test_svhn_is_asked_by_split_and_turned_to_channels_last(load: Callable[..., RawSet]) -> None:
    stub, calls = stand_in(np.zeros((3, 3, 32, 32), np.uint8), np.array([0, 5, 9]), field="labels")
    found = load("svhn", stub)
    assert isinstance(found.train.pictures, np.ndarray)
    assert found.train.pictures.shape == (3, 32, 32, 3)
    assert [call["split"] for call in calls] == ["train", "test"]
    assert "train" not in calls[0]
    assert found.class_names == tuple("0123456789")


def test_usps_gets_class_names(load: Callable[..., RawSet]) -> None:
    stub, _ = stand_in(np.zeros((3, 16, 16), np.uint8), [0, 5, 9])
    assert load("usps", stub).class_names == tuple("0123456789")


def test_qmnist_keeps_the_class_of_its_extended_labels(load: Callable[..., RawSet]) -> None:
    stub, calls = stand_in(np.zeros((2, 28, 28), np.uint8), np.array([[7, 1, 2], [3, 4, 5]]))
    assert load("qmnist", stub).train.labels.tolist() == [7, 3]
    assert [call["what"] for call in calls] == ["train", "test"]


def test_cifar_takes_torchvisions_names(load: Callable[..., RawSet]) -> None:
    stub, _ = stand_in(np.zeros((2, 32, 32, 3), np.uint8), [0, 1])
    assert load("cifar100", stub).class_names[0] == "class 0"


@pytest.mark.parametrize("name", [name for name in names() if entry(name).torchvision_class])
def test_torchvision_has_every_class_of_the_catalog(name: str) -> None:
    assert hasattr(torchvision.datasets, entry(name).torchvision_class)


def test_a_failed_download_names_the_set_and_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Offline:
        def __init__(self, **kwargs: object) -> None:
            raise OSError("Name or service not known\nsecond line")

    monkeypatch.setattr(torchvision.datasets, "KMNIST", Offline)
    with pytest.raises(DataUnavailable) as caught:
        load_raw(DataSettings(name="kmnist"), tmp_path)
    assert "'kmnist' is not in" in str(caught.value)
    assert "could not be downloaded (Name or service not known)" in str(caught.value)
    assert "there now: digits" in str(caught.value)
    assert "\n" not in str(caught.value)
