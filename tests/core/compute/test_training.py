"""What the Train page asks of the process that computes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from core.compute.answers import training
from core.errors import LabError
from core.training.cost import Probe
from tests.pages.run_folders import tiny_settings


class Listener:
    """Hears nothing."""

    def __call__(self, stage: str, fraction: float, look: Any = None) -> None:
        pass

    def is_cancelled(self) -> bool:
        return False


@pytest.mark.slow
def test_what_cannot_begin_is_refused_before_a_run_exists(tmp_path: Path) -> None:
    folders = {"data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache"}
    training.check_ready(Listener(), tiny_settings(), **folders)
    with pytest.raises(LabError, match="mnist"):
        training.check_ready(Listener(), tiny_settings(**{"data.name": "mnist", "data.download": False}), **folders)


def test_costs_are_measured_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first measuring sees another one asked for, which does not begin meanwhile."""
    begun: list[threading.Thread] = []
    second = threading.Event()

    def probe(settings: Any, part: str) -> Probe:
        if begun:
            second.set()
        else:
            begun.append(threading.Thread(target=measure))
            begun[0].start()
            assert not second.wait(0.1)
        return Probe(parameters=1, seconds_per_step=1.0, images_per_s=1.0, estimated_s=1.0, device="cpu")

    def measure() -> Probe:
        return training.measure_cost(Listener(), tiny_settings(), "vae")

    monkeypatch.setattr(training, "probe", probe)
    assert measure().parameters == 1
    begun[0].join()
    assert second.is_set()
