"""Whatever a file of the lab holds, looking at the lab goes on: a record, or one sentence about that one file.

Drawn by Hypothesis, the same few in every run of the suite; `benchmarks/wild_values.py` is the long form.
"""

from __future__ import annotations

import ast
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core import reading
from core.config.frozen import frozen_from
from core.config.load import usable_site
from core.config.site import SiteSettings
from core.config.strict_yaml import parse_yaml
from core.errors import ConfigError
from core.evaluation.timestep_loss_results import LOSSES
from core.home import code_root
from core.jobs import disk, stop_report
from core.jobs.queue import Job, Queue
from core.jobs.recovery import take_in_unqueued
from core.jobs.request import JobRequest
from core.machine import attempts
from core.runs import trash
from core.runs.metrics import MetricColumns
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from core.values import age_s, instant
from core.words import ago
from tests import wild

FEW = settings(
    max_examples=4,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def wild_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Shared by all: whoever spoils a file mends it."""
    root = tmp_path_factory.mktemp("wild")
    with pytest.MonkeyPatch.context() as patched:
        for name in ("runs", "imports", "models", "cache"):
            patched.setenv(f"LAB_{name.upper()}", str(root / name))
        wild.made(root)
        yield root


SPOILT = (  # those whose values are counted, compared, or shown to everybody
    *("unet run.json", "unet status.json", "unet stop.json", "unet attempt.json", "vae exit.json", "unet events.jsonl"),
    *("unet metrics.jsonl", "unet notes.json", "unet data.json", "unet vae codec.json", "comparison request.json"),
    *("manifest.json", "evaluations", "timestep_loss", "ceiling", "cells 0001.json", "comparisons facts.json"),
    *("runs/.queue/machine.jsonl", "runs/.queue/supervisor.json", ".trash json", "gallery", "set.json"),
    *("theirs/lab.json", "import.json"),
)


def file_of(root: Path, words: str) -> Path:
    files = wild.files_of(root)
    return next(path for name, path in files.items() if all(word in name for word in words.split()))


@pytest.mark.parametrize("words", SPOILT)
@FEW
@given(data=st.data())
def test_one_wild_value_costs_one_sentence(wild_lab: Path, words: str, data: st.DataObject) -> None:
    path = file_of(wild_lab, words)
    before = path.read_bytes()
    wild.put(path, data.draw(wild.spoiled(before)))
    try:
        wild.look_at(wild_lab, path)
    finally:
        wild.put(path, before)


@FEW
@given(text=st.text(max_size=40) | st.datetimes().map(str) | st.sampled_from(wild.WILD))
def test_any_value_is_an_instant_or_none(text: object) -> None:
    found = instant(text)
    assert found is None or found.tzinfo is not None
    assert (age_s(text) is None) == (found is None)
    assert isinstance(ago(text), str)  # type: ignore[arg-type]


@FEW
@given(value=wild.values)
def test_what_json_object_returns_can_be_written_again(value: object) -> None:
    try:
        wild.strict(reading.json_object(json.dumps({"value": value}), "x.json"))
    except reading.Unreadable as error:
        assert str(error).startswith("x.json ")


@pytest.fixture
def old_run(tmp_path: Path) -> Run:
    shutil.copytree(wild.OLD_RUNS, tmp_path / "runs")
    return RunStore(tmp_path / "runs").list()[0]


COLUMNS = ("place", "state", "priority", "owner", "device", "num_processes", "depends_on", "environment", "code")
COLUMNS += ("attempt", "slots", "pauses", "fruitless", "last_step", "waits_for", "queued_at", "started_at", "request")
FITTING = [None, b"\xff", "x", "", "[", "{}", '["a", 1]', '{"a": 1}', "[" * 500, 1e308, -1, 2**63 - 1, "\x00", 0.5]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_row_of_the_queue_holds_what_it_should_or_the_default(wild_lab: Path, column: str) -> None:
    queue = Queue(wild_lab / "runs")
    (before,) = queue.jobs()
    try:
        for value in FITTING:
            with queue.transaction() as database:
                database.execute(f"update jobs set {column} = coalesce(?, {column})", (value,))
            for job in queue.jobs():
                assert all(isinstance(getattr(job, each.name), kinds_of(each.default)) for each in fields(Job)[1:])
            wild.LOOKS["the queue"](wild_lab)
    finally:
        with queue.transaction() as database:
            database.execute("delete from jobs")
        queue.put(before)


def kinds_of(default: object) -> tuple[type, ...]:
    if default is MISSING:
        return (dict, JobRequest)
    return (int, float) if isinstance(default, float) else (type(default),)


def test_what_else_the_queue_keeps_is_no_trap(wild_lab: Path) -> None:
    queue = Queue(wild_lab / "runs")
    with queue.transaction() as database:
        for value in ("x", b"\xff", 1e308, -1.0):
            database.execute("insert into speeds values('s', ?, '2026')", (value,))
            database.execute("insert into notices(body, next_at, tries) values(?, 0, ?)", (value, value))
        database.execute("insert or replace into leases values(?, ?)", (b"\xff", b"\xff"))
    queue.note_speed("s", 0.5)
    queue.add_notice({"text": "sound"})
    assert queue.seconds_per_step("s") == 0.5
    assert [body for _, body, _ in queue.due_notices(1.0)] == [{"text": "sound"}]
    assert b"\xff" not in queue.leases()


def test_an_instant_without_a_zone_in_the_trash_breaks_no_clean_up(old_run: Run) -> None:
    store = RunStore(old_run.folder.parent)
    store.delete(old_run.id)
    path = store.root / trash.FOLDER / f"{old_run.id}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "at": "2026-01-01T00:00:00"}))
    plan = disk.plan_cleanup(store, store.root, choice="trash", older_than_days=0)
    assert [item.path.name for item in plan.goes] == [old_run.id]


@pytest.mark.parametrize("at", [1e300, -1, 10**400, "now", [1]])
def test_a_stop_that_was_asked_at_no_time_is_shown(old_run: Run, at: object) -> None:
    attempt = attempts.current_attempt(old_run.folder)
    (old_run.folder / "stop.json").write_text(json.dumps({"attempt": attempt, "level": 1, "by": "ana", "at": at}))
    assert isinstance(stop_report.stop_stages(old_run), list)


def test_a_heartbeat_of_the_year_2900_keeps_no_lost_run_from_the_queue(old_run: Run) -> None:
    status = {"state": str(RunState.QUEUED), "heartbeat_at": "2900-01-01T00:00:00"}
    old_run.status_path.write_text(json.dumps(status))
    queue = Queue(old_run.folder.parent)
    take_in_unqueued(RunStore(old_run.folder.parent), queue, {old_run.id: time.monotonic() - 10.0})
    assert old_run.id in [job.run_id for job in queue.jobs()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ' + "9" * 400 + "}", "x.json cannot be read: a: a number beyond 64 bits"),
        ('{"a": {"b": [1, NaN]}}', "x.json cannot be read: b: nan is not a finite number"),
        ('{"a": 1e999}', "x.json cannot be read: a: inf is not a finite number"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", "x.json is nested too deep"),
        ('{"a": ' + "[" * 100_000, "x.json is nested too deep"),
    ],
)
def test_values_that_no_file_may_hold_are_one_sentence(text: str, words: str) -> None:
    with pytest.raises(reading.Unreadable) as refused:
        reading.json_object(text, "x.json")
    assert str(refused.value) == words


@pytest.mark.parametrize(("name", "value"), [("noise_scale", -1e308), ("signal_scale", 1e200), ("variance", 10**18)])
def test_a_figure_beyond_all_measure_is_one_sentence(name: str, value: float) -> None:
    path = next(wild.OLD_RUNS.glob("*/timestep_loss/*.json"))
    kept = json.loads(path.read_text())
    kept[name] = [value, *kept[name][1:]] if isinstance(kept[name], list) else value
    with pytest.raises(reading.Unreadable, match=rf"^x\.json cannot be read: {name}: .* is beyond all measure"):
        LOSSES.parse(json.dumps(kept), "x.json")


def test_a_metric_with_half_a_character_in_its_name_can_be_shown(tmp_path: Path) -> None:
    lines = ['{"step": 1, "loss": 0.5}', r'{"step": 2, "lo\ud800ss": 0.25, "x": ["\udfff"]}', ""]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    columns = MetricColumns(tmp_path / "metrics.jsonl").read()
    wild.strict(sorted(columns))
    assert columns["loss"].tolist() == [0.5, 0.25]


def test_halves_of_characters_are_left_out() -> None:
    assert reading.json_object(r'{"a\ud800": "b\udc00c \ud83d\ude00"}', "x.json") == {"a": "bc 😀"}


def test_the_files_that_are_spoilt_are_there(wild_lab: Path) -> None:
    assert all(file_of(wild_lab, words).stat().st_size for words in SPOILT)


FROZEN = parse_yaml(next(wild.OLD_RUNS.glob("*unet-bc64/config.yaml")).read_text())
PLACES = list(wild.places_in(FROZEN))


@settings(FEW, max_examples=25)
@given(place=st.sampled_from(PLACES), value=wild.values)
def test_settings_with_one_wild_value_are_settings_or_one_sentence(place: tuple[object, ...], value: object) -> None:
    try:
        text = json.dumps(wild.with_value(FROZEN, place, value))
        found = frozen_from(parse_yaml(text, "config.yaml"))
        assert found.shown and isinstance(found.flaw, str)
        wild.strict(found.to_act_on().model_dump(mode="json"))
    except ConfigError as error:
        assert "\n" not in str(error) and len(str(error)) < 1_000


@settings(FEW, max_examples=20)
@given(name=st.sampled_from([f"site.{name}" for name in SiteSettings.model_fields]), value=wild.values)
def test_a_site_with_one_wild_value_is_a_site_or_one_sentence(name: str, value: object) -> None:
    try:
        usable_site(overrides={name: value})
    except ConfigError as error:
        assert "\n" not in str(error) and len(str(error)) < 1_000


@settings(FEW, max_examples=60)
@given(text=st.text() | st.text(alphabet="[]{}:-?&*!|>'\"#%@` \n\t,a1.e_"))
def test_any_text_is_yaml_or_one_sentence(text: str) -> None:
    try:
        parse_yaml(text)
    except ConfigError as error:
        assert "\n" not in str(error)


READERS = {  # who may call what believes a file; everybody else asks them
    "json.loads": {
        *("core/reading.py", "core/config/compatibility.py", "core/machine/gpus.py"),  # files of the code and of tests
        *("core/jobs/supervisor.py", "core/model_folders/import_child.py", "core/data/importing/import_child.py"),
        *("core/data/own_data_child.py", "core/limited_child.py"),  # what one process of the lab tells another
        "core/jobs/fork_server.py",
        "core/jobs/engines/slurm_commands.py",  # what a command of Slurm printed
    },
    "np.load": {"core/data/array_files.py", "core/data/overview.py", "core/latent/inspection/projection_child.py"},
    "Image.open": {"core/data/decoding.py"},
    "datetime.fromisoformat": {"core/values.py"},
    "yaml.load": {"core/config/strict_yaml.py"},
    "shutil.rmtree": {"core/leftovers.py", "core/atomic.py", "core/data/loaders.py"},  # the last two: folders they made
}


def calls_in(source: str) -> set[str]:
    """'module.function' of every call."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {
        f"{each.value.id}.{each.attr}"
        for each in calls
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)
    }


def test_files_are_read_and_removed_by_those_who_check_them() -> None:
    root = code_root()
    found: dict[str, set[str]] = {name: set() for name in READERS}
    for path in (path for part in ("core", "lab", "pages") for path in (root / part).rglob("*.py")):
        for name in READERS.keys() & calls_in(path.read_text()):
            found[name].add(path.relative_to(root).as_posix())
    assert [(name, place) for name, places in found.items() for place in sorted(places - READERS[name])] == []
    assert calls_in("import json\nfacts = json.loads(path.read_text())") == {"json.loads", "path.read_text"}
