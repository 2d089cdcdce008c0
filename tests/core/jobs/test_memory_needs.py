"""What does not fit is refused at every door, and what does not fit now waits in the queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from core.config.load import load_config, read_site, settings_from
from core.config.site import SiteSettings
from core.device import available_cores
from core.errors import NoRoomOnGpu, UsageError, is_full_gpu
from core.home import code_root
from core.jobs import service
from core.jobs.memory_needs import less_what_comes, needs_of
from core.jobs.queue import Job
from core.jobs.slots import CPU, Device, choose, find_devices
from core.machine import gpus
from core.machine.memory import RECORDING_VARIABLE, Memory
from core.runs.kinds import KINDS
from core.runs.run import RunState, Status
from core.weighing import Need, fair_ranks, need_of, never_fits, ranks_of, refuse_what_is_not_free
from tests.endings import nobody_serves

GB = 10**9
HUGE = {"vae.block_out_channels": [2048] * 3, "unet.block_out_channels": [2048, 2048], "sampling.batch_size": 8192}
HUGE |= {"train_vae.batch_size": 65536, "train_unet.batch_size": 65536}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with so much memory, to be called again when something changes."""
    path = tmp_path / "memory.json"

    def write(*, total, free):
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"total": total, "free": free}))
        temporary.replace(path)

    write(total=16 * GB, free=12 * GB)
    monkeypatch.setenv(RECORDING_VARIABLE, str(path))
    return write


def never_reached(*arguments, **options):
    raise AssertionError("it was weighed after the dataset was prepared")


@pytest.mark.parametrize("kind", ["all", "vae"])
def test_a_training_that_never_fits_is_refused_before_anything_is_made(box, machine, kind):
    with pytest.raises(UsageError, match=r"the training of the VAE takes about .* TB of memory, .* 16.0 GB in all"):
        service.start_training(kind, load_config(overrides=HUGE), store=box.store, check=never_reached)
    assert box.store.list() == []


@pytest.mark.parametrize(("kind", "work"), [("vae", "training"), ("unet", "training"), ("comparison", "generating")])
def test_a_run_that_never_fits_is_not_resumed(box, machine, kind, work):
    steps = {"steps_total": 4} if kind == "comparison" else {}
    run = box.store.create(kind, load_config(overrides=HUGE), **steps)
    before = Status(state=RunState.INTERRUPTED, step=3, reason="as it was")
    run.write_status(before)
    with nobody_serves(box.store), pytest.raises(UsageError, match=f"{work} .*16.0 GB in all; .*lower "):
        service.resume_run(box.store, run.id)
    assert run.status().reason == "as it was"


def test_a_unet_is_weighed_with_the_networks_of_its_vae(box, machine):
    vae = box.store.create("vae", load_config(overrides={"vae.block_out_channels": [8, 16]}))
    vae.write_status(Status(state=RunState.FINISHED, step=3, steps_total=3))
    settings = load_config(overrides={"unet.block_out_channels": [512, 512], "train_unet.batch_size": 4096})
    with pytest.raises(UsageError, match="training of the U-Net takes"):
        service.start_training("unet", settings, store=box.store, vae_run=vae.id, check=never_reached)
    assert [run.id for run in box.store.list()] == [vae.id]


@pytest.mark.slow
def test_the_command_line_says_it_in_a_sentence_and_imports_no_pytorch(tmp_path, machine):
    code = (
        "import sys; from core.__main__ import main\n"
        "ended = main(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules; sys.exit(ended)"
    )
    overrides = [f"--set={name}={json.dumps(value)}" for name, value in HUGE.items()]
    command = [sys.executable, "-c", code, "train", "all", *overrides]
    environment = {**os.environ, "LAB_RUNS": str(tmp_path / "runs")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    assert "16.0 GB in all; lower train_vae.batch_size" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("2*"))


@pytest.mark.parametrize("text", ["vae.block_out_channels=[1000000000000]", "unet.layers_per_block=1000000000"])
def test_endless_integers_are_refused_by_the_schema(text):
    with pytest.raises(UsageError):
        load_config(overrides=[text])


