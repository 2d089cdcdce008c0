"""What is there is asked of the driver and of PyTorch; what they do not tell is unknown, and blocks nothing."""

import json
import os
import textwrap
import time
from uuid import uuid4

import pytest

from core.__main__ import main
from core.config.site import SiteSettings
from core.jobs.slots import choose, find_devices
from core.machine import gpus
from core.machine.gpus import visible_gpus
from core.machine.torch_gpus import ASK, remembered
from tests.core.jobs.conftest import living


@pytest.fixture
def gpu_nodes(tmp_path):
    [(tmp_path / name).touch() for name in ("nvidia0", "nvidia1", "nvidia10", "nvidia-uvm", "nvidiactl", "null")]
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "seen"),
    [
        ({}, ("0", "1", "10")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "3, 1"}, ("3", "1")),
        ({"CUDA_VISIBLE_DEVICES": "2,-1,0"}, ("2",)),
    ],
)
def test_gpus_are_seen_without_torch(gpu_nodes, environment, seen):
    assert visible_gpus(environment, gpu_nodes) == seen


@pytest.mark.parametrize("environment", [{}, {"CUDA_VISIBLE_DEVICES": "0"}])
def test_naming_a_gpu_makes_none_where_the_machine_has_none(tmp_path, environment):
    (tmp_path / "null").touch()
    assert visible_gpus(environment, tmp_path) == ()
    assert visible_gpus(environment, tmp_path / "nowhere") == ()


@pytest.mark.parametrize(("error", "is_free"), [(4, True), (3, True), (13, True), (15, False), (16, False)])
def test_a_gpu_whose_driver_keeps_its_memory_to_itself_is_not_lost_for_the_lab(recorded_gpus, error, is_free):
    """Insufficient permissions and not supported say nothing against the GPU; lost (15) does."""
    recorded_gpus(1, gpu0={"memory_error": error})
    (gpu,) = gpus.read_gpus()
    assert gpus.is_free_for_us(gpu, 1000) is is_free
    assert bool(gpu.problem) is not is_free
    assert bool(choose("auto", 1, find_devices(SiteSettings()), []).slots) is is_free


def test_a_stranger_is_seen_where_the_driver_keeps_the_memory_to_itself(recorded_gpus):
    recorded_gpus(1, gpu0={"memory_error": 4, "processes": [{"pid": 1, "memory": 5_000_000_000}]})
    (gpu,) = gpus.read_gpus()
    assert gpus.foreign_memory_bytes(gpu) == 5_000_000_000
    assert not gpus.is_free_for_us(gpu, 1000)
    assert json.loads(json.dumps(gpus.record()))["gpus"][0]["memory_total"] == 0


@pytest.fixture
def fake_torch(tmp_path, monkeypatch):
    """fake_torch("...") makes `import torch` of a child run these lines; it counts how often it was imported."""
    folder, count = tmp_path / "fake", tmp_path / "imports"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def write(lines):
        text = f"open({str(count)!r}, 'a').write('x')\n" + textwrap.dedent(lines)
        (folder / "torch.py").write_text(text)
        return lambda: len(count.read_text()) if count.exists() else 0

    return write


NO_CUDA = """
    class cuda:
        is_available = staticmethod(lambda: False)
        def init():
            raise AssertionError("not reached")
    class version:
        cuda = hip = None
"""
OLD_DRIVER = """
    class cuda:
        is_available = staticmethod(lambda: False)
        def init():
            raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")
    class version:
        cuda, hip = "12.8", None
"""
FINE = "class cuda:\n    is_available = staticmethod(lambda: True)"


@pytest.mark.parametrize(
    ("lines", "words", "asked"),
    [(NO_CUDA, "built without CUDA", 1), (OLD_DRIVER, "driver on your system is too old", 1), (FINE, "", 1)],
)
def test_pytorch_itself_says_whether_it_can_use_the_gpus_and_is_asked_once(fake_torch, tmp_path, lines, words, asked):
    imports, memo = fake_torch(lines), tmp_path / "cache" / "memo.json"
    for _ in range(2):
        problem = remembered(memo, ASK)
        assert words in problem and bool(problem) is bool(words)
    assert imports() == asked
    copy = tmp_path / "cache" / "another process.json"
    memo.rename(copy)
    assert remembered(copy, ASK) == problem
    assert imports() == asked


def test_a_pytorch_that_hangs_says_nothing_and_is_not_waited_for_twice(fake_torch, tmp_path):
    imports = fake_torch("import threading; threading.Event().wait()")
    for _ in range(2):
        assert remembered(tmp_path / "memo.json", ASK, wall_s=0.3) == ""
    assert imports() <= 1


@pytest.mark.parametrize("damaged", ["{", '{"problem": 3}', '{"problem": "x", "at": "y", "asked": 1}'])
def test_a_damaged_answer_is_asked_for_again(fake_torch, tmp_path, damaged):
    fake_torch(FINE)
    (tmp_path / "memo.json").write_text(damaged)
    assert remembered(tmp_path / "memo.json", ASK) == ""


