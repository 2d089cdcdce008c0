"""Which device a setting means, on machines with and without GPUs."""

from __future__ import annotations

import pytest
import torch

from core import device
from core.errors import UsageError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: [(5, 80), (60, 80)][index])


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("name", "expected"), [("auto", "cuda:1"), ("cuda", "cuda:1"), ("cuda:0", "cuda:0"), ("cpu", "cpu")]
)
@pytest.mark.usefixtures("two_gpus")
def test_auto_takes_the_gpu_with_most_free_memory(name: str, expected: str) -> None:
    assert str(device.resolve_device(name)) == expected


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_the_cpu() -> None:
    assert device.resolve_device("auto").type == "cpu"


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="PyTorch sees no GPU"):
        device.resolve_device(name)


@pytest.mark.usefixtures("two_gpus")
def test_a_third_gpu_of_two_is_refused() -> None:
    with pytest.raises(UsageError, match="this machine has 2 GPU"):
        device.resolve_device("cuda:2")


@pytest.mark.usefixtures("two_gpus")
def test_checking_a_device_touches_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: pytest.fail("a CUDA context was created"))
    device.check_device("auto")
    device.check_device("cuda:1")


@pytest.mark.parametrize(
    ("setting", "native", "expected"),
    [("auto", True, "bf16"), ("auto", False, "no"), ("no", True, "no"), ("bf16", False, "bf16")],
)
def test_auto_precision_follows_the_device(
    setting: str, native: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "supports_bf16", lambda where: native)
    assert device.mixed_precision(setting, torch.device("cpu")) == expected