def test_measuring_builds_nothing_that_does_not_fit(machine):
    from core.training.probe import probe

    machine(total=16 * GB, free=100_000_000)
    with pytest.raises(UsageError, match=r"training of the U-Net takes about .* and 100.0 MB are free"):
        probe(load_config(overrides={"machine.device": "cpu"}), "unet")
    machine(total=16 * GB, free=16 * GB)
    with pytest.raises(UsageError, match="in all"):
        probe(load_config(overrides={**HUGE, "machine.device": "cpu"}), "vae")


def test_more_processes_need_more(machine):
    settings = load_config(overrides={"train_vae.batch_size": 64})
    two = settings.model_copy(update={"machine": settings.machine.model_copy(update={"num_processes": 2})})
    one_need, two_need = (need_of(each, KINDS["vae"], on_gpu=False).host for each in (settings, two))
    assert one_need < two_need < 2 * one_need  # two processes, and half of the batch each


@pytest.mark.parametrize(
    ("images", "cores", "ranks"),
    [(128, 2, 2), (128, 1, 1), (128, 0, 1), (128, 3, 2), (128, 64, 8), (96, 5, 4), (31, 8, 1), (1, 8, 1), (97, 8, 1)],
)
def test_automatic_processes_share_a_batch_evenly_and_none_has_few_images(images, cores, ranks):
    assert fair_ranks(images, cores) == ranks


def test_automatic_is_one_process_on_a_gpu_and_for_what_does_not_train():
    found = load_config(overrides={"machine.num_processes": 0})
    assert ranks_of(found, KINDS["unet"], on_gpu=True) == 1
    assert ranks_of(found, KINDS["evaluation"], on_gpu=False) == 1
    cores = available_cores() // max(1, read_site()[0].cpu_slots)
    assert ranks_of(found, KINDS["unet"], on_gpu=False) == fair_ranks(128, cores)
    fixed = load_config(overrides={"machine.num_processes": 2})
    assert [ranks_of(fixed, KINDS["unet"], on_gpu=on_gpu) for on_gpu in (True, False)] == [2, 2]


def test_a_gpu_and_the_machine_are_weighed_apart(recorded_gpus):
    need = need_of(load_config(preset="reference"), KINDS["unet"], on_gpu=True)
    assert 0 < need.gpu < 5 * GB and GB < need.host < 5 * GB
    plenty = Memory(total=64 * GB, free=64 * GB)
    assert never_fits(need, gpus.read_gpus(), plenty) == ""
    assert "largest GPU has 150.0 GB" in never_fits(replace(need, gpu=200 * GB), gpus.read_gpus(), plenty)
    assert "this machine has 1.0 GB in all" in never_fits(need, gpus.read_gpus(), Memory(total=GB, free=GB))


def test_a_full_gpu_lets_a_drawing_go_to_the_cpu(machine):
    need = Need(gpu=3 * GB, host=0, work="generating 4 images at once", lower="generate fewer")
    with pytest.raises(NoRoomOnGpu, match=r"3.0 GB of GPU memory, and 2.0 GB are free; .*machine.device=cpu") as raised:
        refuse_what_is_not_free(need, 2 * GB)
    assert is_full_gpu(raised.value)
    refuse_what_is_not_free(need, 4 * GB)


def devices(*free):
    found = [
        Device(name=f"GPU-{index}", title=f"GPU {index}", visible=str(index), capacity=1, free_bytes=each)
        for index, each in enumerate(free[:-1])
    ]
    return [*found, Device(name=CPU, title="the CPU", visible="", capacity=2, free_bytes=free[-1])]


@pytest.mark.parametrize(
    ("setting", "free", "slots", "words"),
    [
        ("auto", (4 * GB, 9 * GB, 9 * GB), ("GPU-1/0",), ""),
        ("auto", (4 * GB, None, 9 * GB), ("GPU-1/0",), ""),
        (
            "auto",
            (4 * GB, 3 * GB, 9 * GB),
            (),
            "memory of GPU 0: it takes about 5.0 GB, and 4.0 GB are free; memory of",
        ),
        ("cuda:0", (9 * GB, GB), (), "memory: it takes about 2.0 GB, and 1.0 GB are free"),
        ("cpu", (9 * GB, GB), (), "memory: it takes about 2.0 GB, and 1.0 GB are free"),
        ("cpu", (9 * GB, None), ("cpu/0",), ""),
        ("auto", (3 * GB,), ("cpu/0",), ""),
    ],
)
def test_a_place_without_enough_memory_is_waited_for(setting, free, slots, words):
    choice = choose(setting, 1, devices(*free), (), needs=lambda on_gpu: Need(gpu=5 * GB * on_gpu, host=2 * GB))
    assert choice.slots == slots
    assert choice.waits_for.startswith(words) and bool(choice.waits_for) is not bool(slots)


