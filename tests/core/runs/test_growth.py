"""Formats that grow: what a newer lab wrote is shown as far as it can be read, and never acted on; nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.comparison.comparison_results import list_comparisons
from core.config.schema import Settings
from core.errors import LabError
from core.evaluation.report import list_reports
from core.runs.film import read_film
from core.runs.listing import list_checkpoints, run_details, run_row
from core.runs.metrics import MAX_LINE_BYTES, MetricColumns, MetricsReader, MetricsWriter, sample_values
from core.runs.notes import Notes, change_notes, notes_path, read_notes
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore
from core.runs.trash import list_trash, put_into_trash

OLD_RUNS = Path(__file__).resolve().parents[2] / "fixtures" / "runs-57d6eac" / "runs"
NEWER = "made by a newer version of the lab"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LAB_USER", "ana")
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store: RunStore) -> Run:
    return store.create("vae", Settings(), name="first", owner="ana")


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def versions(run: Run, **values: str) -> None:
    found = {**run.info.versions, **{name.replace("_", ".", 1): value for name, value in values.items()}}
    change(run.folder / "run.json", versions=found)


def test_unknown_keys_neither_hide_a_run_nor_stop_it(store: RunStore, run: Run) -> None:
    change(run.folder / "run.json", mood="good", parents=[])
    change(run.status_path, state="finished", step=7, watts=3.5)
    [listed] = store.list()
    assert listed.info.name == "first" and listed.info.flaw == ""
    assert (listed.status().state, listed.status().step) == (RunState.FINISHED, 7)
    assert listed.settings == Settings()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: versions(run, format="99"), r"\(format 99; this one knows"),
        (lambda run: versions(run, rules_noise="3"), "version 3 of the rule 'noise'"),
        (lambda run: versions(run, rules_shuffle="1"), "version 1 of the rule 'shuffle'"),
        (lambda run: change(run.folder / "run.json", kind="sweep"), "runs of the kind 'sweep' are not known here"),
        (lambda run: change(run.status_path, state="warming"), "its state is 'warming'"),
    ],
)
def test_a_newer_run_stays_in_the_list_and_is_not_acted_on(
    store: RunStore, run: Run, spoil: Callable[[Run], None], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run.status_path, state="stopped")
    spoil(run)
    [listed] = store.list()
    with pytest.raises(LabError, match=f"run {run.id}: {NEWER}.*{words}"):
        _ = listed.settings
    assert listed.shown_settings == Settings()
    assert main(["runs", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row["id"] == run.id and row["state"] in ("stopped", "warming")
    assert NEWER in row["problem"]
    assert main(["show", run.id]) == 0
    assert "problem        " + NEWER in capsys.readouterr().out
    assert main(["resume", run.id]) == 1
    assert NEWER in capsys.readouterr().err


def test_a_newer_format_of_another_shape_is_shown_as_far_as_it_can_be_read(store: RunStore, run: Run) -> None:
    versions(run, format="99")
    change(run.folder / "run.json", parents={"vae": "x"}, created_at=3, kind="vae")
    change(run.status_path, state="running", step={"done": 3}, steps_total=70)
    [listed] = store.list()
    row = run_row(listed, listed.status())
    assert (row["name"], row["kind"], row["owner"], row["parents"]) == ("first", "vae", "ana", [])
    assert (row["state"], row["steps_total"]) == ("running", 70) and NEWER in row["problem"]


def test_a_run_of_before_follows_the_first_rules(store: RunStore, run: Run) -> None:
    change(run.folder / "run.json", versions={"python": "3.11.2"})
    found = Run(run.folder)
    assert set(vars(found.rules).values()) == {1} and found.info.flaw == ""


def test_what_is_written_back_keeps_the_keys_of_a_newer_lab(store: RunStore, run: Run) -> None:
    change(run.folder / "run.json", mood="good")
    assert store.rename(run.id, "second").info.name == "second"
    assert json.loads((run.folder / "run.json").read_text())["mood"] == "good"
    notes_path(run).write_text('{"notes": "", "colour": "red"}')
    change_notes(run, by="ana", add_tags=["keep"])
    assert json.loads(notes_path(run).read_text())["colour"] == "red"


def test_notes_of_a_newer_format_are_read_and_not_rewritten(run: Run) -> None:
    notes_path(run).write_text('{"format": 99, "notes": "good", "tags": {"a": 1}}')
    assert read_notes(run) == Notes(notes="good")
    with pytest.raises(LabError, match=NEWER):
        change_notes(run, by="ana", notes="bad")
    assert read_notes(run) == Notes(notes="good")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def giant(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 * 2**30)


@pytest.mark.parametrize(
    "name", ["run.json", "status.json", "config.yaml", "notes.json", "metrics.jsonl", "events.jsonl"]
)
@pytest.mark.parametrize("make", [fifo, giant])
def test_a_trap_among_the_files_of_a_run_costs_nobody_anything(
    store: RunStore, run: Run, name: str, make: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    other = store.create("vae", Settings(), name="other")
    (run.folder / name).unlink(missing_ok=True)
    make(run.folder / name)
    begun = time.process_time()
    assert main(["runs"]) == 0
    printed = capsys.readouterr()
    assert other.id in printed.out
    assert run.id in printed.out + printed.err
    main(["show", "--json", run.id])
    assert read_notes(run) == Notes() and isinstance(Run(run.folder).events(), list)
    assert isinstance(Run(run.folder).status(), Status)
    assert time.process_time() - begun < 5.0


def test_a_preview_of_gigabytes_and_one_that_never_ends_are_left_out(run: Run) -> None:
    run.previews_dir.mkdir()
    giant(run.previews_dir / "step-00000001.npz")
    fifo(run.previews_dir / "step-00000002.npz")
    with pytest.raises(LabError, match="its 2 previews cannot be read"):
        read_film(run)


def test_a_manifest_that_is_a_pipe_hides_its_checkpoint_only(run: Run) -> None:
    folder = run.checkpoints_dir / "step-00000001"
    folder.mkdir(parents=True)
    fifo(folder / "manifest.json")
    assert list_checkpoints(run) == []


def test_an_endless_line_of_metrics_is_left_out_and_said(run: Run) -> None:
    writer = MetricsWriter(run.metrics_path)
    writer.append({"step": 1, "loss": 1.0})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 2, "loss": ' + "1" * 10_000_000 + "}\n")
        file.write('{"step": 3, "words": "' + "1" * (MAX_LINE_BYTES + 1) + '"}\n')
    writer.append({"step": 4, "loss": 0.5})
    reader = MetricsReader(run.metrics_path)
    assert [record["step"] for record in reader.read_new()] == [1, 4]
    assert reader.problem == "metrics.jsonl: lines longer than 256 KB are left out"
    assert run_details(run, run.status())["problem"] == reader.problem
    columns = MetricColumns(run.metrics_path)
    assert columns.read()["step"].tolist() == [1, 4] and columns.problem


def test_a_long_line_that_is_still_being_written_never_counts(run: Run) -> None:
    reader = MetricsReader(run.metrics_path)
    with run.metrics_path.open("ab", buffering=0) as file:
        file.write(b'{"step": 1, "words": "' + b"x" * (MAX_LINE_BYTES + 1))
        assert reader.read_new() == []
        file.write(b'", "step": 5}\n{"step": 2}\n')
        assert [record["step"] for record in reader.read_new()] == [2]
        file.write(b'{"step": 3}\n')
        assert [record["step"] for record in reader.read_new()] == [3]


@pytest.mark.parametrize("make", [fifo, giant])
def test_metrics_that_are_no_file_of_lines_read_as_none(run: Run, make: Callable[[Path], None]) -> None:
    make(run.metrics_path)
    reader = MetricsReader(run.metrics_path)
    assert reader.read_new() == [] and reader.problem.startswith("metrics.jsonl ")
    assert sample_values(run.metrics_path, "loss") == []


def test_a_field_more_in_every_file_changes_nothing_that_is_shown(
    store: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(OLD_RUNS, store.root)
    told = []
    for more in ({}, {"grown": {"by": "a newer lab"}}):
        for path in store.root.rglob("*.json"):
            if path.name not in ("config.json", "state.json"):  # of diffusers; and hashed with the weights beside it
                change(path, **more)
        assert main(["runs", "--json"]) == 0
        for each in store.list():
            assert main(["show", "--json", each.id]) == 0
            print(list_reports(each), list_comparisons(each))
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] and told[0].count('"problem": ""') >= 10


def test_deleted_runs_keep_what_a_newer_lab_noted(store: RunStore, run: Run) -> None:
    put_into_trash(store.root, run, "ana")
    change(store.root / ".trash" / f"{run.id}.json", format=99, why="old")
    [found] = list_trash(store)
    assert (found.id, found.name, found.by) == (run.id, "first", "ana")
