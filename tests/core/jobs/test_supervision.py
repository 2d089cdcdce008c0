"""Runs through the real queue, supervisor and shim, with a stand-in for the training: order, stops, deaths, repairs.

LAB_KILLS sets how often the supervisor is killed (4 times by default).
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import os
import random
import signal
import threading
import time
from collections import Counter

import pytest

from core import atomic
from core.errors import LabError, RunBusy
from core.jobs import service
from core.jobs.engines import local
from core.jobs.exit_reason import MAX_FRUITLESS
from core.jobs.queue import JobState
from core.jobs.queue_view import queue_view
from core.jobs.stop_report import stop_stages
from core.machine import attempts
from core.runs.run import RunState
from tests.core.jobs.conftest import ENDLESS, PATIENCE_S

pytestmark = pytest.mark.slow

STOPPED = (RunState.STOPPED,)


def kill(pid, number=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def started_before_this_boot(run):
    facts = json.loads((run.folder / attempts.ATTEMPT_FILE).read_text())
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, {**facts, "boot_id": "an earlier boot"})


def started_as(run):
    """What attempt.json says of the newest attempt."""
    return attempts.read_file(run.folder, attempts.ATTEMPT_FILE, attempts.current_attempt(run.folder)) or {}


def overlaps(box):
    """Pairs of runs that were on the same GPU at the same time."""
    spans = []
    ends = {mark["run"]: mark["at"] for mark in box.marks("end")}
    for mark in box.marks("start"):
        spans.append((mark["gpus"], mark["at"], ends[mark["run"]], mark["run"]))
    spans.sort()
    return [(a, b) for a, b in itertools.pairwise(spans) if a[0] == b[0] and b[1] < a[2]]


class TestOrder:
    def test_ten_runs_on_two_gpus_keep_order_and_priority_and_never_overlap(self, box, recorded_gpus):
        full = {"memory_used": 140_600_000_000}
        recorded_gpus(gpu0=full, gpu1=full)
        runs = [box.create(steps=4, device="auto") for _ in range(10)]
        for run in runs:
            box.submit(run, request={"priority": 5 if run in runs[7:9] else 0})
        recorded_gpus()
        box.wait_until_judged(*runs)
        assert {run.status().state for run in runs} == {RunState.FINISHED}
        assert overlaps(box) == []
        assert {mark["gpus"] for mark in box.marks("start")} == {"GPU-00000000-aaaa", "GPU-10000000-aaaa"}
        by_start = sorted(runs, key=lambda run: box.queue.job(run.id).started_at)
        assert by_start == [*runs[7:9], *runs[:7], runs[9]]
        assert Counter(mark["run"] for mark in box.marks("start")) == Counter(run.id for run in runs)

    def test_a_gpu_that_somebody_fills_is_left_alone_until_it_is_free(self, box, recorded_gpus):
        recorded_gpus(1, gpu0={"memory_used": 40_600_000_000, "processes": [{"pid": 1, "memory": 40_000_000_000}]})
        run = box.create(steps=2, device="auto")
        box.submit(run)
        box.wait(lambda: "GPU 0 is used by root" in box.queue.job(run.id).waits_for)
        assert "40.0 GB" in queue_view(box.store)[0].waits_for
        recorded_gpus(1)
        box.wait_until_judged(run)
        assert run.status().state is RunState.FINISHED

    def test_a_run_for_the_cpu_does_not_wait_for_those_that_want_a_gpu(self, box, recorded_gpus):
        recorded_gpus(1, gpu0={"memory_used": 40_600_000_000})
        waits, passes = box.create(steps=2, device="auto"), box.create(steps=2, device="cpu")
        box.submit(waits, passes)
        box.wait_until_judged(passes)
        assert box.queue.job(waits.id).state is JobState.QUEUED

    def test_a_unet_waits_for_its_vae_and_then_trains(self, box):
        vae = box.create(steps=10)
        unet = box.create("unet", parents=(vae.id,), steps=3)
        box.submit(vae, unet)
        box.wait(lambda: box.queue.job(unet.id).waits_for == f"its VAE run {vae.id}")
        box.wait_until_judged(vae, unet)
        assert unet.status().state is RunState.FINISHED

    @pytest.mark.parametrize(("die", "state", "words"), [("raise", "failed", "failed"), ("", "stopped", "was stopped")])
    def test_a_unet_ends_with_the_reason_when_its_vae_does_not_finish(self, box, monkeypatch, die, state, words):
        monkeypatch.setenv("STANDIN_DIE", die)
        vae = box.create(steps=ENDLESS)
        unet = box.create("unet", parents=(vae.id,), steps=3)
        box.submit(vae, unet)
        if not die:
            box.wait_for_step(vae, 3)
            service.stop_run(box.store, vae.id, by="ana", engine=box.engine)
        box.wait_until_judged(vae, unet)
        assert unet.status().state == state
        assert unet.status().reason == f"its VAE run {vae.id} {words}"
        assert [mark["run"] for mark in box.marks("start")] == [vae.id]


class TestStops:
    def stop_and_check(self, box, run):
        status = service.stop_run(box.store, run.id, by="ben", engine=box.engine)
        assert status.state is RunState.STOPPED
        assert box.pids(run) == []
        assert box.queue.leases() == {}
        return status

    def test_a_stop_saves_and_each_stage_is_told_when_it_was_seen(self, box):
        run = box.create(steps=ENDLESS)
        box.submit(run)
        box.wait_for_step(run, 3)
        status = self.stop_and_check(box, run)
        step = status.step
        assert status.reason == f"stopped by ben at step {step:,}; the last checkpoint is of step {step:,}"
        box.wait(lambda: all(stage.done for stage in stop_stages(run)))
        assert [stage.words for stage in stop_stages(run)] == [
            "asked to stop by ben",
            f"checkpoint of step {step:,} saved",
            "process gone",
        ]

    @pytest.mark.parametrize("workers", [0, 3])
    def test_what_ignores_the_request_is_killed_after_the_grace_with_all_it_started(self, box, monkeypatch, workers):
        monkeypatch.setenv("STANDIN_IGNORE_TERM", "1")
        monkeypatch.setenv("STANDIN_CHILDREN", str(workers))
        run = box.create(steps=ENDLESS, stop_grace_s=2)
        box.submit(run)
        box.wait_for_step(run, 6)
        box.wait(lambda: len(box.pids(run)) == 1 + workers)
        status = self.stop_and_check(box, run)
        assert status.reason.startswith(
            "killed because it did not stop within 2 s of the request by ben; the last checkpoint"
        )

    def test_data_workers_that_outlive_a_finished_training_are_ended(self, box, monkeypatch):
        monkeypatch.setenv("STANDIN_CHILDREN", "2")
        run = box.create(steps=3, stop_grace_s=2)
        box.submit(run)
        box.wait_until_judged(run)
        assert run.status().state is RunState.FINISHED
        assert box.pids(run) == []

    def test_a_second_request_kills_at_once(self, box, monkeypatch):
        monkeypatch.setenv("STANDIN_IGNORE_TERM", "1")
        run = box.create(steps=ENDLESS, stop_grace_s=600)
        box.submit(run)
        box.wait_for_step(run, 2)
        service.request_stop(box.store, run.id, by="ben", engine=box.engine)
        service.request_stop(box.store, run.id, by="ben", engine=box.engine)
        status = service.force_stop(box.store, run.id, by="eva", engine=box.engine)
        assert status.reason.startswith("killed by eva; ")
        assert box.pids(run) == []

    @pytest.mark.parametrize("moment", ["queued", "claimed", "spawned", "started", "running"])
    def test_a_stop_while_it_starts_ends_in_one_state(self, box, moment):
        run = box.create(steps=ENDLESS)
        box.submit(run)
        has_come = {
            "queued": lambda: True,
            "claimed": lambda: box.queue.job(run.id).attempt > 0,
            "spawned": lambda: "worker_pid" in started_as(run),
            "started": lambda: run.status().process is not None,
            "running": lambda: run.status().state is RunState.RUNNING,
        }
        box.wait(has_come[moment])
        status = self.stop_and_check(box, run)
        assert status.reason
        box.wait_until_judged(run)
        assert run.status() == status

    def test_a_stop_reaches_a_run_while_no_supervisor_lives(self, real_box):
        run = real_box.create(steps=ENDLESS)
        real_box.submit(run)
        real_box.wait_for_step(run, 2)
        real_box.kill_supervisor()
        service.request_stop(real_box.store, run.id, by="ben", engine=real_box.engine)
        real_box.wait(lambda: real_box.pids(run) == [])
        assert run.status().state is RunState.STOPPED
        real_box.wait_until_judged(run)

    def test_a_run_that_waits_is_stopped_without_ever_starting(self, box):
        first, second = box.create(steps=ENDLESS), box.create(steps=5)
        box.submit(first, second)
        box.wait_for_step(first, 1)
        service.request_stop(box.store, second.id, by="ben", engine=box.engine)
        assert second.status().reason == "stopped by ben before it began"
        box.hurry()
        box.wait_until_judged(first, second)
        assert [mark["run"] for mark in box.marks("start")] == [first.id]
        with pytest.raises(LabError, match="is not running"):
            service.request_stop(box.store, second.id, engine=box.engine)

    def test_a_signal_from_outside_is_no_request_and_is_not_undone(self, box):
        run = box.create(steps=ENDLESS)
        box.submit(run)
        box.wait_for_step(run, 3)
        kill(run.status().process.pid, signal.SIGTERM)
        (status,) = box.wait_until_judged(run)
        assert status.state is RunState.INTERRUPTED
        assert status.reason.startswith("ended by a signal (SIGTERM) from outside the lab at step")


class TestPause:
    def test_a_paused_run_frees_its_place_and_goes_on_where_it_was(self, box):
        first, second = box.create(steps=ENDLESS), box.create(steps=3)
        box.submit(first, second)
        box.wait_for_step(first, 4)
        status = service.pause_run(box.store, first.id, by="ana", wait=True, engine=box.engine)
        assert status.reason.startswith("paused by ana at step")
        box.wait_until_judged(second)
        assert box.queue.job(first.id).state is JobState.PAUSED
        box.hurry()
        service.resume_run(box.store, first.id, by="ana", engine=box.engine)
        box.wait_until_judged(first)
        assert first.status().state is RunState.FINISHED
        events = [event["event"] for event in first.events()]
        assert events.count("resumed") == 1

    def test_a_paused_run_keeps_its_place_before_later_ones(self, box):
        first, second, third = (box.create(steps=ENDLESS) for _ in range(3))
        box.submit(first, second, third)
        box.wait_for_step(first, 1)
        service.pause_run(box.store, second.id, engine=box.engine)
        assert [job.run_id for job in box.queue.jobs()][1:] == [second.id, third.id]
        service.resume_run(box.store, second.id, engine=box.engine)
        assert [job.run_id for job in box.queue.jobs(JobState.QUEUED)] == [second.id, third.id]

    def test_a_run_that_is_active_cannot_be_resumed(self, box):
        run = box.create(steps=ENDLESS)
        box.submit(run)
        box.wait_for_step(run, 1)
        with pytest.raises(RunBusy):
            service.resume_run(box.store, run.id, engine=box.engine)


class TestDeaths:
    @pytest.mark.parametrize(
        ("die", "state", "words"),
        [
            (
                "exit3",
                "failed",
                "its process ended at step 1 (exit code 3) without saying why; the log has the details",
            ),
            ("silent", "failed", "its process ended at step 1 (exit code 0) without saying why"),
            ("segv", "failed", "its process crashed (SIGSEGV) at step 1; the log has the details"),
            ("raise", "failed", "unexpected RuntimeError: something unexpected; the log has the details"),
        ],
    )
    def test_the_cause_of_death_is_told_in_words(self, box, monkeypatch, die, state, words):
        monkeypatch.setenv("STANDIN_DIE", die)
        run = box.create(steps=10)
        box.submit(run)
        (status,) = box.wait_until_judged(run)
        assert status.state == state
        assert status.reason.startswith(words)

    def test_a_killed_training_goes_on_by_itself_from_its_checkpoint(self, box):
        run = box.create(steps=ENDLESS)
        box.submit(run)
        box.wait_for_step(run, 12)
        kill(run.status().process.pid)
        box.wait(lambda: len(box.marks("start")) == 2)
        box.hurry()
        (status,) = box.wait_until_judged(run)
        assert status.state is RunState.FINISHED
        resumed = [event for event in run.events() if event["event"] == "resumed"]
        assert resumed[0]["from_step"] >= 10
        told = [event["reason"] for event in run.events() if event["event"] == "queued"]
        assert told[0].startswith("its process was killed from outside the lab (SIGKILL) at step")
        assert told[0].endswith("queued again")

    def test_it_does_not_when_the_run_was_told_not_to(self, box):
        run = box.create(steps=ENDLESS, auto_resume=False)
        box.submit(run)
        box.wait_for_step(run, 7)
        kill(run.status().process.pid)
        (status,) = box.wait_until_judged(run)
        assert status.state is RunState.INTERRUPTED
        assert "SIGKILL" in status.reason
        assert len(box.marks("start")) == 1

    def test_a_run_that_always_dies_at_the_same_place_is_given_up(self, box, monkeypatch):
        monkeypatch.setenv("STANDIN_SAVE_EVERY", "1000")
        run = box.create(steps=ENDLESS)
        box.submit(run)
        for number in range(1, 10):
            box.wait(
                lambda number=number: len(box.marks("start")) >= number or box.queue.job(run.id).state is JobState.ENDED
            )
            if box.queue.job(run.id).state is JobState.ENDED:
                break
            box.wait(lambda: run.status().process is not None and run.status().step > 0)
            kill(run.status().process.pid)
        (status,) = box.wait_until_judged(run)
        assert status.state is RunState.INTERRUPTED
        assert f"it died {MAX_FRUITLESS} times at the same checkpoint" in status.reason
        assert len(box.marks("start")) == MAX_FRUITLESS + 1

    def test_a_run_that_died_with_its_supervisor_is_taken_up_by_whoever_resumes_it(self, real_box, monkeypatch):
        """It was refused as worked on, for as long as nobody started a supervisor."""
        monkeypatch.setattr(local, "RELEASE_PATIENCE_S", PATIENCE_S)
        run = real_box.create(steps=ENDLESS, auto_resume=False)
        real_box.submit(run)
        real_box.wait_for_step(run, 6)
        real_box.kill_supervisor()
        for pid in [*real_box.shim_pids(run), *real_box.pids(run)]:
            kill(pid)
        real_box.hurry()
        real_box.wait(lambda: not real_box.engine.observe(run).status.state.is_active)
        assert service.resume_run(real_box.store, run.id, engine=real_box.engine) == [run]
        real_box.wait_until_judged(run)
        assert run.status().state is RunState.FINISHED

    def test_after_a_restart_of_the_machine_runs_come_back_as_asked(self, real_box):
        comes_back, stays = (real_box.create(steps=ENDLESS, auto_resume=returns) for returns in (True, False))
        real_box.submit(comes_back)
        real_box.wait_for_step(comes_back, 6)
        real_box.kill_supervisor()
        for pid in [*real_box.shim_pids(comes_back), *real_box.pids(comes_back)]:
            kill(pid)
        started_before_this_boot(comes_back)
        real_box.hurry()
        real_box.supervise()
        real_box.wait_until_judged(comes_back)
        assert comes_back.status().state is RunState.FINISHED
        real_box.hurried.unlink()
        real_box.submit(stays)
        real_box.wait_for_step(stays, 1)
        words = [event["reason"] for event in comes_back.events() if event["event"] == "queued"]
        assert words[0].startswith("the machine was restarted at step")
        real_box.kill_supervisor()
        for pid in [*real_box.shim_pids(stays), *real_box.pids(stays)]:
            kill(pid)
        started_before_this_boot(stays)
        real_box.supervise()
        (status,) = real_box.wait_until_judged(stays)
        assert status.state is RunState.INTERRUPTED
        assert "the machine was restarted" in status.reason

    def test_a_training_whose_shim_is_killed_is_adopted_and_runs_once(self, box):
        run = box.create(steps=ENDLESS)
        box.submit(run)
        box.wait_for_step(run, 3)
        (shim,) = box.shim_pids(run)
        trainer = run.status().process.pid
        kill(shim)
        box.wait(lambda: (box.shim_pids(run) or [shim]) != [shim])
        assert run.status().process.pid == trainer
        box.hurry()
        box.wait_until_judged(run)
        assert run.status().state is RunState.FINISHED
        assert len(box.marks("start")) == 1

    def test_an_adopted_training_can_be_stopped(self, box):
        run = box.create(steps=ENDLESS)
        box.submit(run)
        box.wait_for_step(run, 3)
        kill(box.shim_pids(run)[0])
        status = service.stop_run(box.store, run.id, by="ben", engine=box.engine)
        assert status.state is RunState.STOPPED
        assert box.pids(run) == []

    @pytest.mark.parametrize(
        "victims", ["shim trainer", "supervisor shim", "supervisor trainer", "supervisor shim trainer"]
    )
    def test_any_pair_may_be_killed_and_the_run_still_finishes(self, real_box, victims):
        run = real_box.create(steps=ENDLESS)
        real_box.submit(run)
        real_box.wait_for_step(run, 8)
        trainer = run.status().process.pid
        if "supervisor" in victims:
            real_box.kill_supervisor()
        if "shim" in victims:
            kill(real_box.shim_pids(run)[0])
        if "trainer" in victims:
            os.killpg(trainer, signal.SIGKILL)
        real_box.supervise()
        starts = 2 if "trainer" in victims else 1
        real_box.wait(lambda: len(real_box.marks("start")) == starts and real_box.shim_pids(run))
        real_box.hurry()
        real_box.wait_until_judged(run)
        assert run.status().state is RunState.FINISHED
        assert len(real_box.marks("start")) == starts
        assert len(real_box.marks("end")) == 1
        assert real_box.pids(run) == real_box.shim_pids(run) == []

    def test_a_supervisor_killed_again_and_again_runs_each_run_once(self, real_box, recorded_gpus):
        runs = [real_box.create(steps=25, device="auto") for _ in range(4)]
        real_box.submit(*runs)
        chance = random.Random(0)
        for _ in range(int(os.environ.get("LAB_KILLS", "4"))):
            real_box.supervise()
            time.sleep(chance.uniform(0.05, 1.2))
            real_box.kill_supervisor()
        real_box.supervise()
        real_box.wait_until_judged(*runs)
        assert {run.status().state for run in runs} == {RunState.FINISHED}
        assert Counter(mark["run"] for mark in real_box.marks("start")) == Counter(run.id for run in runs)
        assert overlaps(real_box) == []
        assert [pid for run in runs for pid in [*real_box.pids(run), *real_box.shim_pids(run)]] == []

    def test_a_supervisor_that_dies_between_claim_and_start_loses_nothing(self, real_box):
        run = real_box.create(steps=3)
        real_box.supervise()
        real_box.wait(lambda: real_box.supervisor_pid() is not None)
        real_box.kill_supervisor()
        from core.jobs.job_row import job_for

        assert real_box.queue.put(job_for(run))
        first = real_box.queue.claim(run.id, ["cpu/0"])
        real_box.supervise()
        real_box.wait_until_judged(run)
        assert run.status().state is RunState.FINISHED
        assert real_box.queue.job(run.id).attempt > first

    def test_a_run_deleted_by_hand_while_it_waits_leaves_the_queue(self, box):
        first, second = box.create(steps=ENDLESS), box.create(steps=5)
        box.submit(first, second)
        box.wait_for_step(first, 1)
        import shutil

        shutil.rmtree(second.folder)
        box.hurry()
        box.wait_until_judged(first)
        box.wait(lambda: box.queue.job(second.id).state is JobState.ENDED)

    def test_a_run_that_just_failed_is_resumed_while_its_children_still_end(self, box, monkeypatch):
        """Its data worker ignores SIGTERM, so the attempt ends when it is killed."""
        monkeypatch.setenv("STANDIN_DIE", "raise")
        monkeypatch.setenv("STANDIN_CHILDREN", "1")
        monkeypatch.setattr(local, "RELEASE_PATIENCE_S", PATIENCE_S)
        run = box.create(steps=4, stop_grace_s=600)
        box.submit(run)
        box.wait_for(run, RunState.FAILED)
        assert box.queue.job(run.id).state is JobState.LIVE
        monkeypatch.delenv("STANDIN_DIE")
        monkeypatch.delenv("STANDIN_CHILDREN")
        resumes = threading.Thread(target=service.resume_run, args=(box.store, run.id))
        resumes.start()
        for pid in box.pids(run):
            kill(pid)
        resumes.join()
        box.wait_until_judged(run)
        assert run.status().state is RunState.FINISHED


class TestProcesses:
    def test_each_run_has_its_own_log(self, box):
        runs = [box.create(steps=2) for _ in range(2)]
        box.submit(*runs)
        box.wait_until_judged(*runs)
        for run, other in (runs, runs[::-1]):
            assert run.id in run.log_path.read_text()
            assert other.id not in run.log_path.read_text()

    def test_a_closed_terminal_does_not_stop_a_training(self, box):
        run = box.create(steps=ENDLESS)
        box.submit(run)
        box.wait_for_step(run, 2)
        kill(run.status().process.pid, signal.SIGHUP)
        kill(box.shim_pids(run)[0], signal.SIGHUP)
        box.wait_for_step(run, run.status().step + 2)
        box.hurry()
        box.wait_until_judged(run)
        assert run.status().state is RunState.FINISHED

    def test_a_request_is_found_in_its_file_alone(self, box):
        run = box.create(steps=ENDLESS)
        box.submit(run)
        box.wait_for_step(run, 2)
        attempts.ask_to_stop(run.folder, attempts.current_attempt(run.folder), level=1, by="another machine")
        (status,) = box.wait_until_judged(run)
        assert status.reason.startswith("stopped by another machine at step")

    def test_a_worker_that_cannot_be_started_is_told_in_a_sentence(self, box):
        box.engine.worker = ["/nowhere/python"]
        run = box.create(steps=2)
        box.submit(run)
        (status,) = box.wait_until_judged(run)
        assert status.state is RunState.FAILED
        assert status.reason == "its process did not start: No such file or directory"

    def test_a_traceback_is_in_the_log_and_not_in_the_reason(self, box, monkeypatch):
        monkeypatch.setenv("STANDIN_DIE", "raise")
        run = box.create(steps=9)
        box.submit(run)
        (status,) = box.wait_until_judged(run)
        assert "Traceback" not in status.reason
        assert "Traceback" in run.log_path.read_text()

    def test_resuming_a_unet_whose_vae_was_stopped_takes_the_vae_along(self, box):
        vae = box.create(steps=ENDLESS)
        unet = box.create("unet", parents=(vae.id,), steps=3)
        box.submit(vae, unet)
        box.wait_for_step(vae, 2)
        service.stop_run(box.store, vae.id, engine=box.engine)
        box.wait_until_judged(unet)
        box.hurry()
        assert [run.id for run in service.resume_run(box.store, unet.id, engine=box.engine)] == [vae.id, unet.id]
        box.wait_until_judged(vae, unet)
        assert unet.status().state is RunState.FINISHED
        with pytest.raises(LabError, match="nothing to resume"):
            service.resume_run(box.store, unet.id, engine=box.engine)

    def test_a_unet_stopped_alone_can_wait_again_while_its_vae_trains(self, box):
        vae = box.create(steps=ENDLESS)
        unet = box.create("unet", parents=(vae.id,), steps=3)
        box.submit(vae, unet)
        box.wait_for_step(vae, 2)
        service.request_stop(box.store, unet.id, engine=box.engine)
        assert [run.id for run in service.resume_run(box.store, unet.id, engine=box.engine)] == [unet.id]
        box.hurry()
        box.wait_until_judged(vae, unet)
        assert unet.status().state is RunState.FINISHED


class TestAround:
    def test_a_training_runs_the_code_it_was_queued_with(self, box, monkeypatch):
        from core.jobs import frozen_code

        first = frozen_code.freeze(box.queue.folder)
        assert frozen_code.freeze(box.queue.folder) == first
        kept = frozen_code.frozen_root(box.queue.folder, first)
        assert (kept / "core" / "jobs" / "worker.py").is_file()
        assert (kept / "core" / "config" / "presets" / "quick.yaml").is_file()
        run = box.create(steps=2)
        box.submit(run)
        box.wait_until_judged(run)
        assert box.queue.job(run.id).code == first
        frozen_code.sweep(box.queue.folder, {first}, older_than=time.time() + 10)
        assert kept.is_dir()
        frozen_code.sweep(box.queue.folder, set(), older_than=time.time() + 10)
        assert not kept.is_dir()

    def test_the_webhook_hears_how_a_run_ended(self, box, monkeypatch):
        heard = []

        class Receiver(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                heard.append(body)
                self.send_response(500 if len(heard) == 1 else 204)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        from core.jobs import webhook
        from core.jobs.housekeeping import message

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            run = box.create(steps=2)
            url = f"http://127.0.0.1:{server.server_port}/hook"
            assert webhook.post(url, message(run, "failed", "disk full")) == "the receiver answered 500"
            box.queue.add_notice(message(run, "failed", "disk full at step 2"))
            sender = webhook.WebhookSender(box.queue)
            sender.deliver_due(url)
            sender.thread.join()
            assert heard[-1]["text"] == f"{run.id}: failed (disk full at step 2)"
            assert heard[-1]["owner"] == "ana"
            assert box.queue.due_notices(time.time() + 1e9) == []
        finally:
            server.shutdown()

    def test_a_message_that_cannot_be_delivered_is_kept_and_tried_again(self, box):
        from core.jobs import webhook

        box.queue.add_notice({"text": "x"})
        sender = webhook.WebhookSender(box.queue)
        sender.deliver_due("http://127.0.0.1:9/nobody")
        sender.thread.join()
        assert box.queue.due_notices(time.time()) == []
        ((_, body, tries),) = box.queue.due_notices(time.time() + 3600)
        assert (body, tries) == ({"text": "x"}, 1)

    def test_the_supervisor_does_not_load_pytorch(self, real_box):
        run = real_box.create(steps=2)
        real_box.submit(run)
        real_box.wait_until_judged(run)
        from pathlib import Path

        maps = Path(f"/proc/{real_box.supervisor_pid()}/maps").read_text()
        assert "libtorch" not in maps

    def test_the_supervisor_leaves_with_its_folder(self, real_box):
        import shutil

        real_box.supervise()
        real_box.wait(lambda: real_box.supervisor_pid() is not None)
        pid = real_box.supervisor_pid()
        real_box.queue.close()
        away = real_box.root / "away"
        real_box.store.root.rename(away)  # at once: a supervisor that still writes would fill what is being removed
        shutil.rmtree(away, ignore_errors=True)
        from core.machine.processes import identity_of

        real_box.wait(lambda: identity_of(pid) is None)

    def test_expected_starts_follow_from_runs_of_the_same_kind(self, box, monkeypatch):
        done = box.create(steps=20)
        box.submit(done)
        box.wait_until_judged(done)
        monkeypatch.setenv("STANDIN_STEP_S", "0.2")
        live, waits, waits_too = (box.create(steps=ENDLESS) for _ in range(3))
        box.submit(live, waits, waits_too)
        box.wait_for_step(live, 2)
        entries = queue_view(box.store)
        assert [entry.place for entry in entries] == [0, 1, 2]
        assert entries[0].expected_start_s == 0
        if entries[1].expected_start_s is not None:
            assert entries[2].expected_start_s >= entries[1].expected_start_s

    def test_tokens_of_other_attempts_are_not_confused(self):
        assert attempts.token_of("20260101-000000-vae-abcd", 1) != attempts.token_of("20260101-000000-vae-abcd", 11)
