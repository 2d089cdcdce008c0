"""The engine of a cluster against commands of Slurm that the test writes: what is asked, what each answer becomes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.config.load import read_site
from core.errors import LabError, RunBusy, UsageError
from core.jobs import service
from core.jobs.engines import slurm, slurm_commands
from core.jobs.engines.choose import engine_for, observed_status
from core.jobs.engines.slurm import read_spec
from core.jobs.engines.slurm_commands import Looks, SlurmAway, SlurmRefused, call, read_jobs, read_nodes
from core.jobs.queue_order import move_run
from core.jobs.queue_view import nodes, queue_view, supervisor_state
from core.jobs.request import moment_in, read_request
from core.machine import attempts
from core.runs.lock import lock_in_run
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.models import tiny_settings

SITE = """site:
  engine: slurm
  slurm: {partition: gpu, gpus: 2, time_limit: "1:00:00", directives: [--mem=3G]}
"""


class Cluster:
    """Commands on PATH: each appends what it was asked to a file and answers what the test put down for it."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root, root / "bin"
        self.bin.mkdir()
        for name in ("sbatch", "squeue", "scontrol", "scancel", "sinfo"):
            self.answer(name, "")
        self.jobs([])
        self.answer("sbatch", "7")

    def answer(self, name: str, text: str, *, code: int = 0, error: str = "", sleeps: str = "") -> None:
        (self.root / f"{name}.out").write_text(text)
        script = [
            "#!/bin/sh",
            f'echo "{name} $*" >> {self.root}/asked',
            f"[ {name} = sbatch ] && cat > {self.root}/script",
            f"cat {self.root}/{name}.out",
            f"echo '{error}' >&2" if error else "",
            f"exec sleep {sleeps}" if sleeps else "",
            f"exit {code}",
        ]
        (self.bin / name).write_text("\n".join(script) + "\n")
        (self.bin / name).chmod(0o755)

    def jobs(self, jobs: list[dict[str, object]]) -> None:
        self.answer("squeue", json.dumps({"jobs": jobs}))

    @property
    def asked(self) -> list[str]:
        return (self.root / "asked").read_text().splitlines()


def job(run: Run, state: object, **more: object) -> dict[str, object]:
    facts = {"job_id": 7, "job_state": state, "comment": run.id, "user_name": "root", "nodes": "", "start_time": 0}
    return {**facts, "state_reason": "None", "priority": 5, **more}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    found = Cluster(tmp_path)
    (tmp_path / "config.yaml").write_text(SITE)
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PATH", f"{found.bin}{os.pathsep}{os.environ['PATH']}")
    looks = Looks()
    monkeypatch.setattr(slurm_commands, "FRESH_S", 0.0)
    monkeypatch.setattr(slurm_commands, "AGAIN_S", 0.0)
    monkeypatch.setattr(slurm, "LOOKS", looks)
    return found


@pytest.fixture
def store(cluster: Cluster) -> RunStore:
    return RunStore(cluster.root / "runs")


@pytest.fixture
def begin(store: RunStore) -> Callable[..., list[Run]]:
    def begin(kind: str, **more: Any) -> list[Run]:
        checks: dict[str, Any] = {"owner": "ana", "check": lambda *a, **b: None}
        return service.start_training(kind, tiny_settings(), store=store, **checks, **more)

    return begin


def old(run: Run) -> None:
    """As it was a minute ago, when Slurm must have heard of it."""
    values = json.loads(run.status_path.read_text())
    run.status_path.write_text(json.dumps({**values, "heartbeat_at": "2026-01-01T00:00:00+00:00"}))


def live(run: Run, cluster: Cluster, **more: object) -> int:
    """Its job works on it, on node n1."""
    number = attempts.number_after(0)
    (run.folder / attempts.ATTEMPT_FILE).write_text(json.dumps({"attempt": number, "job_id": 7}))
    run.write_status(replace(run.status(), state=RunState.RUNNING, step=3))
    cluster.jobs([job(run, "RUNNING", nodes="n1", **more)])
    return number


def test_the_site_chooses_the_engine_and_its_options(begin: Callable[[str], list[Run]], cluster: Cluster) -> None:
    (run,) = begin("vae")
    asked = next(line for line in cluster.asked if line.startswith("sbatch"))
    for option in ("--parsable", "--requeue", "--partition=gpu", "--time=1:00:00", "--mem=3G", f"--comment={run.id}"):
        assert option in asked.split()
    assert "--signal=B:USR1@120" in asked
    assert "core.jobs.engines.slurm_job" in (cluster.root / "script").read_text()
    assert json.loads((run.folder / "slurm.json").read_text())["job_id"] == 7
    assert "slurm" not in run.config_path.read_text()  # the site's, and never the experiment's


