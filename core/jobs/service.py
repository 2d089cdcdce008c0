"""What browser and command line do with runs: start, stop, resume, delete. Both call exactly these functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from core.config.load import get_value, resolve_path, settings_from, with_overrides
from core.config.schema import Settings
from core.errors import LabError, RunBusy, UsageError
from core.jobs.engines.local import LocalEngine, waiting_job
from core.jobs.engines.protocol import JobSpec
from core.jobs.exit_reason import grace_s
from core.jobs.observed import observed_status
from core.jobs.queue import JobState, Queue
from core.jobs.queue_view import QueueEntry, SupervisorState, place_for_next, queue_view, supervisor_state
from core.jobs.stop_events import KILL_REQUESTED, PAUSE_REQUESTED, STOP_REQUESTED
from core.jobs.stop_report import stop_stages
from core.jobs.supervisor import LOCK_NAME, LOG_NAME, start_supervisor
from core.runs.lock import is_locked
from core.runs.provenance import current_user
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore, check_name

__all__ = [
    "QueueEntry",
    "SupervisorState",
    "place_for_next",
    "queue_view",
    "stop_stages",
    "supervisor_state",
]
TrainKind = Literal["vae", "unet", "all"]
Check = Callable[..., None]
INHERITED_SECTIONS = ("data", "vae")
START_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 20.0
STOP_SLACK_S = 20.0
RELEASE_PATIENCE_S = 15.0
TOKEN_PATIENCE_S = 60.0
MOVES = ("first", "up", "down", "last")
MIN_PRIORITY, MAX_PRIORITY = -10, 10


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
    priority: int = 0,
    token: str = "",
    store: RunStore | None = None,
    engine: LocalEngine | None = None,
    check: Check | None = None,
) -> list[Run]:
    """Create the run (for 'all' the VAE's and the U-Net's) and put it into the queue.

    explicit: dotted names of settings the person chose; a U-Net takes the other `data` and `vae` settings from its VAE
    run. token: names one press of a button; whoever comes with it again gets the runs that the first one made. check:
    the last look before anything is created, core.training.start.check_ready by default.
    Raises UsageError, RunNotFound, DataUnavailable, ...; then nothing was created.
    """
    store = store or open_store(settings)
    if not token:
        return _create_and_submit(
            kind, settings, vae_run, name, owner, preset, explicit, priority, store, engine, check
        )
    queue = Queue(store.root)
    made = queue.once(token)
    if made is not None:
        deadline = time.monotonic() + TOKEN_PATIENCE_S
        while not made and time.monotonic() < deadline:
            time.sleep(0.1)
            made = queue.once(token)
            if made is None:  # the first one failed, and its failure freed the token, which is ours now
                break
    if made is not None:
        if not made:
            raise RunBusy("this training is being started already", "look at the runs before you start another")
        return [store.get(run_id) for run_id in made]
    runs: list[Run] = []
    try:
        runs = _create_and_submit(
            kind, settings, vae_run, name, owner, preset, explicit, priority, store, engine, check
        )
    finally:
        queue.done(token, [run.id for run in runs])
    return runs


def _create_and_submit(
    kind: TrainKind,
    settings: Settings,
    vae_run: str | None,
    name: str,
    owner: str,
    preset: str,
    explicit: Collection[str],
    priority: int,
    store: RunStore,
    engine: LocalEngine | None,
    check: Check | None,
) -> list[Run]:
    check_name(name)
    check_priority(priority)
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
    runs: list[Run] = []
    try:
        if kind in ("vae", "all"):
            title = f"{name} (VAE)" if name and kind == "all" else name
            runs.append(store.create("vae", settings, name=title, **facts))
            parents = (runs[0].id,)
        if kind in ("unet", "all"):
            runs.append(store.create("unet", settings, name=name, parents=parents, **facts))
        (engine or LocalEngine(store)).submit(JobSpec(run_ids=tuple(run.id for run in runs), priority=priority))
    except LabError:
        for run in reversed(runs):
            store.discard(run)
        raise
    return runs


def check_priority(priority: int) -> None:
    """Raises UsageError for a priority out of range."""
    if not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise UsageError(f"--priority: must be from {MIN_PRIORITY} to {MAX_PRIORITY}, got {priority}")


def vae_for(store: RunStore, vae_run: str | None) -> Run:
    """The finished VAE run that a U-Net shall use. Raises UsageError when none is named, RunNotFound, RunBusy."""
    if not vae_run:
        finished = [run for run in store.list() if run.info.kind == "vae" and run.status().state is RunState.FINISHED]
        choices = ", ".join(run.id for run in finished[:5])
        hint = f"use --vae with one of {choices}" if finished else "none is finished yet: train one, or train 'all'"
        raise UsageError("train unet: needs a finished VAE run", hint)
    run = store.get(vae_run)
    if run.info.kind != "vae":
        what = "U-Net run" if run.info.kind == "unet" else run.info.kind
        raise UsageError(f"--vae: {run.id} is a {what}", "name a VAE run")
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


def wait_until_taken(store: RunStore, runs: Sequence[Run], timeout_s: float = START_TIMEOUT_S) -> None:
    """Return once a supervisor lives that will start the runs. Raises LabError when none stays alive."""
    folder = Queue(store.root).folder
    deadline = time.monotonic() + timeout_s
    while not is_locked(folder / LOCK_NAME):
        if time.monotonic() >= deadline or not any(run.status().state.is_active for run in runs):
            break
        time.sleep(0.05)
    else:
        return
    if any(run.status().state.is_active for run in runs):
        raise LabError(f"run {runs[0].id}: it waits, but no supervisor starts", f"see {folder / LOG_NAME}")


def request_stop(store: RunStore, run_id: str, *, by: str = "", engine: LocalEngine | None = None) -> Run:
    """Ask a run to save and stop; returns at once. A run that only waits leaves the queue.

    Raises LabError when it is not active.
    """
    return _ask(store, run_id, by=by, level=1, event=STOP_REQUESTED, engine=engine)


def pause_run(
    store: RunStore, run_id: str, *, by: str = "", wait: bool = False, engine: LocalEngine | None = None
) -> Status:
    """Free the run's place on the machine and keep its place in the queue; `resume_run` goes on.

    Returns at once, or, with `wait`, when its processes are gone. Raises LabError when it is not active.
    """
    run = _ask(store, run_id, by=by, level=1, event=PAUSE_REQUESTED, pause=True, engine=engine)
    return _wait_for_end(store, run, grace_s(run) + STOP_SLACK_S) if wait else observed_status(run)


def force_stop(
    store: RunStore, run_id: str, *, by: str = "", engine: LocalEngine | None = None, timeout_s: float = KILL_TIMEOUT_S
) -> Status:
    """Kill every process of the run, without saving, and wait until they are seen to be gone.

    Raises LabError when it is not active, or when they could not be killed.
    """
    run = _ask(store, run_id, by=by, level=2, event=KILL_REQUESTED, engine=engine)
    return _wait_for_end(store, run, timeout_s)


def stop_run(
    store: RunStore,
    run_id: str,
    *,
    by: str = "",
    force: bool = False,
    on_stage: Callable[[str], None] = lambda text: None,
    engine: LocalEngine | None = None,
) -> Status:
    """Stop a run and wait for it; after `machine.stop_grace_s` its processes are killed. Says each stage when seen."""
    if force:
        on_stage("killing it")
        return force_stop(store, run_id, by=by, engine=engine)
    run = request_stop(store, run_id, by=by, engine=engine)
    told: set[str] = set()

    def tell() -> None:
        for stage in stop_stages(run):
            if stage.done and stage.words not in told:
                told.add(stage.words)
                on_stage(stage.words)

    return _wait_for_end(store, run, grace_s(run) + STOP_SLACK_S, tell)


def resume_run(store: RunStore, run_id: str, *, by: str = "", engine: LocalEngine | None = None) -> list[Run]:
    """Queue a run again; it goes on from its last good checkpoint. A paused one has kept its place.

    A U-Net whose VAE is not done takes its VAE run along, unless that one waits or lives already. Returns the runs that
    were queued, in order. Raises RunBusy when the run is active, LabError when it is finished.
    """
    run = store.get(run_id)
    status = observed_status(run)
    if status.state is RunState.FINISHED:
        raise LabError(f"run {run.id} is finished at step {status.step:,}: there is nothing to resume")
    if status.state.is_active:
        raise RunBusy(f"run {run.id} is already {status.state}", "watch it, or stop it first")
    parents = [parent for parent in _unfinished_parents(store, run) if not observed_status(parent).state.is_active]
    runs = [*parents, run]
    for each in runs:
        each.settings  # noqa: B018 - unreadable settings raise here, before anything changes
    spec = JobSpec(run_ids=tuple(each.id for each in runs), resumed_by=by or current_user())
    (engine or LocalEngine(store)).submit(spec)
    return runs


def branch_run(
    store: RunStore,
    run_id: str,
    step: int,
    *,
    owner: str = "",
    name: str = "",
    overrides: Mapping[str, Any] | None = None,
    engine: LocalEngine | None = None,
) -> Run:
    """A new run that goes on from a checkpoint of another, with other settings; created and queued.

    Raises LabError when the checkpoint is not there or the settings do not fit it; then nothing was created.
    """
    from core.runs.branch import create_branch

    origin = store.get(run_id)
    values = origin.settings.model_dump(mode="json")
    settings = settings_from(with_overrides(values, overrides or {}))
    run = create_branch(store, origin, step, settings, owner=owner or current_user(), name=name)
    (engine or LocalEngine(store)).submit(JobSpec(run_ids=(run.id,)))
    return run


def delete_run(store: RunStore, run_id: str, *, by: str = "") -> None:
    """Move a run and all it made to the trash; one that just ended is waited for until its process is gone.

    Raises RunBusy while it is active, or an active U-Net run needs it.
    """
    run = store.get(run_id)
    queue = Queue(store.root)
    _wait_until_released(run, queue)
    store.delete(run.id, by=by or current_user(), is_active=lambda other: observed_status(other).state.is_active)
    queue.forget(run.id)


def _wait_until_released(run: Run, queue: Queue) -> None:
    """Return when no attempt of the run is live. Raises RunBusy while it works, or when its process does not end."""
    deadline = time.monotonic() + RELEASE_PATIENCE_S
    while (job := queue.job(run.id)) is not None and job.state is JobState.LIVE:
        if observed_status(run).state.is_active:
            raise RunBusy(f"run {run.id} is being worked on", "stop it first")
        if time.monotonic() > deadline:
            raise RunBusy(f"run {run.id}: its process is still ending", "try again in a moment")
        time.sleep(0.1)


def restore_run(store: RunStore, run_id: str, *, by: str = "") -> Run:
    """Bring a deleted run back from the trash. Raises LabError when it is not there."""
    from core.runs.trash import restore

    return restore(store, run_id, by=by or current_user())


def move_run(store: RunStore, run_id: str, *, to: str, by: str = "") -> None:
    """Move a waiting run among those of its priority: first, up, down, last. Raises LabError when it does not wait."""
    if to not in MOVES:
        raise UsageError(f"--to: must be one of {', '.join(MOVES)}, got '{to}'")
    run = store.get(run_id)
    if not Queue(store.root).move(run.id, to):
        raise LabError(f"run {run.id} does not wait: it is {in_words(observed_status(run))}")
    run.add_event("moved in the queue", by=by or current_user(), to=to)


def set_priority(store: RunStore, run_id: str, priority: int, *, by: str = "") -> None:
    """Change a waiting run's priority, -10 to 10; higher goes first. Raises LabError when it does not wait."""
    check_priority(priority)
    run = store.get(run_id)
    if not Queue(store.root).set_priority(run.id, priority):
        raise LabError(f"run {run.id} does not wait: it is {in_words(observed_status(run))}")
    run.add_event("priority changed", by=by or current_user(), priority=priority)


