"""What browser and command line do with runs: start, stop, resume, delete. Both call exactly these functions.

What runs them is behind `Engine`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from core.config.load import get_value, read_site, rules_of_preset, settings_from, with_overrides
from core.config.schema import Settings
from core.data import catalog
from core.errors import LabError, RunBusy, UsageError
from core.home import PROGRAM
from core.jobs.disk_quota import refuse_over_quota
from core.jobs.engines.choose import engine_for, observed_status
from core.jobs.engines.local import LocalEngine
from core.jobs.engines.protocol import Engine
from core.jobs.exit_reason import grace_s
from core.jobs.request import MAX_PRIORITY, MIN_PRIORITY, JobRequest
from core.jobs.start_once import start_once
from core.jobs.start_supervisor import announced
from core.jobs.stop_report import stop_stages
from core.rules import NEWEST, Rules
from core.runs.kinds import trained_by
from core.runs.notes import Notes, change_notes
from core.runs.provenance import current_user
from core.runs.rights import require_member, require_right
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore, check_name
from core.weighing import weigh_run

Check = Callable[..., None]
INHERITED_SECTIONS = ("data", "vae")
KILL_TIMEOUT_S = 60.0
STOP_SLACK_S = 60.0
RELEASE_PATIENCE_S = 15.0
MAX_PERSON = 120


def start_training(
    kind: str,
    settings: Settings,
    *,
    store: RunStore,
    vae_run: str | None = None,
    name: str = "",
    owner: str = "",
    preset: str = "",
    explicit: Collection[str] = (),
    priority: int = 0,
    request: Mapping[str, Any] | None = None,
    token: str = "",
    sweep: str = "",
    engine: Engine | None = None,
    check: Check | None = None,
) -> list[Run]:
    """Create the run (for 'all' the VAE's and the U-Net's) and hand it to the engine.

    explicit: dotted names of settings the person chose; a U-Net takes the other `data` and `vae` settings from its VAE
    run. token: names one press of a button; whoever comes with it again gets the runs that the first one made. check:
    the last look before anything is created, core.training.ready.check_ready by default.
    Raises UsageError, RunNotFound, DataUnavailable, ...; then nothing was created.
    """
    check_name(name)

    def create(made: list[Run]) -> None:
        parts, rules = trained_by(kind), rules_of_preset(preset)
        chosen, parent = fitting(kind, settings, store=store, vae_run=vae_run, explicit=explicit)
        parents = (parent.id,) if parent else ()
        if parent:  # the images that the VAE saw
            rules = replace(rules, folders=parent.rules.folders, bit_depth=parent.rules.bit_depth)
        site, _ = read_site()
        is_there = catalog.is_present(chosen.data.name, site.data, path=chosen.data.path)
        # another engine has no supervisor: one would end the runs that it finds unqueued
        has_supervisor = engine is None and isinstance(engine_for(store), LocalEngine)
        with announced(store) if is_there and has_supervisor else nullcontext():
            (check or check_ready)(chosen, data_dir=site.data, cache_dir=site.cache, rules=rules)
        facts: dict[str, Any] = {"owner": owner or current_user(), "preset": preset, "rules": rules, "sweep": sweep}
        for part in parts:
            title = f"{name} ({part.title})" if name and part is not parts[-1] else name
            made.append(store.create(part.name, chosen, name=title, parents=parents, **facts))
            parents = (made[-1].id,)

    return start_runs(store, create, priority=priority, request=request, token=token, engine=engine)


def fitting(
    kind: str, settings: Settings, *, store: RunStore, vae_run: str | None, explicit: Collection[str]
) -> tuple[Settings, Run | None]:
    """The settings as a training of that kind takes them, and the VAE run that it needs.

    Raises UsageError and RunNotFound for what does not fit the VAE or the machine, before a dataset is fetched.
    """
    parts, parent = trained_by(kind), None
    if parts[0].parent:
        parent = vae_for(store, vae_run)
        settings = inherit(settings, parent, explicit)
    elif vae_run:
        raise UsageError(f"--vae: a '{kind}' training trains its own VAE, got {vae_run}", "leave it out")
    for part in parts:
        weigh_run(settings, part).refuse()
    return settings, parent


def start_runs(
    store: RunStore,
    create: Callable[[list[Run]], None],
    *,
    priority: int = 0,
    request: Mapping[str, Any] | None = None,
    token: str = "",
    engine: Engine | None = None,
) -> list[Run]:
    """Create runs and hand them to the engine, all of them or none: the one door for whatever starts.

    create: appends each run that it made. request: fields of a `JobRequest` of each of them. token: names one press of
    a button, see `start_once`.
    """
    check_priority(priority)
    asked = {**(request or {}), **({"priority": priority} if priority else {})}
    JobRequest().with_changes(asked)  # refused before anything is created

    def start() -> list[Run]:
        made: list[Run] = []
        try:
            create(made)
            for owner in {run.info.owner for run in made}:
                refuse_over_quota(store, read_site()[0], owner)
            (engine or engine_for(store)).submit(made, request=asked)
        except LabError:
            for run in reversed(made):
                store.discard(run)
            raise
        return made

    return start_once(store, token, start)


def check_priority(priority: int) -> None:
    """Raises UsageError for a priority out of range."""
    if not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise UsageError(f"--priority: must be from {MIN_PRIORITY} to {MAX_PRIORITY}, got {priority}")


def vae_for(store: RunStore, vae_run: str | None) -> Run:
    """The finished VAE run that a U-Net shall use. Raises UsageError when none is named, RunNotFound, RunBusy."""
    if not vae_run:
        finished = [run for run in store.list() if run.kind.vae == "own" and run.status().state is RunState.FINISHED]
        choices = ", ".join(run.id for run in finished[:5])
        hint = (
            f"use --vae with one of {choices}" if finished else f"none is finished yet; train both: {PROGRAM} train all"
        )
        raise UsageError("train unet: needs a finished VAE run", hint)
    run = store.get(vae_run)
    if run.kind.vae != "own":
        raise UsageError(f"--vae: {run.id} is a {run.kind.noun}", "name a VAE run")
    state = observed_status(run).state
    if state is not RunState.FINISHED:
        raise RunBusy(
            f"--vae: {run.id} is {state}, not finished",
            f"wait for it: {PROGRAM} wait {run.id}, or resume it: {PROGRAM} resume {run.id}",
        )
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


def check_ready(settings: Settings, *, data_dir: Path, cache_dir: Path, rules: Rules = NEWEST) -> None:
    """`core.training.ready.check_ready`, imported when it is needed."""
    from core.training import ready

    ready.check_ready(settings, data_dir=data_dir, cache_dir=cache_dir, rules=rules)


def request_stop(store: RunStore, run_id: str, *, by: str = "", engine: Engine | None = None) -> Run:
    """Ask a run to save and stop; returns at once. A run that only waits leaves the queue.

    Raises LabError when it is not active.
    """
    run = _own(store, run_id, by, "stop")
    (engine or engine_for(store)).ask_to_stop(run, by=by or current_user())
    return run


def pause_run(
    store: RunStore, run_id: str, *, by: str = "", wait: bool = False, engine: Engine | None = None
) -> Status:
    """Free the run's device and keep its place in the queue; `resume_run` goes on.

    Returns at once, or, with `wait`, when its processes are gone. Raises LabError when it is not active.
    """
    run, engine = _own(store, run_id, by, "pause"), engine or engine_for(store)
    engine.ask_to_stop(run, by=by or current_user(), pauses=True)
    return _wait_for_end(engine, run, grace_s(run) + STOP_SLACK_S) if wait else engine.observe(run).status


def force_stop(
    store: RunStore, run_id: str, *, by: str = "", engine: Engine | None = None, timeout_s: float = KILL_TIMEOUT_S
) -> Status:
    """Kill every process of the run, without saving, and wait until they are seen to be gone.

    Raises LabError when it is not active, or when they could not be killed.
    """
    run, engine = _own(store, run_id, by, "kill"), engine or engine_for(store)
    engine.ask_to_stop(run, by=by or current_user(), kills=True)
    return _wait_for_end(engine, run, timeout_s)


def stop_run(
    store: RunStore,
    run_id: str,
    *,
    by: str = "",
    force: bool = False,
    on_stage: Callable[[str], None] = lambda text: None,
    engine: Engine | None = None,
) -> Status:
    """Stop a run and wait for it; after `machine.stop_grace_s` its processes are killed. Says each stage when seen."""
    if force:
        on_stage("killing it")
        return force_stop(store, run_id, by=by, engine=engine)
    engine = engine or engine_for(store)
    run = request_stop(store, run_id, by=by, engine=engine)
    told: set[str] = set()

    def tell() -> None:
        for stage in stop_stages(run):
            if stage.done and stage.words not in told:
                told.add(stage.words)
                on_stage(stage.words)

    return _wait_for_end(engine, run, grace_s(run) + STOP_SLACK_S, tell)


def resume_run(
    store: RunStore,
    run_id: str,
    *,
    by: str = "",
    request: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
) -> list[Run]:
    """Queue a run again; it goes on from its last good checkpoint. A paused one has kept its place.

    request: fields of its `JobRequest` that change; the others stay as they are.
    A U-Net whose VAE is not done takes its VAE run along, unless that one waits or lives already. Returns the runs that
    were queued, in order. Raises RunBusy when the run is active, LabError when it is finished.
    """
    run = store.get(run_id)
    engine = engine or engine_for(store)
    status = engine.observe(run).status
    if status.state is RunState.FINISHED:
        raise LabError(
            f"run {run.id} is finished at step {status.step:,}: there is nothing to resume",
            f"train on in a branch: {PROGRAM} branch {run.id} --checkpoint {status.step}",
        )
    if status.state.is_active:
        raise RunBusy(f"run {run.id} is already {status.state}", "watch it, or stop it first")
    parents = [parent for parent in _unfinished_parents(store, run) if not observed_status(parent).state.is_active]
    runs = [*parents, run]
    for each in runs:
        require_right(each.info.owner, by, f"resume run {each.id}")
        each.settings  # noqa: B018 - unreadable settings raise here, before anything changes
    engine.submit(runs, resumed_by=by or current_user(), request=request or {})
    return runs


def branch_run(
    store: RunStore,
    run_id: str,
    step: int,
    *,
    owner: str = "",
    name: str = "",
    overrides: Mapping[str, Any] | None = None,
    steps: int | None = None,
    request: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
) -> Run:
    """A new run that goes on from a checkpoint of another, with other settings; created and queued.

    steps: where it ends; without any, and none in `overrides`, see `steps_of_branch`.
    Raises LabError when the checkpoint is not there or the settings do not fit it; then nothing was created.
    """
    from core.runs.branch import create_branch, steps_of_branch

    origin, changes = store.get(run_id), dict(overrides or {})
    name_of_steps = f"{origin.kind.section}.steps"
    if steps is not None and changes.setdefault(name_of_steps, steps) != steps:
        raise UsageError(
            f"--steps {steps}: --set {name_of_steps} says {changes[name_of_steps]}", "leave one of them out"
        )
    if origin.kind.trains and name_of_steps not in changes:
        changes[name_of_steps] = steps_of_branch(origin.train_settings.steps, step)
    settings = settings_from(with_overrides(origin.settings.model_dump(mode="json"), changes))

    def create(made: list[Run]) -> None:
        made.append(create_branch(store, origin, step, settings, owner=owner or current_user(), name=name))

    return start_runs(store, create, request=request, engine=engine)[0]


def delete_run(store: RunStore, run_id: str, *, by: str = "") -> None:
    """Move a run and all it made to the trash; one that just ended is waited for until its process is gone.

    Raises RunBusy while it is active, or an active U-Net run needs it.
    """
    run, engine = _own(store, run_id, by, "delete"), engine_for(store)
    deadline = time.monotonic() + RELEASE_PATIENCE_S
    while engine.observe(run).is_held():
        if engine.observe(run).status.state.is_active:
            raise RunBusy(f"run {run.id} is being worked on", "stop it first")
        if time.monotonic() > deadline:
            raise RunBusy(f"run {run.id}: its process is still ending", "try again in a moment")
        time.sleep(0.1)
    engine.forget(run)
    store.delete(run.id, by=by or current_user(), is_active=lambda other: engine.observe(other).status.state.is_active)


def restore_run(store: RunStore, run_id: str, *, by: str = "") -> Run:
    """Bring a deleted run back from the trash. Raises LabError when it is not there."""
    from core.runs.trash import restore

    return restore(store, run_id, by=by or current_user())


def describe_run(
    store: RunStore,
    run_id: str,
    *,
    by: str = "",
    name: str | None = None,
    notes: str | None = None,
    instead_of: str | None = None,
    add_tags: Iterable[str] = (),
    remove_tags: Iterable[str] = (),
    favourite: bool | None = None,
) -> tuple[Run, Notes]:
    """Change a run's name, notes, tags and favourite mark: what is named, all of it or nothing; see `change_notes`.

    A favourite is a private matter: every member may mark any run. Raises NotAllowed, and what `check_name` and
    `change_notes` raise.
    """
    run, by = store.get(run_id), by or current_user()
    add, remove = list(add_tags), list(remove_tags)
    if name is not None or notes is not None or add or remove:
        require_right(run.info.owner, by, f"describe run {run.id}")
    require_member(by, f"describe run {run.id}")
    title = None if name is None else check_name(name)
    changed = change_notes(
        run, by=by, notes=notes, instead_of=instead_of, add_tags=add, remove_tags=remove, favourite=favourite
    )
    before = run.info.name
    if title is not None and title != before:
        run = store.rename(run.id, title)
        run.put_on_record("renamed", by=by, name=title, before=before)
    return run, changed


def hand_over(store: RunStore, run_id: str, person: str, *, by: str = "") -> Run:
    """Make a run that is not being worked on the run of another person; its events say who did.

    Raises UsageError for a name that is none, RunBusy while it is active, NotAllowed for a run of others, and for a
    person who is not a member.
    """
    run, person = _own(store, run_id, by, "hand over"), person.strip()
    if not person or len(person) > MAX_PERSON or not person.isprintable():
        raise UsageError(f"hand over run {run.id}: expected a name of 1 to {MAX_PERSON} characters", "name the person")
    require_member(person, f"hand run {run.id} over to {person}")
    state = observed_status(run).state
    if state.is_active:  # the queue and its shares know it as the owner's
        raise RunBusy(f"run {run.id} is {state}", "stop it first, or wait until it has ended")
    before = run.info.owner
    if person != before:
        run = store.give(run.id, person)
        run.put_on_record("handed over", by=by or current_user(), to=person, before=before)
    return run


def _own(store: RunStore, run_id: str, by: str, act: str) -> Run:
    """The run, for whoever may act on it. Raises RunNotFound, NotAllowed."""
    run = store.get(run_id)
    require_right(run.info.owner, by, f"{act} run {run.id}")
    return run


def _wait_for_end(engine: Engine, run: Run, timeout_s: float, tell: Callable[[], None] = lambda: None) -> Status:
    """Until the engine has let go of the run."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        tell()
        seen = engine.observe(run)
        if not seen.status.state.is_active and not seen.is_held():
            tell()
            return engine.observe(run).status
        time.sleep(0.1)
    raise LabError(
        f"run {run.id}: its processes are not gone after {timeout_s:.0f} s",
        f"they may belong to another user or machine; see: {PROGRAM} queue",
    )


def _unfinished_parents(store: RunStore, run: Run) -> list[Run]:
    if not run.lacks_its_vae:
        return []
    parents = [store.get(parent) for parent in run.info.parents]
    return [parent for parent in parents if observed_status(parent).state is not RunState.FINISHED]


def _plain(value: Any) -> str:
    return str(value.model_dump(mode="json")) if isinstance(value, BaseModel) else repr(value)
