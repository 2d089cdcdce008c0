"""`data` and `import-data` from the command line: the list, one set, an import, and refusals in one sentence."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from core.__main__ import build_parser, main
from core.commands.options import folders_exported, read_settings
from core.commands.questions import with_answers
from core.config.load import settings_from
from core.config.site import FOLDERS
from core.data.imports import imports_dir
from core.jobs.job_row import job_for
from core.jobs.start_supervisor import supervisor_environment
from core.runs.store import RunStore
from core.training.ready import check_ready


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("runs", "data", "cache", "imports"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("LAB_USER", "ana")
    source = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", images=source.integers(0, 256, (12, 8, 8), dtype=np.uint8), labels=np.arange(12) % 3)
    return tmp_path


@pytest.mark.slow
def test_an_import_is_listed_and_described(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-data", str(lab / "x.npz"), "--name", "mine", "--licence", "CC0"]) == 0
    said = capsys.readouterr().out
    assert said.index("classes   3, from the arrays 'images'") < said.index("mine: 12 images of 3 classes")
    assert "--set data.name=mine" in said
    assert main(["data"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("mine") and "here, imported by ana" in line for line in lines)
    assert any(line.startswith("cifar10") and "absent, 170.5 MB to fetch" in line for line in lines)
    assert main(["data", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["mine"]["state"] == "here" and rows["mine"]["licence"] == "CC0"
    assert rows["mnist"]["state"] == "absent" and rows["npz"]["state"] == "yours"
    assert main(["data", "mine", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert sum(facts["counts_train"]) + sum(facts["counts_heldout"]) == 12
    assert facts["sizes"] == [{"height": 8, "width": 8, "count": 12}]


@pytest.mark.slow
def test_a_file_is_described_without_importing_it(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(lab / "x.npz")]) == 0
    assert "9 to train on, of which 3 validate, 3 held out (held out of each class)" in capsys.readouterr().out
    assert not (lab / "imports").exists()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["data", "mnst"], 2, "did you mean mnist"),
        (["data", "mnist"], 1, "'mnist' is not in"),
        (["data", "/dev/zero"], 2, "/dev/zero is a device"),
        (["import-data", "/dev/zero", "--name", "mine"], 2, "/dev/zero is a device"),
        (["import-model", "/proc/self/maps"], 1, "/proc/self/maps is a file of the kernel"),
        (["import-data", "absent.zip", "--name", "mine"], 2, "there is no folder or file absent.zip"),
        (["import-data", "x", "--name", "mnist"], 2, "there is already a dataset 'mnist'"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    words: list[str], code: int, sentence: str, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert sorted(path.name for path in lab.iterdir()) == ["x.npz"]


@pytest.mark.slow
@pytest.mark.parametrize("section", ["site", "paths"])
@pytest.mark.parametrize("by", ["set", "config"])
def test_every_command_obeys_the_imports_folder_that_it_is_told(
    lab: Path, by: str, section: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (lab / "my.yaml").write_text(f"{section}:\n  imports: {lab / 'elsewhere'}\n")
    told = ["--set", f"{section}.imports={lab / 'elsewhere'}"] if by == "set" else ["--config", str(lab / "my.yaml")]

    monkeypatch.delenv("LAB_IMPORTS")

    def command(*words: str) -> int:
        return main([*words, *told])

    assert command("import-data", str(lab / "x.npz"), "--name", "mine") == 0
    assert (lab / "elsewhere" / "mine" / "set.json").is_file()
    capsys.readouterr()
    assert command("data", "mine", "--json") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "mine"
    assert command("remove-data", "mine", "--yes") == 0
    assert not (lab / "elsewhere" / "mine").exists()


def test_the_environment_goes_before_the_imports_folder_of_a_command(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import-data", str(lab / "x.npz"), "--name", "mine", "--set", f"paths.imports={lab / 'elsewhere'}"]
    assert main(words) == 0
    assert (lab / "imports" / "mine").is_dir() and not (lab / "elsewhere").exists()


def test_the_folders_of_one_command_go_with_its_jobs_and_not_to_the_supervisor(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that it starts serves everyone."""
    monkeypatch.delenv("LAB_IMPORTS")
    run = RunStore(lab / "runs").create("vae", settings_from({}))
    arguments = build_parser().parse_args(["runs", "--set", f"site.imports={lab / 'elsewhere'}"])
    with folders_exported(arguments):
        assert job_for(run).environment["LAB_IMPORTS"] == str(lab / "elsewhere")
        assert not set(FOLDERS) & set(supervisor_environment())
    assert job_for(run).environment["LAB_IMPORTS"] == str(imports_dir()) != str(lab / "elsewhere")
    assert "LAB_IMPORTS" not in os.environ


def test_a_settings_file_that_does_not_name_the_imports_folder_leaves_it_alone(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_IMPORTS")
    before = imports_dir()
    (lab / "my.yaml").write_text("data: {name: digits}\nsite: {runs: elsewhere}\n")
    with folders_exported(build_parser().parse_args(["runs", "--config", str(lab / "my.yaml")])):
        assert imports_dir() == before


class Terminal(io.StringIO):
    """Somebody who types at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def dark(lab: Path) -> Path:
    """A file of arrays that is nearly black: a question."""
    np.savez(
        lab / "dark.npz", images=np.arange(12 * 64).reshape(12, 8, 8).astype(np.uint8) % 9, labels=np.arange(12) % 3
    )
    return lab / "dark.npz"


@pytest.mark.parametrize(
    ("typed", "code", "last"),
    [
        ("8\n", 0, "train on it"),
        ("\n", 2, "--bit-depth 8"),
        ("", 2, "--bit-depth 8"),
        ("7\n", 2, "--bit-depth: must be one of auto, 1, 8"),
        ("12\n", 0, "train on it"),
    ],
)
def test_a_question_is_asked_at_a_terminal_and_an_empty_line_stops(
    typed: str, code: int, last: str, dark: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["import-data", str(dark), "--name", "dark"]) == code
    said = capsys.readouterr()
    assert "Type 8 if that is right, or another value; Enter alone stops.\n--bit-depth " in said.err
    assert last in said.out + said.err
    assert (dark.parent / "imports" / "dark").exists() == (code == 0)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_without_a_terminal_and_for_programs_a_question_stays_a_refusal(
    words: list[str], dark: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("8\n") if words else io.StringIO("8\n"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["data", str(dark), *words]) == 2
    said = capsys.readouterr()
    assert said.err.endswith("say --bit-depth 8 (in settings data.bit_depth=8)\n") and "Type 8" not in said.err


@pytest.mark.parametrize(("name", "value"), [("bit_depth", "8"), ("classes", "2"), ("split", "2020")])
def test_an_answer_that_is_a_number_is_a_setting_too(name: str, value: str) -> None:
    arguments = build_parser().parse_args(["train", "vae", "--set", f"data.{name}={value}"])
    assert getattr(read_settings(arguments).data, name) == value


def test_a_training_takes_the_answer_as_a_setting(
    dark: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("16\n"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    words = ["train", "vae", "--set", "data.name=npz", "--set", f"data.path={dark}", "--set", "machine.device=cpu"]
    taken: list[list[str]] = []

    def train(arguments: argparse.Namespace) -> int:
        check_ready(read_settings(arguments), data_dir=dark.parent / "data", cache_dir=dark.parent / "cache")
        taken.append(arguments.overrides)
        return 0

    assert with_answers(build_parser().parse_args(words), train) == 0
    assert taken[0][-1] == "data.bit_depth=16" and "--bit-depth" in capsys.readouterr().err
