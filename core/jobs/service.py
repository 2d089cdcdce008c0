"""What browser and command line do with runs: start, stop, resume, delete. Both call exactly these functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from core.config.load import get_value, resolve_path, settings_from
from core.config.schema import Settings
from core.errors import LabError, RunBusy, UsageError
from core.jobs.engines.local import LocalEngine
from core.jobs.engines.protocol import JobSpec
from core.jobs.observed import forget_job, has_process, observed_status, settle
from core.jobs.processes import is_alive, terminate, wait_until_dead
from core.jobs.requests import KILL_REQUESTED, RESUME_REQUESTED, STOP_REQUESTED
from core.runs.listing import last_checkpoint_in_words
from core.runs.lock import try_lock
from core.runs.provenance import current_user
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore, check_name, lock_path

TrainKind = Literal["vae", "unet", "all"]
Check = Callable[..., None]
INHERITED_SECTIONS = ("data", "vae")
START_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 10.0


def open_store(settings: Settings) -> RunStore:
    """The runs folder of these settings."""
    return RunStore(resolve_path(settings.paths.runs))


def start_training(
    kind: TrainKind,
    settings: Settings,
    *,
    vae_run: str | None = None,
    name: str = "",
    owner: str = "",
    preset: str = "",
    explicit: Collection[str] = (),
    detach: bool = True,
    store: RunStore | None = None,
    engine: LocalEngine | None = None,
    check: Check | None = None,
) -> list[Run]:
    """Create the run (for 'all' the VAE's and the U-Net's) and, with `detach`, start its process.

    explicit: dotted names of settings the person chose; a U-Net takes the other `data` and `vae` settings from its VAE
    run. check: the last look before anything is created, core.training.start.check_ready by default.
    Raises UsageError, RunNotFound, DataUnavailable, ...; then nothing was created.
    """
    store = store or open_store(settings)
    check_name(name)
    parents: tuple[str, ...] = ()
    if kind == "unet":
        parent = vae_for(store, vae_run)
        settings = inherit(settings, parent, explicit)
        parents = (parent.id,)
    elif vae_run:
        raise UsageError(f"--vae: a '{kind}' training trains its own VAE, got {vae_run}", "leave it out")
    (check or check_ready)(
        settings, kind, data_dir=resolve_path(settings.paths.data), cache_dir=resolve_path(settings.paths.cache)
    )
    facts: dict[str, Any] = {"owner": owner or current_user(), "preset": preset}
    runs = []
    if kind in ("vae", "all"):
        title = f"{name} (VAE)" if name and kind == "all" else name
        runs.append(store.create("vae", settings, name=title, **facts))
        parents = (runs[0].id,)
    if kind in ("unet", "all"):
        try:
            runs.append(store.create("unet", settings, name=name, parents=parents, **facts))
        except LabError:
            for run in runs:
                store.delete(run.id, is_active=lambda other: False)
            raise
    if detach:
        (engine or LocalEngine(store)).submit(JobSpec(run_ids=tuple(run.id for run in runs)))
    return runs


def vae_for(store: RunStore, vae_run: str | None) -> Run:
    """The finished VAE run that a U-Net shall use. Raises UsageError when none is named, RunNotFound, RunBusy."""
    if not vae_run:
        finished = [run for run in store.list() if run.info.kind == "vae" and run.status().state is RunState.FINISHED]
        choices = ", ".join(run.id for run in finished[:5])
        hint = f"use --vae with one of {choices}" if finished else "none is finished yet: train one, or train 'all'"
        raise UsageError("train unet: needs a finished VAE run", hint)
    run = store.get(vae_run)
    if run.info.kind != "vae":
        raise UsageError(f"--vae: {run.id} is a U-Net run", "name a VAE run")
    state = observed_status(run).state
    if state is not RunState.FINISHED:
        raise RunBusy(f"--vae: {run.id} is {state}, not finished", "wait for it, or resume it")
    return run


def inherit(settings: Settings, vae_run: Run, explicit: Collection[str] = ()) -> Settings:
    """`settings` with the data and VAE of `vae_run`. Raises UsageError when `explicit` names one that differs."""
    theirs = vae_run.settings
    for name in explicit:
        if name.split(".")[0] in INHERITED_SECTIONS and get_value(settings, name) != get_value(theirs, name):
            raise UsageError(
                f"{name}: the VAE run {vae_run.id} was trained with {_plain(get_value(theirs, name))}, "
                f"got {_plain(get_value(settings, name))}",
                "leave it out, or train another VAE",
            )
    values = settings.model_dump(mode="json")
    for section in INHERITED_SECTIONS:
        values[section] = getattr(theirs, section).model_dump(mode="json")
    return settings_from(values)


def inherited_values(vae_run: Run) -> dict[str, Any]:
    """The settings a U-Net takes from its VAE run, by dotted name: overrides for `load_config`."""
    values = vae_run.settings.model_dump(mode="json")
    return {f"{section}.{key}": value for section in INHERITED_SECTIONS for key, value in values[section].items()}


def check_ready(settings: Settings, kind: str, *, data_dir: Path, cache_dir: Path) -> None:
    """Refuse what cannot work before anything is created; unknown data sets are refused without loading PyTorch."""
    from core.data import catalog

    catalog.entry(settings.data.name)
    from core.training import start

    start.check_ready(settings, kind, data_dir=data_dir, cache_dir=cache_dir)


def wait_until_started(runs: Sequence[Run], timeout_s: float = START_TIMEOUT_S) -> None:
    """Return once the worker is alive and has said so. Raises LabError when it ended before that."""
    deadline = time.monotonic() + timeout_s
    first = runs[0]
    while time.monotonic() < deadline:
        if first.status().process is not None or not first.status().state.is_active:
            return
        if not has_process(first):
            break
        time.sleep(0.05)
    status = settle(first)
    if not status.state.is_active:
        raise LabError(f"run {first.id}: its process ended before it began", f"see {first.log_path}")


def request_stop(store: RunStore, run_id: str, *, by: str = "") -> Run:
    """Ask a run to save and stop; returns at once. Raises LabError when it is not active."""
    run = store.get(run_id)
    status = settle(run)
    if not status.state.is_active:
        raise LabError(f"run {run.id} is not running: it is {in_words(status)}")
    run.add_event(STOP_REQUESTED, by=by or current_user())
    process = LocalEngine(store).handle_of(run).process
    if process is not None:
        terminate(process)  # another person's process may refuse it; the event reaches it all the same
    return run


def force_stop(store: RunStore, run_id: str, *, by: str = "", why: str = "") -> Status:
    """Kill the run's process and everything it started, and write down that the run is stopped.

    Runs that waited in the same process stop with it; a run that itself only waits there is taken out, and the process
    lives on for the run it works on. Raises LabError when the process could not be killed or did not let go of it.
    """
    run = store.get(run_id)
    if not observed_status(run).state.is_active:
        return settle(run)
    by = by or current_user()
    engine = LocalEngine(store)
    handle = engine.handle_of(run)
    run.add_event(KILL_REQUESTED, by=by)
    before = _active_before(engine.status([handle])[0], run)
    if before:
        return _take_out(run, before)
    engine.stop(handle, force=True)
    if handle.process is not None:
        wait_until_dead(handle.process, KILL_TIMEOUT_S)
    lock = try_lock(lock_path(run), patience_s=KILL_TIMEOUT_S)
    if lock is None or is_alive(handle.process):
        if lock is not None:
            lock.release()
        raise LabError(f"run {run.id}: its process could not be killed", "it may belong to another user or machine")
    try:
        _write_stopped(run, f"killed by {by}{why}; {last_checkpoint_in_words(run)}")
    finally:
        lock.release()
    for other in engine.status([handle])[0]:
        if other != run.id:
            _stop_companion(store.get(other), run)
    return run.status()


def stop_run(
    store: RunStore,
    run_id: str,
    *,
    by: str = "",
    force: bool = False,
    grace_s: float | None = None,
    on_stage: Callable[[str], None] = lambda text: None,
) -> Status:
    """Stop a run and wait for it: ask, wait for `machine.stop_grace_s` (or grace_s), then kill. Says each stage."""
    run = store.get(run_id)
    by = by or current_user()
    if force:
        settled = settle(run)
        if not settled.state.is_active:
            raise LabError(f"run {run.id} is not running: it is {in_words(settled)}")
        on_stage("killing it")
        return force_stop(store, run.id, by=by)
    run = request_stop(store, run.id, by=by)
    patience_s = run.settings.machine.stop_grace_s if grace_s is None else grace_s
    deadline = time.monotonic() + patience_s
    stage = "asked it to save and stop"
    on_stage(stage)
    while time.monotonic() < deadline:
        status = settle(run)
        if not status.state.is_active:
            return status
        if status.stage and status.stage != stage:
            stage = status.stage
            on_stage(stage)
        time.sleep(0.1)
    on_stage(f"it did not stop within {patience_s:g} s: killing it")
    return force_stop(store, run.id, by=by, why=f" because it did not stop within {patience_s:g} s")


def resume_run(
    store: RunStore, run_id: str, *, by: str = "", detach: bool = True, engine: LocalEngine | None = None
) -> list[Run]:
    """Go on with a run from its last good checkpoint; a U-Net whose VAE is not done takes its VAE run along.

    Returns the runs in the order they are worked on. Raises RunBusy when one is active, LabError when it is finished.
    """
    run = store.get(run_id)
    status = settle(run)
    if status.state is RunState.FINISHED:
        raise LabError(f"run {run.id} is finished at step {status.step:,}: there is nothing to resume")
    runs = [*_unfinished_parents(store, run), run]
    for each in runs:
        state = settle(each).state
        if state.is_active and has_process(each):
            raise RunBusy(f"run {each.id} is already {state}", "watch it, or stop it first")
        each.settings  # noqa: B018 - unreadable settings raise here, before anything changes
    by = by or current_user()
    engine = engine or LocalEngine(store)
    if detach:
        engine.submit(JobSpec(run_ids=tuple(each.id for each in runs), resumed_by=by))
    else:
        for each in runs:
            each.add_event(RESUME_REQUESTED, by=by)
            forget_job(each)
    return runs


def delete_run(store: RunStore, run_id: str) -> None:
    """Remove a run and all it made. Raises RunBusy while it is active, or an active U-Net run needs it."""
    run = store.get(run_id)
    settle(run)
    store.delete(run.id, is_active=lambda other: observed_status(other).state.is_active)


def in_words(status: Status) -> str:
    """'stopped (stopped by ana at step 500; ...)'."""
    return f"{status.state} ({status.reason})" if status.reason else str(status.state)


def _unfinished_parents(store: RunStore, run: Run) -> list[Run]:
    if run.info.kind != "unet" or (run.vae_dir / "codec.json").exists():
        return []
    parents = [store.get(parent) for parent in run.info.parents]
    return [parent for parent in parents if settle(parent).state is not RunState.FINISHED]


def _active_before(statuses: Mapping[str, Status], run: Run) -> str:
    """The run of the same process that is worked on before this one; empty when it is this one's turn."""
    for run_id, status in statuses.items():
        if run_id == run.id:
            break
        if status.state.is_active:
            return run_id
    return ""