def test_a_request_stands_in_the_place_of_the_sites_options(begin: Callable[..., list[Run]], cluster: Cluster) -> None:
    asked = {"partition": "long", "time_limit_s": 7200.0, "directives": ("--mem=9G",), "priority": -2}
    (run,) = begin("vae", request={**asked, "start_at": moment_in("+2h")})
    words = next(line for line in cluster.asked if line.startswith("sbatch")).split()
    assert "--partition=long" in words and "--time=123" in words and words.index("--mem=9G") > words.index("--mem=3G")
    assert "--nice=200" in words
    (begins,) = (word for word in words if word.startswith("--begin=now+"))
    assert 7000 < int(begins.removeprefix("--begin=now+")) <= 7200
    (spec,) = cluster.root.glob(f"runs/.queue/**/slurm/{run.id}.json")
    known = read_spec(spec)
    assert known is not None and known.request == read_request(run)
    with pytest.raises(UsageError, match="partition and QOS"):
        begin("vae", request={"preemptible": True})


def test_a_unet_depends_on_the_job_of_its_vae(begin: Callable[[str], list[Run]], cluster: Cluster) -> None:
    begin("all")
    first, second = (line for line in cluster.asked if line.startswith("sbatch"))
    assert "--dependency" not in first
    assert "--dependency=afterok:7" in second and "--kill-on-invalid-dep=yes" in second


def test_what_slurm_refuses_creates_nothing(
    begin: Callable[[str], list[Run]], cluster: Cluster, store: RunStore
) -> None:
    cluster.answer("sbatch", "", code=1, error="sbatch: error: invalid partition specified: gpu")
    with pytest.raises(SlurmRefused, match="invalid partition specified: gpu"):
        begin("all")
    assert store.list() == []


def test_a_run_is_taken_in_once(begin: Callable[[str], list[Run]], cluster: Cluster, store: RunStore) -> None:
    (run,) = begin("vae")
    cluster.jobs([job(run, "PENDING")])
    with pytest.raises(RunBusy, match="waits in the queue already, as job 7"):
        engine_for(store).submit([run])
    assert sum(line.startswith("sbatch") for line in cluster.asked) == 1


@pytest.mark.parametrize(
    ("state", "state_found", "words"),
    [
        ("CANCELLED", RunState.INTERRUPTED, "its job was cancelled in Slurm"),
        (["TIMEOUT"], RunState.INTERRUPTED, "before it had saved"),
        ("NODE_FAIL", RunState.INTERRUPTED, "its node failed"),
        (["PENDING"], RunState.QUEUED, "queued again by Slurm"),
        ("RUNNING", RunState.RUNNING, ""),
    ],
)
def test_a_status_is_checked_against_slurm(
    begin: Callable[[str], list[Run]], cluster: Cluster, state: object, state_found: RunState, words: str
) -> None:
    (run,) = begin("vae")
    live(run, cluster)
    old(run)
    cluster.jobs([job(run, state)])
    found = observed_status(run)
    assert found.state is state_found and words in found.reason


def test_a_run_that_slurm_knows_no_more_is_written_down(
    begin: Callable[[str], list[Run]], cluster: Cluster, store: RunStore
) -> None:
    (run,) = begin("vae")
    live(run, cluster)
    old(run)
    cluster.jobs([])
    engine = engine_for(store)
    assert isinstance(engine, slurm.SlurmEngine)
    engine.tend()
    assert run.status().state is RunState.INTERRUPTED and "Slurm knows its job no more" in run.status().reason


