import pytest

from core.machine.devices import candidate_devices, device_lock_path, in_words, is_busy, try_device, visible_gpus


@pytest.fixture
def gpu_nodes(tmp_path):
    [(tmp_path / name).touch() for name in ("nvidia0", "nvidia1", "nvidia10", "nvidia-uvm", "nvidiactl", "null")]
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "gpus"),
    [
        ({}, ("0", "1", "10")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "3, 1"}, ("3", "1")),
        ({"CUDA_VISIBLE_DEVICES": "2,-1,0"}, ("2",)),
    ],
)
def test_gpus_are_seen_without_torch(gpu_nodes, environment, gpus):
    assert visible_gpus(environment, gpu_nodes) == gpus


@pytest.mark.parametrize(
    ("visible", "setting", "candidates"),
    [
        ("", "auto", ("cpu",)),
        ("2,3", "auto", ("cuda:2", "cuda:3")),
        ("2,3", "cuda", ("cuda:2", "cuda:3")),
        ("", "cuda", ("cuda:0",)),
        ("2,3", "cuda:1", ("cuda:3",)),
        ("2,3", "cpu", ("cpu",)),
    ],
)
def test_a_gpu_has_one_lock_whatever_a_process_calls_it(monkeypatch, visible, setting, candidates):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert candidate_devices(setting) == candidates


def test_the_second_run_gets_the_second_gpu_and_the_third_waits(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    taken = [try_device(tmp_path, "auto") for _ in range(3)]
    assert [found[0] if found else None for found in taken] == ["cuda:0", "cuda:1", None]
    assert is_busy(tmp_path, "cuda:1")
    taken[1][1].release()
    assert not is_busy(tmp_path, "cuda:1")


def test_a_device_name_cannot_leave_the_folder(tmp_path):
    assert device_lock_path(tmp_path, "../../x").parent == tmp_path / ".locks"


@pytest.mark.parametrize(("visible", "words"), [("", "the CPU"), ("4", "GPU 4"), ("0,1", "a GPU")])
def test_devices_are_named_in_words(monkeypatch, visible, words):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert in_words("auto") == words