@pytest.mark.parametrize(
    ("setting", "processes", "gpus_free", "gpus_reach", "host", "taken", "keeps"),
    [
        ("cpu", 1, [], [], (60, 60), [], []),  # the machine's own programs hold the rest
        ("cpu", 1, [], [], (50, 61), ["cpu/0"], []),
        ("cpu", 1, [], [], (50, 62), ["cpu/0"], ["cpu"]),
        ("cpu", 1, [], [], (50, None), ["cpu/0"], ["cpu"]),
        ("auto", 1, [79, 79], [79, 79], (90, 90), [], []),
        ("auto", 1, [79, 40], [79, 80], (90, 90), [], ["GPU-1"]),
        ("auto", 1, [80, 80], [80, 80], (50, 90), ["GPU-0/0", "GPU-1/0"], ["GPU-0", "GPU-1"]),
        ("auto", 1, [80, 80], [80, 80], (60, 60), [], []),
        ("cuda", 2, [79, 80], [79, 80], (90, 90), ["GPU-1/0"], []),  # a second one will never do
        ("cuda", 2, [40, 80], [80, 80], (90, 90), [], ["GPU-0", "GPU-1"]),
        ("cuda", 4, [80, 80], [80, 80], (90, 90), [], []),
        ("cuda:5", 1, [80, 80], [80, 80], (90, 90), [], []),
        ("cuda:1", 2, [80, 80], [80, 80], (90, 90), [], []),
    ],
)
def test_a_run_keeps_those_devices_alone_where_the_end_of_runs_makes_room(
    setting, processes, gpus_free, gpus_reach, host, taken, keeps
):
    """Before, a run kept all that it may use, and nobody got a slot behind one that could never start."""

    def bytes_of(gigabytes):
        return None if gigabytes is None else gigabytes * GB

    machine = [
        replace(device, free_bytes=bytes_of(free), reach_bytes=bytes_of(reach))
        for device, free, reach in zip(
            devices(*gpus_free, 0), [*gpus_free, host[0]], [*gpus_reach, host[1]], strict=True
        )
    ]
    choice = choose(setting, processes, machine, taken, needs=lambda on_gpu: Need(gpu=80 * GB * on_gpu, host=62 * GB))
    assert choice.slots == () and choice.keeps == set(keeps)
    assert ("runs behind it may start first" in choice.waits_for) is (choice.lacks_memory and not keeps)


@pytest.mark.parametrize(
    ("machine_settings", "words"),
    [
        ({"device": "auto", "num_processes": 4}, "takes 4 GPUs, and this machine has 2; lower machine.num_processes"),
        ({"device": "cuda:5"}, "takes GPU 5, and this machine has 2;"),
        ({"device": "cuda:1", "num_processes": 2}, "takes 2 GPUs, and machine.device=cuda:1 is one;"),
    ],
)
def test_gpus_that_are_not_there_are_refused_at_the_door(box, recorded_gpus, machine_settings, words):
    settings = box.settings(**machine_settings)
    with pytest.raises(UsageError, match=words):
        service.start_training("vae", settings, store=box.store, check=never_reached)
    for run in (box.store.create("vae", settings), box.store.create("comparison", settings, steps_total=4)):
        run.write_status(Status(state=RunState.INTERRUPTED, step=3))
        with nobody_serves(box.store), pytest.raises(UsageError, match=words.removeprefix("takes ")):
            service.resume_run(box.store, run.id)
        assert run.status().state is RunState.INTERRUPTED