def test_while_the_controller_is_away_nothing_is_lost_and_screens_say_so(
    begin: Callable[[str], list[Run]], cluster: Cluster, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = begin("vae")
    number = live(run, cluster)
    monkeypatch.setattr(slurm_commands, "TIMEOUT_S", 0.5)
    for name in ("sbatch", "squeue", "scontrol", "scancel", "sinfo"):
        cluster.answer(name, "", sleeps="600")
    assert observed_status(run).state is RunState.RUNNING
    assert "does not answer" in supervisor_state(store).problem and nodes(store) == []
    before = store.list()
    with pytest.raises(SlurmAway, match="does not answer"):
        begin("vae")
    assert store.list() == before
    service.request_stop(store, run.id, by="ana")  # the run folder reaches what trains
    request = attempts.stop_of(run.folder, number)
    assert request is not None and request.by == "ana"


def test_another_accounts_job_is_left_alone_and_the_refusal_says_whose_it_is(
    begin: Callable[[str], list[Run]], cluster: Cluster, store: RunStore
) -> None:
    (run,) = begin("vae")
    number = live(run, cluster, user_name="ben")
    cluster.answer("scancel", "", code=1, error="scancel: error: Kill job error on job id 7: Access/permission denied")
    with pytest.raises(LabError, match=r"belongs to the account ben.*Access/permission denied"):
        service.request_stop(store, run.id, by="ana")
    assert attempts.stop_of(run.folder, number) is None and run.status().state is RunState.RUNNING
    assert queue_view(store)[0].device == "n1, as the account ben"


def test_a_waiting_run_is_held_released_and_taken_out(
    begin: Callable[[str], list[Run]], cluster: Cluster, store: RunStore
) -> None:
    (run,) = begin("vae")
    cluster.jobs([job(run, "PENDING", state_reason="Resources")])
    assert queue_view(store)[0].waits_for == "free GPUs or nodes"
    service.pause_run(store, run.id, by="ana")
    assert cluster.asked[-2].startswith("scontrol hold 7") or "scontrol hold 7" in cluster.asked
    cluster.jobs([job(run, "PENDING", state_reason="JobHeldUser")])
    assert queue_view(store)[0].state == "paused"
    service.resume_run(store, run.id, by="ana")
    assert "scontrol release 7" in cluster.asked and run.status().state is RunState.QUEUED
    cluster.jobs([job(run, "PENDING")])
    service.request_stop(store, run.id, by="ana")
    assert "scancel 7" in cluster.asked and run.status().state is RunState.STOPPED


def test_slurm_has_no_places_but_the_first(
    begin: Callable[[str], list[Run]], cluster: Cluster, store: RunStore
) -> None:
    (run,) = begin("vae")
    cluster.jobs([job(run, "PENDING")])
    with pytest.raises(LabError, match="Slurm orders its queue by priority"):
        move_run(store, run.id, to="down")
    move_run(store, run.id, to="first")
    assert "scontrol top 7" in cluster.asked


def test_jobs_are_read_without_json_too_and_in_the_shape_of_newer_versions(cluster: Cluster) -> None:
    newer = {"job_id": 9, "job_state": ["CANCELLED", "COMPLETING"], "comment": "a", "state_reason": "None"}
    number = {"set": True, "infinite": False, "number": 12}
    cluster.jobs([{**newer, "start_time": number, "priority": number}])
    (found,) = read_jobs()
    assert (found.job_id, found.is_live, found.start_at, found.priority) == (9, True, 12.0, 12)
    cluster.answer("squeue", "9|PENDING|JobHeldUser|ana||N/A|0.5|a\n")
    (found,) = read_jobs()
    assert (found.job_id, found.run_id, found.is_held, found.user) == (9, "a", True, "ana")


def test_nodes_say_how_many_gpus_are_free(cluster: Cluster) -> None:
    rows = [("n1", "mixed", "gpu:a100:4(S:0-1)", "gpu:a100:1(IDX:0)"), ("n2", "down*", "gpu:4", "gpu:0")]
    cluster.answer("sinfo", "".join(f"{a:<120}{b:<60}{c:<120}{d:<120}\n" for a, b, c, d in rows))
    first, second = read_nodes("gpu")
    assert (first.name, first.gpus, first.used_gpus, first.takes_runs) == ("node n1", 4, 1, True)
    assert (second.state, second.takes_runs) == ("down, not responding", False)
    assert "--partition=gpu" in cluster.asked[-1]


def test_a_command_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmAway, match="squeue cannot be run here"):
        call("squeue")


def test_one_press_starts_one_run_without_a_database(store: RunStore) -> None:
    engine = engine_for(store)
    assert isinstance(engine, slurm.SlurmEngine)
    assert engine.once("press") is None and engine.once("press") == []
    engine.done("press", ["a", "b"])
    assert engine.once("press") == ["a", "b"]
    assert not list(store.root.rglob("*.db"))


def test_a_claim_excludes_and_one_that_a_dead_process_left_does_not(cluster: Cluster) -> None:
    assert read_site()[0].engine == "slurm"
    path = cluster.root / "lock"
    first = lock_in_run(path)
    assert first is not None and lock_in_run(path) is None
    os.utime(first.path, (time.time() - 1000, time.time() - 1000))
    second = lock_in_run(path)
    assert second is not None
    first.release()
    assert lock_in_run(path) is None, "the first must not give back what is the second's now"
    second.release()
