import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from core.config.schema import project_root
from core.errors import LabError, RunBusy
from core.jobs import service
from core.jobs.devices import device_lock_path
from core.jobs.engines.protocol import JobSpec
from core.jobs.observed import job_process, observed_status, settle
from core.jobs.processes import is_alive, wait_until_dead
from core.jobs.service import force_stop, request_stop, resume_run, start_training, stop_run, wait_until_started
from core.runs.lock import try_lock
from core.runs.run import RunState
from core.runs.store import lock_path

LONG = 100_000


@pytest.fixture
def start(engine, make_settings, store):
    def start(kind="vae", steps=3, name="", grace_s=2.0):
        runs = start_training(
            kind,
            make_settings(steps, grace_s),
            name=name,
            owner="ana",
            store=store,
            engine=engine,
            check=lambda *a, **k: None,
        )
        return runs if kind == "all" else runs[0]

    return start


def names_of_events(run):
    return [event["event"] for event in run.events()]


def test_a_run_is_worked_on_to_its_end(start, wait_for_state):
    run = start(steps=3)
    status = wait_for_state(run, RunState.FINISHED)
    assert (status.step, status.process, status.reason) == (3, None, "")
    assert names_of_events(run) == ["created", "started", "finished"]
    assert f"hello from training {run.id}" in run.log_path.read_text()


def test_a_vae_and_its_unet_run_one_after_the_other_each_with_its_own_log(start, wait_for_state):
    vae, unet = start("all", steps=3)
    wait_for_state(unet, RunState.FINISHED)
    assert vae.status().state is RunState.FINISHED
    assert unet.info.parents == (vae.id,)
    assert f"hello from training {unet.id}" in unet.log_path.read_text()
    assert unet.id not in vae.log_path.read_text()


def test_starting_twice_is_refused_in_one_sentence(start, engine, store, wait_for_state):
    run = start(steps=LONG)
    with pytest.raises(RunBusy, match="is being worked on by another process"):
        engine.submit(JobSpec(run_ids=(run.id,)))
    with pytest.raises(RunBusy, match="is already"):
        resume_run(store, run.id, engine=engine)
    wait_for_state(run, RunState.RUNNING)


def test_a_killed_worker_is_seen_as_interrupted(start, wait_for_state, kill_minus_9):
    run = start(steps=LONG)
    wait_for_state(run, RunState.RUNNING)
    kill_minus_9(run)
    status = wait_for_state(run, RunState.INTERRUPTED)
    assert "is gone; the last checkpoint is of step" in status.reason
    assert run.status().state is RunState.RUNNING  # looking changes nothing
    settle(run)
    assert run.status().state is RunState.INTERRUPTED
    assert names_of_events(run)[-1] == "interrupted"


def test_reconcile_settles_what_died_and_does_nothing_the_second_time(start, engine, wait_for_state, kill_minus_9):
    run = start(steps=LONG)
    wait_for_state(run, RunState.RUNNING)
    kill_minus_9(run)
    wait_for_state(run, RunState.INTERRUPTED)
    assert [each.id for each in engine.reconcile()] == [run.id]
    assert engine.reconcile() == []


def test_an_interrupted_run_goes_on_where_it_was(start, store, engine, wait_for_state, kill_minus_9):
    run = start(steps=60)
    wait_for_state(run, RunState.RUNNING)
    kill_minus_9(run)
    wait_for_state(run, RunState.INTERRUPTED)
    step = run.status().step
    resume_run(store, run.id, by="bo", engine=engine)
    assert wait_for_state(run, RunState.FINISHED).step == 60
    resumed = next(event for event in run.events() if event["event"] == "resumed")
    assert resumed["from_step"] >= step > 0
    assert names_of_events(run).count("resume requested") == 1


def test_sigterm_saves_and_stops(start, wait_for_state):
    run = start(steps=LONG)
    wait_for_state(run, RunState.RUNNING)
    os.kill(job_process(run).pid, signal.SIGTERM)
    status = wait_for_state(run, RunState.STOPPED)
    assert status.reason.startswith("stopped by a signal (SIGTERM) at step")


def test_a_closed_terminal_does_not_stop_it(start, wait_for, wait_for_state):
    run = start(steps=LONG)
    step = wait_for_state(run, RunState.RUNNING).step
    os.kill(job_process(run).pid, signal.SIGHUP)
    wait_for(lambda: observed_status(run).step > step + 5)