def test_gpus_that_pytorch_cannot_use_are_no_devices_and_auto_means_the_cpu(recorded_gpus, box, monkeypatch, capsys):
    monkeypatch.setenv("LAB_RUNS", str(box.store.root))
    recorded_gpus(2, pytorch="it is built without CUDA")
    devices = find_devices(SiteSettings())
    assert [device.name for device in devices] == ["cpu"]
    assert choose("auto", 1, devices, []).slots == ("cpu/0",)
    assert "this machine has none" in choose("cuda", 1, devices, []).waits_for
    assert main(["machine"]) == 0
    out = capsys.readouterr().out
    assert "PyTorch cannot use the GPUs: it is built without CUDA." in out
    assert all(line.rstrip().endswith("no") for line in out.splitlines() if line.startswith("GPU "))


@pytest.mark.parametrize("visible", ["7", "GPU-9", "MIG-1"])
def test_what_names_no_gpu_ends_the_list_as_in_cuda(recorded_gpus, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"1,{visible},0")
    assert [gpu.index for gpu in gpus.read_gpus()] == [1]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.read_gpus() == []


@pytest.mark.parametrize("error", [4, 999])
def test_unknown_memory_and_processes_are_shown_as_unknown_and_keep_no_run_out(
    recorded_gpus, box, monkeypatch, capsys, error
):
    monkeypatch.setenv("LAB_RUNS", str(box.store.root))
    recorded_gpus(1, gpu0={"memory_error": error, "process_error": error})
    assert choose("auto", 1, find_devices(SiteSettings()), []).slots == ("GPU-00000000-aaaa/0",)
    assert main(["machine"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("GPU 0"))
    assert row.count("unknown") == 2 and row.rstrip().endswith("yes")


def test_memory_of_nobody_known_is_no_strangers_where_the_driver_tells_no_processes(recorded_gpus):
    recorded_gpus(1, gpu0={"memory_used": 40_600_000_000, "process_error": 4})
    (gpu,) = gpus.read_gpus()
    assert gpus.foreign_memory_bytes(gpu) == 0
    assert gpu.memory_used_bytes == 40_600_000_000


def test_a_lost_gpu_is_waited_for_by_its_own_reason_and_no_stranger_is_made_up(recorded_gpus):
    recorded_gpus(1, gpu0={"memory_error": 15})
    words = choose("auto", 1, find_devices(SiteSettings()), []).waits_for
    assert words.startswith("GPU 0: cannot be read") and "used by" not in words


def test_a_driver_that_hangs_is_not_waited_for(recorded_gpus, tmp_path, monkeypatch):
    (before, _) = gpus.read_gpus()
    pipe = tmp_path / "driver"
    os.mkfifo(pipe)
    monkeypatch.setenv("LAB_NVML_RECORDING", str(pipe))
    try:
        for patience in (0.05, 60.0):  # the second does not wait for what is known to hang
            hanging = gpus.read_gpus(patience_s=patience)
            assert hanging[0].uuid == before.uuid
            assert all(gpu.problem == "its driver does not answer" for gpu in hanging)
    finally:
        pipe.write_text('{"gpus": []}')  # it answers
    monkeypatch.undo()
    end = time.monotonic() + 60
    while any(gpu.problem for gpu in gpus.read_gpus()):
        assert time.monotonic() < end


@pytest.mark.parametrize(
    ("told", "foreign"),
    [
        ([], 0),  # the driver lists no process of a container
        ([(987_654_321, 30_000_000_000)], 0),  # or lists it by a pid of the host
        ([(987_654_321, 30_000_000_000), (987_654_322, 5_000_000_000)], 5_000_000_000),
        ([(1, 30_000_000_000), (2, 5_000_000_000)], 5_000_000_000),  # which may be anybody's here
    ],
)
@pytest.mark.parametrize("others", ["", "GPU-other,"])
def test_in_a_container_our_run_is_known_by_what_the_lab_started(recorded_gpus, told, foreign, others):
    uuid = f"GPU-{uuid4()}"  # no other test's process was given it
    with living(LAB_ATTEMPT="20260101-000000-vae-abcd.1", CUDA_VISIBLE_DEVICES=others + uuid):
        processes = [{"pid": pid, "memory": memory} for pid, memory in told]
        used = 600_000_000 + (sum(memory for _, memory in told) or 30_000_000_000)
        recorded_gpus(1, pids="host", gpu0={"uuid": uuid, "memory_used": used, "processes": processes})
        (gpu,) = gpus.read_gpus()
        assert [process.run_id for process in gpu.processes].count("20260101-000000-vae-abcd") == 1
        assert gpus.foreign_memory_bytes(gpu) == foreign


@pytest.mark.parametrize("visible", ["0", "GPU-1", ""])
def test_in_a_container_a_run_on_another_device_hides_no_stranger(recorded_gpus, visible):
    with living(LAB_ATTEMPT="20260101-000000-vae-abcd.1", CUDA_VISIBLE_DEVICES=visible):
        told = {
            "uuid": f"GPU-{uuid4()}",
            "memory_used": 36_000_000_000,
            "processes": [{"pid": 1, "memory": 35_000_000_000}],
        }
        recorded_gpus(1, pids="host", gpu0=told)
        (gpu,) = gpus.read_gpus()
        assert gpus.foreign_memory_bytes(gpu) >= 35_000_000_000
        assert gpu.processes[0].command == "pid 1 outside this container"
