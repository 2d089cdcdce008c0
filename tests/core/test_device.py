"""Which device a setting means, on machines with and without GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

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


@pytest.fixture
def any_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "share", "running", "fastest", "taken"),
    [
        (4, 1, 0, 4, 4),
        (4, 1, 1, 4, 3),
        (4, 2, 0, 4, 2),
        (4, 1, 9, 4, 1),
        (1, 1, 0, 4, 1),
        (32, 1, 0, 32, 8),
        (4, 1, 0, 1, 1),
        (4, 1, 0, 2, 2),
    ],
)
@pytest.mark.usefixtures("any_threads")
def test_computing_takes_the_cores_that_are_free_and_pay(
    cores: int, share: int, running: int, fastest: int, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)

    def probe(threads: int) -> float:
        return abs(threads - fastest)

    for count in (None, 0):
        found = device.take_free_cores(count, share=share, cores=cores, running=lambda: running, probe=probe)
        assert found == torch.get_num_threads() == taken


@pytest.mark.usefixtures("any_threads")
def test_a_number_of_threads_that_was_set_is_taken_whatever_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.take_free_cores(3, cores=2, running=lambda: pytest.fail("nobody has to look")) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert device.take_free_cores(None, cores=4, running=lambda: pytest.fail("nobody has to look")) == 1
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("any_threads")
def test_the_readers_of_load_and_speed_answer_on_this_machine() -> None:
    assert device.running_elsewhere() >= 0
    state = torch.get_rng_state()
    assert device.seconds_with(1) > 0 and torch.equal(state, torch.get_rng_state())


@pytest.mark.usefixtures("any_threads")
@pytest.mark.parametrize(("count", "threads"), [(None, 1), (2, 2)])
def test_a_training_never_looks_at_the_load(count: int | None, threads: int) -> None:
    assert device.set_threads(count) == torch.get_num_threads() == threads


def test_threads_of_every_process_sleep_while_they_wait_unless_somebody_decided_otherwise() -> None:
    program = "import core, os; print(os.environ['OMP_WAIT_POLICY'])"
    for wanted in ("", "ACTIVE"):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        environment |= {"OMP_WAIT_POLICY": wanted} if wanted else {}
        found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert found.stdout.strip() == (wanted or "PASSIVE")