def test_stop_says_who_asked_and_where_it_stopped(start, store, wait_for_state):
    run = start(steps=LONG)
    wait_for_state(run, RunState.RUNNING)
    stages = []
    status = stop_run(store, run.id, by="bo", on_stage=stages.append)
    assert status.state is RunState.STOPPED
    assert status.reason.startswith("stopped by bo at step")
    assert stages[0] == "asked it to save and stop"
    assert wait_until_dead(job_process(run), 10)


def test_a_stop_right_after_the_start_is_never_lost(start, store, wait_for_state):
    run = start(steps=LONG)
    request_stop(store, run.id, by="bo")
    status = wait_for_state(run, RunState.STOPPED)
    assert status.reason == "stopped by bo before it began"


def test_a_request_without_a_signal_is_found_in_the_events(start, wait_for_state):
    run = start(steps=LONG)
    wait_for_state(run, RunState.RUNNING)
    run.add_event("stop requested", by="another machine")
    assert "stopped by another machine" in wait_for_state(run, RunState.STOPPED).reason


def test_a_run_being_asked_to_stop_shows_as_stopping(start, store, wait_for_state):
    run = start(steps=LONG, name="deaf")
    wait_for_state(run, RunState.RUNNING)
    request_stop(store, run.id)
    assert observed_status(run).state is RunState.STOPPING


def test_a_worker_that_ignores_requests_is_killed_after_the_grace(start, store, wait_for_state):
    run = start(steps=LONG, name="deaf", grace_s=1.0)
    wait_for_state(run, RunState.RUNNING)
    status = stop_run(store, run.id, by="bo")
    assert status.state is RunState.STOPPED
    assert status.reason.startswith("killed by bo because it did not stop within 1 s; the last checkpoint is of step")
    assert not is_alive(job_process(run))


def test_killing_a_vae_stops_the_unet_that_waits_for_it(start, store, wait_for_state):
    vae, unet = start("all", steps=LONG, name="deaf")
    wait_for_state(vae, RunState.RUNNING)
    assert force_stop(store, vae.id, by="bo").state is RunState.STOPPED
    assert unet.status().state is RunState.STOPPED
    assert f"its VAE run {vae.id} was stopped" in unet.status().reason


def test_forcing_a_waiting_unet_to_stop_leaves_the_vae_training(start, store, wait_for, wait_for_state):
    vae, unet = start("all", steps=LONG)
    step = wait_for_state(vae, RunState.RUNNING).step
    assert force_stop(store, unet.id, by="bo").reason == "stopped by bo before it began"
    wait_for(lambda: observed_status(vae).step > step + 5)


def test_a_waiting_unet_is_no_reason_to_kill_a_vae_that_does_not_answer(start, store, wait_for_state, monkeypatch):
    monkeypatch.setattr(service, "KILL_TIMEOUT_S", 1.0)
    vae, unet = start("all", steps=LONG, name="deaf", grace_s=1.0)
    wait_for_state(vae, RunState.RUNNING)
    with pytest.raises(LabError, match=f"stop {vae.id} instead"):
        stop_run(store, unet.id, by="bo")
    assert observed_status(vae).state is RunState.RUNNING


def test_a_unet_whose_turn_it_is_can_be_killed(start, store, wait_for_state):
    vae, unet = start("all", steps=100)
    wait_for_state(unet, RunState.RUNNING)
    assert force_stop(store, unet.id, by="bo").reason.startswith("killed by bo")
    assert vae.status().state is RunState.FINISHED


def test_a_waiting_unet_can_be_stopped_alone(start, store, wait_for, wait_for_state):
    vae, unet = start("all", steps=LONG)
    step = wait_for_state(vae, RunState.RUNNING).step
    request_stop(store, unet.id, by="bo")
    assert wait_for_state(unet, RunState.STOPPED).reason == "stopped by bo before it began"
    wait_for(lambda: observed_status(vae).step > step + 5)


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("fail", RunState.FAILED, "the loss was not finite; lower the learning rate"),
        ("full", RunState.FAILED, "the disk or the quota is full; free some space and resume"),
        ("crash", RunState.FAILED, "unexpected ZeroDivisionError: a mistake in the code; the log has the details"),
    ],
)
def test_a_failure_is_one_sentence_in_the_run(start, wait_for_state, name, state, reason):
    run = start(name=name)
    assert wait_for_state(run, state).reason == reason


def test_a_crash_leaves_its_traceback_in_the_log_and_only_there(start, wait_for_state):
    run = start(name="crash")
    assert "Traceback" not in wait_for_state(run, RunState.FAILED).reason
    assert "Traceback" in run.log_path.read_text()


def test_a_failed_vae_fails_its_unet(start, wait_for_state):
    vae, unet = start("all", name="fail")
    assert wait_for_state(unet, RunState.FAILED).reason == f"its VAE run {vae.id} failed"