def test_a_smaller_run_passes_one_that_no_end_of_a_run_gives_room(box, machine):
    """Before, the second one got no slot although all of them were free."""
    machine(total=16 * GB, free=3 * GB)
    large = box.store.create("vae", load_config(overrides={"machine.device": "cpu", "train_vae.batch_size": 8192}))
    need = needs_of(large)(False)
    assert 3 * GB < need.host < 16 * GB
    box.submit(large)
    box.wait(lambda: "runs behind it may start first" in box.queue.job(large.id).waits_for)
    small = box.create(steps=2)
    box.submit(small)
    box.wait_for(small, RunState.FINISHED)
    assert large.status().state is RunState.QUEUED


def test_what_a_young_run_will_still_take_is_not_free(box, machine, recorded_gpus):
    run = box.store.create("vae", load_config())
    on_cpu, on_gpu = needs_of(run)(False), needs_of(run)(True)
    recorded_gpus(1)
    found = find_devices(SiteSettings())
    assert found[-1].free_bytes == 12 * GB

    def free(slot, **resident):
        job = Job(run_id=run.id, slots=(slot,))
        return [each.free_bytes for each in less_what_comes(found, box.store, [job], lambda: resident)]

    assert free("cpu/0") == [149_400_000_000, 12 * GB - on_cpu.host]
    assert free("cpu/0", **{run.id: on_cpu.host // 2})[-1] == 12 * GB - (on_cpu.host - on_cpu.host // 2)
    assert free("cpu/0", **{run.id: 99 * GB})[-1] == 12 * GB

    def reach(slot, **resident):
        job = Job(run_id=run.id, slots=(slot,))
        return [each.reach_bytes for each in less_what_comes(found, box.store, [job], lambda: resident)]

    assert reach("cpu/0") == [149_400_000_000, 12 * GB + on_cpu.host]
    assert reach("cpu/0", **{run.id: 2 * on_cpu.host})[-1] == 12 * GB + 2 * on_cpu.host
    assert reach(f"{found[0].name}/0")[0] == 149_400_000_000 + on_gpu.gpu
    assert free(f"{found[0].name}/0") == [149_400_000_000 - on_gpu.gpu, 12 * GB - on_gpu.host]


def test_a_run_waits_until_memory_is_free_and_the_queue_says_so(box, machine):
    machine(total=16 * GB, free=200_000_000)
    run = box.create(steps=2)
    box.submit(run)
    box.wait(lambda: "memory: it takes about" in box.queue.job(run.id).waits_for)
    assert "and 200.0 MB are free" in box.queue.job(run.id).waits_for
    machine(total=16 * GB, free=12 * GB)
    box.wait_for(run, RunState.FINISHED)


def test_a_run_whose_settings_cannot_be_read_is_no_matter_of_memory(box, machine):
    run = box.store.create("vae", settings_from({}))
    run.config_path.write_text("vae: [")
    assert needs_of(run)(False) is None


def test_generating_what_memory_cannot_hold_is_refused_on_the_command_line(machine, capsys, tmp_path):
    from core.__main__ import main

    demo, out = code_root() / "models" / "mnist-demo", tmp_path / "out"
    machine(total=16 * GB, free=300_000_000)
    many = ["--per-label", "500", "--set", "sampling.batch_size=5000"]
    assert main(["sample", str(demo), *many, "--out", str(out)]) == 2
    words = capsys.readouterr().err
    assert "generating 5,000 images at once takes about" in words and "300.0 MB are free; generate fewer" in words
    machine(total=16 * GB, free=10**6)
    assert main(["sample", str(demo), "--labels", "3", "--out", str(out)]) == 2
    assert "mnist-demo: no memory to load it: it takes about" in capsys.readouterr().err
    assert not out.exists()


def test_a_run_whose_checkpoint_memory_cannot_hold_is_not_loaded(machine, box):
    from core.sampling.load import load_model

    run = box.store.create("unet", load_config())
    folder = run.checkpoints_dir / "step-00000003"
    folder.mkdir(parents=True)
    with (folder / "weights").open("wb") as file:
        file.truncate(7 * GB)
    (folder / "manifest.json").write_text(json.dumps({"files": {"weights": {"size": 7 * GB}}}))
    with pytest.raises(UsageError, match=r"no memory to load it: it takes about 14.0 GB, and 12.0 GB are free"):
        load_model(run)