def ensure_supervisor(store: RunStore) -> None:
    """Have a supervisor where there is something to supervise. Cheap: call it whenever somebody looks."""
    if Queue(store.root).exists():
        start_supervisor(store)


def in_words(status: Status) -> str:
    """'stopped (stopped by ana at step 500; ...)'."""
    return f"{status.state} ({status.reason})" if status.reason else str(status.state)


def _ask(
    store: RunStore, run_id: str, *, by: str, level: int, event: str, pause: bool = False, engine: LocalEngine | None
) -> Run:
    """Write the request down and pass it on; a run that waits is taken out here, whoever lives."""
    run = store.get(run_id)
    by = by or current_user()
    engine = engine or LocalEngine(store)
    for _ in range(3):  # between two looks a waiting run may start, or a live one end
        if waiting_job(engine.queue, run.id) is not None:
            if pause and engine.queue.take_out(run.id, state=JobState.PAUSED, by=by):
                _end_waiting(run, event, by, f"paused by {by} while it waited")
                return run
            if not pause and engine.queue.take_out(run.id, by=by):
                _end_waiting(run, event, by, f"stopped by {by} before it {_began(run)}")
                return run
            if pause:
                return run  # it is held already
        status = observed_status(run)
        if not status.state.is_active:
            raise LabError(f"run {run.id} is not running: it is {in_words(status)}")
        job = engine.queue.job(run.id)
        if job is None or job.state is not JobState.LIVE:
            if job is None:  # the queue has lost it: the supervisor finds it again, the worker reads the request
                run.add_event(event, by=by)
                start_supervisor(store)
                return run
            time.sleep(0.1)
            continue
        run.add_event(event, by=by)  # first: the worker tells a person's request from a bare signal by it
        if engine.ask_to_stop(run, level=level, by=by, pause=pause):
            return run
    raise LabError(f"run {run.id} is not running: it is {in_words(observed_status(run))}")


