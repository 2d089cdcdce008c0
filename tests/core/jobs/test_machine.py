"""GPUs through a recorded NVML, the machine, its history, and what may be cleaned up."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest

from core.__main__ import main
from core.config.site import SiteSettings
from core.errors import UsageError
from core.jobs import disk, telemetry
from core.jobs.queue import Job
from core.jobs.queue_view import a_run_waits_for_drawings
from core.jobs.slots import choose, find_devices
from core.machine import gpus, snapshot
from core.machine.cpu_load import INTERVAL_S, CpuLoad, cpu_seconds
from core.machine.snapshot import Disk, Machine, read_machine
from core.runs import trash
from core.runs.run import RunState
from core.weighing import Need
from tests.core.jobs import standin_worker
from tests.core.jobs.conftest import living


def test_recorded_gpus_are_read_like_real_ones(recorded_gpus):
    recorded_gpus(
        2,
        gpu1={
            "memory_used": 40_600_000_000,
            "utilization": 97,
            "processes": [{"pid": os.getpid(), "memory": 40_000_000_000}],
        },
    )
    first, second = gpus.read_gpus()
    assert (first.utilization, first.processes) == (0.0, ())
    assert second.utilization == 0.97
    assert second.processes[0].memory_bytes == 40_000_000_000
    assert second.processes[0].run_id == ""
    assert "pytest" in second.processes[0].command or "python" in second.processes[0].command


def test_a_gpu_filled_by_others_is_not_for_us(recorded_gpus):
    recorded_gpus(
        1, gpu0={"memory_used": 40_600_000_000, "processes": [{"pid": os.getpid(), "memory": 40_000_000_000}]}
    )
    (gpu,) = gpus.read_gpus()
    assert gpus.foreign_memory_bytes(gpu) == 40_000_000_000
    assert not gpus.is_free_for_us(gpu, 1000)
    assert gpus.is_free_for_us(gpu, 50_000)


def test_memory_of_processes_that_the_driver_hides_counts_as_foreign(recorded_gpus):
    recorded_gpus(1, gpu0={"memory_used": 20_600_000_000})
    (gpu,) = gpus.read_gpus()
    assert gpus.foreign_memory_bytes(gpu) == 20_000_000_000


@contextlib.contextmanager
def on_gpu(recorded_gpus, **environment):
    """A process with these variables, which holds 30 GB of the one GPU."""
    with living(**environment) as child:
        recorded_gpus(
            1, gpu0={"memory_used": 30_600_000_000, "processes": [{"pid": child.pid, "memory": 30_000_000_000}]}
        )
        yield


def test_our_own_run_is_no_stranger(recorded_gpus):
    with on_gpu(recorded_gpus, LAB_ATTEMPT="20260101-000000-vae-abcd.1"):
        (gpu,) = gpus.read_gpus()
        assert gpu.processes[0].run_id == "20260101-000000-vae-abcd"
        assert gpus.foreign_memory_bytes(gpu) == 0


def test_what_draws_for_screens_is_no_stranger_either_and_keeps_no_run_out(recorded_gpus, box, monkeypatch, capsys):
    monkeypatch.setenv("LAB_RUNS", str(box.store.root))
    with on_gpu(recorded_gpus, LAB_COMPUTE="1"):
        (gpu,) = gpus.read_gpus()
        assert (gpu.processes[0].computes_for_screens, gpu.processes[0].run_id) == (True, "")
        assert gpus.is_free_for_us(gpu, 1000)
        assert choose("auto", 1, find_devices(SiteSettings()), []).slots == ("GPU-00000000-aaaa/0",)
        needs = Need(host=0, gpu=140_000_000_000)
        words = choose("auto", 1, find_devices(SiteSettings()), [], needs=lambda on_gpu: needs).waits_for
        assert "where the lab computes for a screen" in words
        assert main(["machine"]) == 0
        row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("GPU 0"))
        assert "images for screens" in row and row.rstrip().endswith("yes")


@pytest.mark.parametrize(
    ("device", "lease", "wanted"),
    [("auto", "", True), ("cuda:0", "", True), ("cpu", "", False), ("auto", "GPU-00000000-aaaa/0", False)],
)
def test_drawings_give_way_to_a_run_that_could_start_without_them(recorded_gpus, box, device, lease, wanted):
    assert not a_run_waits_for_drawings(box.store)
    if lease:
        first = box.create(device=device)
        box.queue.put(Job(run_id=first.id, device=device))
        box.queue.claim(first.id, [lease])
    run = box.create(device=device)
    box.queue.put(Job(run_id=run.id, device=device))
    with on_gpu(recorded_gpus, LAB_COMPUTE="1"):
        assert a_run_waits_for_drawings(box.store) is wanted
    recorded_gpus(1)
    assert not a_run_waits_for_drawings(box.store)


@pytest.mark.parametrize(("visible", "seen"), [("1", [1]), ("", []), ("GPU-0", [0]), ("-1", []), ("0,1", [0, 1])])
def test_only_visible_gpus_are_ours(recorded_gpus, monkeypatch, visible, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.index for gpu in gpus.read_gpus()] == seen


def test_a_recording_read_back_is_the_same(recorded_gpus, tmp_path, monkeypatch):
    before = gpus.read_gpus()
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(gpus.record()))
    monkeypatch.setenv("LAB_NVML_RECORDING", str(copy))
    assert gpus.read_gpus() == before


@pytest.mark.parametrize(
    ("device", "processes", "taken", "reserved", "slots"),
    [
        ("auto", 1, [], [], ["GPU-00000000-aaaa/0"]),
        ("cuda:1", 1, [], [], ["GPU-10000000-aaaa/0"]),
        ("cuda", 2, [], [], ["GPU-00000000-aaaa/0", "GPU-10000000-aaaa/0"]),
        ("cuda", 2, ["GPU-00000000-aaaa/0"], [], []),
        ("auto", 1, ["GPU-00000000-aaaa/0"], [], ["GPU-10000000-aaaa/0"]),
        ("auto", 1, [], ["GPU-00000000-aaaa", "GPU-10000000-aaaa"], []),
        ("cpu", 2, [], ["GPU-00000000-aaaa"], ["cpu/0"]),
        ("cuda:7", 1, [], [], []),
    ],
)
def test_a_run_gets_slots_it_asked_for_or_waits(recorded_gpus, box, device, processes, taken, reserved, slots):
    choice = choose(device, processes, find_devices(SiteSettings()), taken, reserved)
    assert list(choice.slots) == slots
    assert bool(choice.waits_for) is not bool(slots)


def test_who_fills_a_gpu_is_named_as_what_one_waits_for(recorded_gpus, box):
    recorded_gpus(
        1, gpu0={"memory_used": 40_600_000_000, "processes": [{"pid": os.getpid(), "memory": 40_000_000_000}]}
    )
    choice = choose("auto", 1, find_devices(SiteSettings()), [])
    assert choice.slots == ()
    assert choice.waits_for.startswith("GPU 0 is used by ")
    assert "(40.0 GB), not by the lab" in choice.waits_for


def test_the_machine_is_read_without_a_gpu(tmp_path):
    found = read_machine(tmp_path / "runs" / "not there yet")
    assert found.cpu_count >= 1
    assert 0 < found.memory_used_bytes < found.memory_total_bytes
    assert found.disk.free_bytes > 0


def test_a_process_that_holds_much_and_computes_nothing_is_named(tmp_path, monkeypatch):
    with living() as child:
        held = psutil.Process(child.pid).memory_info().rss
        monkeypatch.setattr(snapshot, "HEAVY_MEMORY_SHARE", held / 2 / psutil.virtual_memory().total)
        monkeypatch.setattr(snapshot, "MOST_OTHERS", 10_000)
        assert child.pid in [other.pid for other in read_machine(tmp_path).others]
        monkeypatch.setattr(snapshot, "HEAVY_MEMORY_SHARE", 1.0)
        assert child.pid not in [other.pid for other in read_machine(tmp_path).others]


class Cores:
    """Two cores that are as busy as it is told, and their clock."""

    def __init__(self):
        self.at, self.busy, self.share = 100.0, 0.0, 0.25

    def passes(self, seconds):
        self.at += seconds
        self.busy += 2 * seconds * self.share

    def load(self):
        return CpuLoad(lambda: (self.busy, 2 * self.at), lambda: self.at, self.passes)


def test_the_load_is_measured_over_a_real_interval_and_kept_meanwhile():
    cores = Cores()
    load = cores.load()
    assert load.now() == pytest.approx(0.25)  # of the first look itself
    cores.share = 1.0
    cores.passes(INTERVAL_S / 10)
    assert load.now() == pytest.approx(0.25)  # too short to say anything new
    cores.passes(INTERVAL_S)
    assert load.now() == pytest.approx(1.0)
    cores.share = 0.0
    cores.passes(5 * INTERVAL_S)
    assert load.now() == 0.0


def test_every_thread_reads_the_same_load():
    cores = Cores()
    load = cores.load()
    found = [load.now()]
    for _ in range(3):
        thread = threading.Thread(target=lambda: found.append(load.now()))
        thread.start()
        thread.join()
    assert found == [pytest.approx(0.25)] * 4


def test_the_load_of_this_machine_is_a_share_and_its_seconds_only_grow():
    busy, total = cpu_seconds()
    assert 0 <= busy <= total
    assert 0 <= CpuLoad().now() <= 1
    assert cpu_seconds() >= (busy, total)


def machine_at(used, free):
    return Machine(
        gpus=(),
        cpu_count=2,
        cpu_load=0.5,
        memory_used_bytes=1,
        memory_total_bytes=2,
        others=(),
        disk=Disk(path=None, used_bytes=used, free_bytes=free, total_bytes=used + free),
    )


def test_history_is_read_back_and_thinned(tmp_path, monkeypatch):
    (tmp_path / ".queue").mkdir()
    start = time.time() - 20_000
    for index in range(2000):
        monkeypatch.setattr(telemetry.time, "time", lambda index=index: start + 10 * index)
        telemetry.sample(tmp_path, machine_at(index, 10**12), 1)
    whole = telemetry.read_history(tmp_path, 86_400)
    assert len(whole["time"]) <= telemetry.MAX_POINTS
    assert np.all(np.diff(whole["time"]) > 0)
    assert whole["cpu"].max() == 0.5
    assert len(telemetry.read_history(tmp_path, 600)["time"]) in (60, 61)


@pytest.mark.parametrize(
    ("hours", "per_hour", "words"),
    [
        (2, 1e9, "too little history"),
        (48, 1e9, "full in about 4 days at 24.0 GB per day"),
        (48, 0, "not filling"),
        (48, -1e9, "not filling"),
        (48, 1e6, "lasts for years"),
    ],
)
def test_the_disk_forecast_says_what_it_knows(hours, per_hour, words):
    when = np.linspace(0, hours * 3600, 300)
    used = 1e12 + per_hour * when / 3600
    used[150] += 5e11  # one big file that came and went
    history = {"time": when, "disk_used": used, "disk_free": np.full(300, 1e11 if per_hour != 1e6 else 1e12)}
    assert words in telemetry.disk_forecast(history).words


@pytest.fixture
def ended(box):
    """A finished run with three checkpoints and a failed one."""
    run, failed = box.create(steps=15), box.create()
    for step in (5, 10, 15):
        standin_worker.save(run, step)
    run.log_path.write_text("trained\n")
    run.write_status(replace(run.status(), state=RunState.FINISHED, step=15))
    failed.write_status(replace(failed.status(), state=RunState.FAILED, reason="for the test"))
    return run, failed


def test_a_clean_up_removes_what_its_preview_says_and_no_more(box, ended):
    run, _ = ended
    plan = disk.plan_cleanup(box.store, box.root / "cache", choice="old checkpoints", older_than_days=0)
    assert [item.path.name for item in plan.goes] == ["step-00000005", "step-00000010"]
    assert plan.stays == ("the newest checkpoint of each of 1 run",)
    assert disk.apply_cleanup(box.store, plan, "ana") == plan.bytes > 0
    assert [path.name for path in run.checkpoints_dir.iterdir()] == ["step-00000015"]
    assert disk.apply_cleanup(box.store, plan, "ana") == 0


def test_what_became_active_after_the_preview_stays(box, ended):
    run, _ = ended
    plan = disk.plan_cleanup(box.store, box.root / "cache", choice="old checkpoints", older_than_days=0)
    run.write_status(replace(run.status(), state=RunState.QUEUED))
    assert disk.apply_cleanup(box.store, plan, "ana") == 0
    assert len(list(run.checkpoints_dir.iterdir())) == 3


def test_failed_runs_go_to_the_trash_and_from_there_for_good(box, ended):
    run, failed = ended
    plan = disk.plan_cleanup(box.store, box.root / "cache", choice="failed runs", older_than_days=0)
    assert [item.path for item in plan.goes] == [failed.folder]
    disk.apply_cleanup(box.store, plan, "ana")
    assert [found.id for found in trash.list_trash(box.store)] == [failed.id]
    plan = disk.plan_cleanup(box.store, box.root / "cache", choice="trash", older_than_days=7)
    assert plan.goes == ()
    assert len(plan.stays) == 1
    plan = disk.plan_cleanup(box.store, box.root / "cache", choice="trash", older_than_days=0)
    disk.apply_cleanup(box.store, plan, "ana")
    assert trash.list_trash(box.store) == []
    assert [left.id for left in box.store.list()] == [run.id]


def test_caches_of_active_runs_stay(box, ended):
    run, _ = ended
    cache = box.root / "cache"
    for name in ("mnist-1", "digits-2"):
        (cache / "arrays" / name).mkdir(parents=True)
        (cache / "arrays" / name / "images.npy").write_bytes(b"x" * 100)
    (cache / "latents" / ".digits.tmp").mkdir(parents=True)
    os.utime(cache / "latents" / ".digits.tmp", (0, 0))
    run.write_status(replace(run.status(), state=RunState.QUEUED))
    plan = disk.plan_cleanup(box.store, cache, choice="unused caches", older_than_days=0)
    assert {item.path.name for item in plan.goes} == {"digits-2", ".digits.tmp"}
    assert len(plan.stays) == 1
    disk.apply_cleanup(box.store, plan, "ana")
    assert [path.name for path in (cache / "arrays").iterdir()] == ["mnist-1"]


@pytest.mark.parametrize("kind", disk.CACHE_KINDS)
def test_of_every_kind_of_cache_what_no_active_run_uses_goes(box, kind):
    run, cache = box.create(), box.root / "cache"
    for name in ("mnist-abc-heldout-1000", "digits-abc-heldout-1000"):
        (cache / kind / name).mkdir(parents=True)
        (cache / kind / name / "kept.npy").write_bytes(b"x" * 100)
    run.write_status(replace(run.status(), state=RunState.QUEUED))
    entries = {entry.name: entry for entry in disk.cache_entries(cache, box.store)}
    assert {entry.kind for entry in entries.values()} == {kind}
    assert entries["mnist-abc-heldout-1000"].used_by == (run.id,)
    plan = disk.plan_cleanup(box.store, cache, choice="unused caches", older_than_days=0)
    assert [item.words for item in plan.goes] == [f"{kind} digits-abc-heldout-1000"]
    assert plan.stays == (f"{kind} mnist-abc-heldout-1000: used by {run.id}",)
    assert disk.apply_cleanup(box.store, plan, "ana") == 100
    assert [path.name for path in (cache / kind).iterdir()] == ["mnist-abc-heldout-1000"]


def test_a_link_out_of_the_cache_is_not_followed(box, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    (box.root / "cache" / "arrays").mkdir(parents=True)
    (box.root / "cache" / "arrays" / "link").symlink_to(precious)
    plan = disk.plan_cleanup(box.store, box.root / "cache", choice="unused caches", older_than_days=0)
    assert plan.goes == ()
    assert (precious / "thesis.txt").exists()


def test_an_unknown_clean_up_is_refused(box):
    with pytest.raises(UsageError):
        disk.plan_cleanup(box.store, box.root, choice="everything", older_than_days=0)


def test_sizes_add_up_and_are_measured_again_when_a_run_grows(box, ended):
    run, _ = ended
    (before,) = [size for size in disk.run_sizes(box.store) if size.run_id == run.id]
    assert [step for step, _ in before.checkpoints] == [5, 10, 15]
    (run.folder / "log.txt").write_bytes(b"x" * 5000)
    os.utime(run.folder)
    (after,) = [size for size in disk.run_sizes(box.store) if size.run_id == run.id]
    assert after.log_bytes == 5000
    assert after.total_bytes > before.total_bytes


def test_a_failed_run_that_does_not_say_when_it_ended_stays(box, ended):
    _, failed = ended
    for path, key in ((failed.folder / "run.json", "created_at"), (failed.folder / "status.json", "heartbeat_at")):
        path.write_text(json.dumps({**json.loads(path.read_text()), key: ""}))
    plan = disk.plan_cleanup(
        type(box.store)(box.store.root), box.root / "cache", choice="failed runs", older_than_days=0
    )
    assert plan.goes == () and plan.stays[0].endswith("does not say when it ended")
