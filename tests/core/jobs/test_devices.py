import json

import pytest

from core.config.site import SiteSettings
from core.jobs.slots import choose, find_devices
from core.machine import gpus
from core.machine.gpus import visible_gpus


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


@pytest.mark.parametrize(("error", "is_free"), [(4, True), (3, True), (15, False)])
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
