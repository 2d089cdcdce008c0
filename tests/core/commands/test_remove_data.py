"""`remove-data`: asks first, never takes what an active run needs, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.__main__ import main
from core.runs.store import RunStore
from tests.pages.run_folders import running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_IMPORTS", str(tmp_path / "imports"))
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    (tmp_path / "imports" / "mine").mkdir(parents=True)
    (tmp_path / "imports" / "mine" / "set.json").write_text("{")
    return tmp_path / "imports" / "mine"


def test_without_yes_and_without_a_terminal_nothing_is_removed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["remove-data", "mine"]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert folder.is_dir()


def test_with_yes_it_is_gone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remove-data", "mine", "--yes"]) == 0
    assert capsys.readouterr().out == "mine is gone\n"
    assert list(folder.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["mnist", "digits", "..", "../runs", "nothing", ".", ""])
def test_only_imported_sets_go(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remove-data", name, "--yes"]) == 1
    assert "is not an imported set" in capsys.readouterr().err
    assert folder.is_dir()


def test_an_active_run_keeps_its_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = running(RunStore(folder.parents[1] / "runs"))[1]
    path = run.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dataset": {"name": "mine"}}))
    assert main(["remove-data", "mine", "--yes"]) == 1
    assert "needs 'mine' now" in capsys.readouterr().err
    assert folder.is_dir()