def test_a_stopped_vae_stops_its_unet_and_resume_does_both(start, store, engine, wait_for_state):
    vae, unet = start("all", steps=50)
    wait_for_state(vae, RunState.RUNNING)
    stop_run(store, vae.id)
    assert wait_for_state(unet, RunState.STOPPED).reason == f"its VAE run {vae.id} was stopped"
    assert [run.id for run in resume_run(store, unet.id, engine=engine)] == [vae.id, unet.id]
    wait_for_state(unet, RunState.FINISHED)
    assert vae.status().state is RunState.FINISHED
    with pytest.raises(LabError, match="nothing to resume"):
        resume_run(store, unet.id, engine=engine)


def test_two_workers_never_use_a_device_at_the_same_time(start, store, wait_for_state):
    runs = [start(steps=10) for _ in range(4)]
    assert [wait_for_state(run, RunState.FINISHED).state for run in runs] == [RunState.FINISHED] * 4
    ends = sorted(
        (float(moment), name)
        for name, moment in (line.split() for line in (store.root / "spans.txt").read_text().splitlines())
    )
    names = [name for _, name in ends]
    assert all(first == second for first, second in list(pairwise(names))[::2])


def test_a_run_waiting_for_the_device_says_so_and_can_be_stopped(start, store, wait_for, wait_for_state):
    path = device_lock_path(store.root, "cpu")
    path.parent.mkdir(parents=True)
    held = try_lock(path)
    run = start(steps=3)
    wait_for(lambda: run.status().stage == "waiting for the CPU")
    assert observed_status(run).state is RunState.QUEUED
    status = stop_run(store, run.id, by="bo")
    held.release()
    assert (status.state, status.reason) == (RunState.STOPPED, "stopped by bo before it began")


@pytest.mark.parametrize("setting", ["auto", "cuda"])
def test_of_two_gpus_each_run_sees_only_the_one_it_holds(
    store, make_settings, engine, monkeypatch, wait_for_state, setting
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    runs = [store.create("vae", make_settings(LONG, device=setting)) for _ in range(2)]
    for run in runs:
        engine.submit(JobSpec(run_ids=(run.id,)))
        wait_for_state(run, RunState.RUNNING)
    used = [run.log_path.read_text().partition("GPUs to use: ")[2].split()[0] for run in runs]
    assert used == ["4", "7"]


def test_the_worker_outlives_a_killed_parent(store, make_settings, wait_for, wait_for_state, engine):
    run = store.create("vae", make_settings(LONG))
    code = (
        "import sys, time; from pathlib import Path; from core.runs.store import RunStore\n"
        "from core.jobs.engines.local import LocalEngine; from core.jobs.engines.protocol import JobSpec\n"
        f"LocalEngine(RunStore(Path({str(store.root)!r})), command={engine.command!r})"
        f".submit(JobSpec(run_ids=({run.id!r},))); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=project_root())
    wait_for_state(run, RunState.RUNNING)
    parent.kill()
    parent.wait()
    step = run.status().step
    wait_for(lambda: observed_status(run).step > step + 5)
    assert stop_run(store, run.id).state is RunState.STOPPED


def test_a_job_whose_process_cannot_start_fails_with_a_sentence(store, make_settings, engine):
    run = store.create("vae", make_settings())
    engine.command = (str(Path("/nowhere/python")),)
    with pytest.raises(LabError, match="its process did not start"):
        engine.submit(JobSpec(run_ids=(run.id,)))
    assert run.status().state is RunState.FAILED


def test_a_worker_that_dies_at_once_is_noticed_by_who_waits(store, make_settings, engine):
    run = store.create("vae", make_settings())
    engine.command = (sys.executable, "-c", "raise SystemExit(3)")
    engine.submit(JobSpec(run_ids=(run.id,)))
    with pytest.raises(LabError, match="its process ended before it began"):
        wait_until_started([run])
    assert run.status().state is RunState.INTERRUPTED


def test_a_stop_of_a_run_that_is_not_active_is_refused(start, store, wait_for_state):
    run = start()
    wait_for_state(run, RunState.FINISHED)
    with pytest.raises(LabError, match="is not running: it is finished"):
        request_stop(store, run.id)


def test_the_lock_is_held_from_the_start_and_free_at_the_end(start, wait_for, wait_for_state):
    run = start(steps=3)
    process = job_process(run)
    wait_for_state(run, RunState.FINISHED)
    assert wait_until_dead(process, 10)
    lock = try_lock(lock_path(run))
    assert lock is not None
    lock.release()