def _take_out(run: Run, before: str) -> Status:
    """Wait until the worker, which has seen the request in the run's events, ends this waiting run."""
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while (status := settle(run)).state.is_active:
        if time.monotonic() >= deadline:
            raise LabError(f"run {run.id} waits for {before}, whose process does not answer", f"stop {before} instead")
        time.sleep(0.05)
    return status


def _stop_companion(other: Run, killed: Run) -> None:
    """A run that shared the killed process."""
    lock = try_lock(lock_path(other), patience_s=1.0)
    if lock is None:
        return
    try:
        if other.status().state.is_active:
            waited = killed.id in other.info.parents
            reason = f"its VAE run {killed.id} was stopped" if waited else f"its process was killed with {killed.id}"
            _write_stopped(other, f"{reason}; {last_checkpoint_in_words(other)}")
    finally:
        lock.release()


def _write_stopped(run: Run, reason: str) -> None:
    status = run.status()
    if status.state.is_active:
        run.write_status(
            replace(
                status, state=RunState.STOPPED, reason=reason, stage="", eta_s=None, images_per_s=None, process=None
            )
        )
        run.add_event(str(RunState.STOPPED), step=status.step, reason=reason)


def _plain(value: Any) -> str:
    return str(value.model_dump(mode="json")) if isinstance(value, BaseModel) else repr(value)