def _end_waiting(run: Run, event: str, by: str, reason: str) -> None:
    run.add_event(event, by=by)
    run.write_status(replace(run.status(), state=RunState.STOPPED, reason=reason, stage="", eta_s=None, process=None))
    run.add_event(str(RunState.STOPPED), by=by, reason=reason)


def _began(run: Run) -> str:
    return "went on" if run.status().step else "began"


def _wait_for_end(store: RunStore, run: Run, timeout_s: float, tell: Callable[[], None] = lambda: None) -> Status:
    """Until the supervisor has judged the end of the run's attempt."""
    queue = Queue(store.root)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        tell()
        job = queue.job(run.id)
        if job is None or job.state is not JobState.LIVE:
            status = observed_status(run)
            if not status.state.is_active:
                tell()
                return status
        time.sleep(0.1)
    raise LabError(
        f"run {run.id}: its processes are not gone after {timeout_s:.0f} s",
        f"see {queue.folder / LOG_NAME}; they may belong to another user or machine",
    )


def _unfinished_parents(store: RunStore, run: Run) -> list[Run]:
    if run.info.kind != "unet" or (run.vae_dir / "codec.json").exists():
        return []
    parents = [store.get(parent) for parent in run.info.parents]
    return [parent for parent in parents if observed_status(parent).state is not RunState.FINISHED]


def _plain(value: Any) -> str:
    return str(value.model_dump(mode="json")) if isinstance(value, BaseModel) else repr(value)
