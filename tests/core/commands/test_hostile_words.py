"""What people mistype or break gets one sentence, at once, and blocks nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from core import atomic
from core.__main__ import main
from core.config.schema import project_root
from core.errors import LabError
from core.runs.run import RunState
from core.runs.store import RunStore


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "huge"])
def test_a_settings_file_that_is_none_is_refused_at_once(tmp_path, capsys, kind):
    path = {"device": "/dev/zero", "pipe": tmp_path / "pipe", "folder": tmp_path, "huge": tmp_path / "huge.yaml"}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "huge":
        path.write_bytes(b"#" * 2_000_000)
    assert main(["runs", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", [["--preset", ""], ["--set", "=3"], ["--set", ".=3"], ["--set", "data.=3"]])
def test_empty_words_are_refused(capsys, words):
    assert main(["runs", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_was_typed_cannot_colour_the_terminal_or_fill_it(capsys):
    assert main(["runs", "--set", "data.name=\x1b[31m" + "y" * 50_000]) == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error
    assert len(error) < 1100


def test_a_broken_config_of_the_project_does_not_block_the_runs(tmp_path, tiny):
    store = RunStore(tmp_path / "runs")
    run = store.create("vae", tiny())
    copy = tmp_path / "project"
    copy.mkdir()
    subprocess.run(["cp", "-r", str(project_root() / "core"), str(copy)], check=True)
    (copy / "config.yaml").write_text("data: [broken")
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run([sys.executable, "-m", "core", "runs", "--json"], cwd=copy, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["id"] for row in json.loads(done.stdout)] == [run.id]
    assert done.stderr.startswith("warning: config.yaml")


def test_a_run_whose_settings_are_broken_is_named(tmp_path, tiny):
    run = RunStore(tmp_path / "runs").create("vae", tiny())
    run.config_path.write_text("seed: [")
    with pytest.raises(LabError, match=f"run {run.id}: its frozen settings cannot be read") as error:
        _ = type(run)(run.folder).settings
    assert error.value.exit_code == 1


@pytest.mark.parametrize(("name", "value"), [("step", -1), ("steps_total", -5), ("step", 10**30), ("eta_s", -3.0)])
def test_a_status_that_cannot_be_is_not_believed(tmp_path, tiny, name, value):
    run = RunStore(tmp_path / "runs").create("vae", tiny())
    values = json.loads(run.status_path.read_text())
    run.status_path.write_text(json.dumps({**values, name: value}))
    assert run.status().state is RunState.INTERRUPTED
    assert name in run.status().reason


def test_a_line_after_a_torn_one_is_whole(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"a": 1}\n{"b": ')
    atomic.append_line(path, '{"c": 3}')
    assert path.read_text() == '{"a": 1}\n{"b": \n{"c": 3}\n'


def test_what_nobody_expected_is_one_sentence_too(monkeypatch, capsys):
    def surprise(arguments):
        raise ZeroDivisionError("a mistake in the code")

    monkeypatch.setattr("core.commands.runs.run", surprise)
    assert main(["runs"]) == 1
    assert "unexpected ZeroDivisionError: a mistake in the code" in capsys.readouterr().err
