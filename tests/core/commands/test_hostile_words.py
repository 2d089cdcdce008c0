"""What people mistype or break gets one sentence, at once, and blocks nothing else."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import pytest

from core import atomic
from core.__main__ import main
from core.commands import runs
from core.commands.sample_files import check_folder
from core.errors import LabError
from core.home import code_root
from core.runs.run import RunState
from core.runs.store import RunStore
from tests import forked


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

    monkeypatch.setattr(runs, "run", surprise)
    assert main(["runs"]) == 1
    assert "unexpected ZeroDivisionError: a mistake in the code" in capsys.readouterr().err


PROGRAM = """
import contextlib, io, json, sys
for name in [name for name in sys.modules if name.partition(".")[0] == "core"]:
    del sys.modules[name]
sys.path.insert(0, sys.argv[1])
from core.__main__ import main
done = []
for words in json.loads(sys.argv[2]):
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = main(words)
    done.append([code, output.getvalue(), errors.getvalue()])
print(json.dumps(done))
"""


@pytest.fixture
def project(tmp_path, forks):
    """A copy of the program whose config.yaml can be broken; what its commands answer, one after the other."""
    copy = tmp_path / "project"
    copy.mkdir()
    shutil.copytree(code_root() / "core", copy / "core", ignore=shutil.ignore_patterns("__pycache__"))

    def run(config, *commands, **environment):
        (copy / "config.yaml").write_text(config)
        kept = {name: value for name, value in os.environ.items() if name != "LAB_RUNS"}
        done = forked.run("-c", PROGRAM, str(copy), json.dumps(commands), cwd=copy, env={**kept, **environment})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_broken_config_blocks_nothing_that_only_looks(project, tmp_path, tiny):
    run = RunStore(tmp_path / "runs").create("vae", tiny())
    run.write_status(replace(run.status(), state=RunState.STOPPED))
    commands = [
        ["runs", "--json"],
        ["show", run.id],
        ["queue"],
        ["trash"],
        ["note", run.id],
        ["runs", "--preset", "quick"],
        ["runs", "--set", "seed=3"],
    ]
    looked = project("data: [broken", *commands, LAB_RUNS=str(tmp_path / "runs"))
    assert [code for code, _, _ in looked] == [0] * len(commands)
    assert {(errors.startswith("warning: config.yaml"), errors.count("\n")) for _, _, errors in looked} == {(True, 1)}
    assert [row["id"] for row in json.loads(looked[0][1])] == [run.id]


def test_a_broken_config_does_not_block_stop(project, tmp_path, tiny):
    run = RunStore(tmp_path / "runs").create("vae", tiny())
    run.write_status(replace(run.status(), state=RunState.STOPPED))
    ((_, _, errors),) = project("data: [broken", ["stop", run.id], LAB_RUNS=str(tmp_path / "runs"))
    assert errors.splitlines()[-1] == f"error: run {run.id} is not running: it is stopped"


def test_a_broken_config_whose_paths_can_be_read_still_says_where_the_runs_are(project, tmp_path, tiny):
    run = RunStore(tmp_path / "elsewhere").create("vae", tiny())
    ((_, output, _),) = project(f"paths: {{runs: {tmp_path / 'elsewhere'}}}\nseed: many\n", ["runs", "--json"])
    assert [row["id"] for row in json.loads(output)] == [run.id]


def test_doctor_names_a_broken_config(project, tmp_path):
    ((code, output, _),) = project("data: [broken", ["doctor"], LAB_RUNS=str(tmp_path / "runs"))
    assert code == 1
    assert "FAIL  config.yaml" in output
    assert "site.runs" in output


def test_what_needs_the_settings_is_refused_while_the_config_is_broken(project, tmp_path):
    commands = [["trash", "--empty"], ["train", "vae"], ["runs", "--set", "seed=x"]]
    for code, _, errors in project("data: [broken", *commands, LAB_RUNS=str(tmp_path / "runs")):
        assert code == 2
        assert errors.splitlines()[-1].startswith("error: ")


def test_a_right_config_does_not_excuse_a_wrong_option(capsys):
    assert main(["runs", "--set", "seed=x"]) == 2
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "seed=" + "y" * 50_000],
        ["--set", "z" * 50_000],
        ["--set", "z" * 50_000 + "=1"],
        ["--preset", "p" * 50_000],
        ["--config", "c" * 50_000],
        ["--set", "seed=[" + "1," * 2_000 + "]"],
        ["--set", "data: " + "\x1b" * 500],
        ["--set", "a.b=" + "[" * 5000],
    ],
)
def test_a_long_value_is_shortened_and_the_advice_stays(capsys, words):
    assert main(["runs", *words]) == 2
    error = capsys.readouterr().err
    assert len(error) < 450
    assert "\x1b" not in error
    assert error.count("\n") == 1
    assert "…" in error


HOSTILE = "\x1b[31m" + "x" * 5000


@pytest.mark.parametrize(
    "words", [["runs", f"--{HOSTILE}"], [HOSTILE], ["runs", "--state", HOSTILE], ["sample", "x", "--steps", HOSTILE]]
)
def test_usage_errors_cannot_colour_the_terminal_or_fill_it(capsys, words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error
    assert len(error.splitlines()[-1]) < 1100


@pytest.mark.parametrize("labels", ["", " ", ","])
def test_no_labels_are_not_all_labels(tmp_path, tiny, capsys, labels):
    run = RunStore(tmp_path / "runs").create("unet", tiny())
    run.data_path.write_text(json.dumps({"class_names": ["a", "b"]}))
    assert main(["sample", run.id, f"--labels={labels}"]) == 2
    assert "--labels: names no class" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"class_names": 3}', '{"class_names": "ab"}', "[" * 100_000])
def test_damaged_facts_about_the_data_are_told(tmp_path, tiny, capsys, damage):
    run = RunStore(tmp_path / "runs").create("unet", tiny())
    run.data_path.write_text(damage)
    assert main(["sample", run.id]) == 1
    assert f"{run.id}: data.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["/proc/nowhere/deep", "x" * 300, "file/deep", "file", "a\0b"])
def test_an_impossible_place_for_pictures_is_refused_before_sampling(tmp_path, tiny, capsys, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    run = RunStore(tmp_path / "runs").create("unet", tiny())
    run.data_path.write_text(json.dumps({"class_names": ["a", "b"]}))
    before = sorted(tmp_path.rglob("*"))
    assert main(["sample", run.id, "--out", place]) == 2
    assert "error: --out" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_looking_whether_a_place_can_be_written_leaves_nothing(tmp_path):
    check_folder(tmp_path / "a" / "b" / "c")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "here").mkdir()
    check_folder(tmp_path / "here")
    assert list(tmp_path.rglob("*")) == [tmp_path / "here"]


def test_frozen_settings_that_are_a_pipe_are_refused_at_once(tmp_path, tiny):
    run = RunStore(tmp_path / "runs").create("vae", tiny())
    run.config_path.unlink()
    os.mkfifo(run.config_path)
    with pytest.raises(LabError, match="not an ordinary file"):
        _ = type(run)(run.folder).settings


def test_what_nobody_expected_is_shown_whole_when_asked_for(monkeypatch, capsys):
    def surprise(arguments):
        raise ZeroDivisionError("a mistake in the code")

    monkeypatch.setattr(runs, "run", surprise)
    monkeypatch.setenv("LAB_DEBUG", "1")
    assert main(["runs"]) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.splitlines()[-1].startswith("error: unexpected ZeroDivisionError: a mistake in the code")


def test_a_number_too_long_to_be_written_is_refused(capsys):
    assert main(["runs", "--set", "seed=0x" + "f" * 5000]) == 2
    assert "a number of thousands of digits" in capsys.readouterr().err


def test_a_branch_takes_no_preset(tmp_path, tiny, capsys):
    run = RunStore(tmp_path / "runs").create("vae", tiny())
    assert main(["branch", run.id, "--step", "8", "--preset", "quick"]) == 2
    assert "--preset: a branch starts from the settings of its origin" in capsys.readouterr().err
