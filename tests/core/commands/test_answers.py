"""Every result also comes as JSON, alone on stdout, and so does every error."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.__main__ import COMMANDS, WITHOUT_RESULT, main
from core.home import code_root
from core.runs.run import RunState, Status
from core.runs.store import RunStore
from tests.test_documentation import subparsers

FOLDER = code_root() / "core" / "commands"
PRINTS = {  # files that may print without asking whether JSON was wanted, and why
    "answer.py": "is the one place",
    "logs.py": WITHOUT_RESULT["logs"],
}
Say = Callable[..., Any]


def bare_prints(source: str) -> list[int]:
    """Lines that print to stdout."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    prints = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    return [call.lineno for call in prints if not any(word.arg == "file" for word in call.keywords)]


def test_every_command_with_a_result_has_it_as_json() -> None:
    without = {name for name, parser in subparsers().items() if "--json" not in parser.format_help()}
    assert without == set(WITHOUT_RESULT)
    assert without <= {name.replace("_", "-") for name in COMMANDS}


def test_no_command_prints_past_its_answer() -> None:
    assert bare_prints("print(1)\nprint(2, file=sys.stderr)\nif x:\n    print(json.dumps(3))") == [1, 4]
    found = {path.name: bare_prints(path.read_text()) for path in FOLDER.glob("*.py") if "print(" in path.read_text()}
    assert {name: lines for name, lines in found.items() if lines and name not in PRINTS} == {}


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command with --json in a lab of its own; (exit code, what stdout held)."""
    for name in ("RUNS", "CACHE", "IMPORTS", "MODELS"):
        monkeypatch.setenv(f"LAB_{name}", str(tmp_path / name.lower()))

    def command(*words: object) -> tuple[int, Any]:
        capsys.readouterr()
        code = main([*map(str, words), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return command


@pytest.fixture
def ended(tmp_path: Path, said: Say) -> str:
    """The id of a run that has finished."""
    from core.config.load import settings_from

    run = RunStore(tmp_path / "runs").create("vae", settings_from({}))
    run.write_status(Status(state=RunState.FINISHED, step=5, steps_total=5))
    return run.id


def test_what_happens_to_a_run(said: Say, ended: str, tmp_path: Path) -> None:
    row = {"id": ended, "state": "finished", "reason": ""}
    assert said("wait", ended) == (0, [row])
    assert said("stop", ended)[1]["error"].startswith(f"run {ended}")
    assert said("note", ended, "--tag", "good")[1]["tags"] == ["good"]
    assert said("delete", ended) == (0, {"id": ended, "in_trash": True})
    assert said("restore", ended) == (0, row)
    said("delete", ended)
    code, answer = said("trash", "--empty", "--yes")
    assert (code, answer["removed"]) == (0, [ended])
    assert answer["freed_bytes"] > 0


@pytest.mark.slow
def test_what_is_imported_and_removed(said: Say, tmp_path: Path) -> None:
    images = np.arange(12 * 8 * 8, dtype=np.uint8).reshape(12, 8, 8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(12) % 2)
    code, found = said("import-data", tmp_path / "a.npz", "--name", "mine", "--license", "CC0")
    assert (code, found["name"], found["license"], found["train_count"]) == (0, "mine", "CC0", 12)
    assert Path(found["path"]).is_dir()
    assert said("remove-data", "mine", "--yes") == (0, {"name": "mine", "removed": True})


def test_what_is_written(said: Say, tmp_path: Path) -> None:
    target = tmp_path / "gpus.json"
    assert said("machine", "--record", target) == (0, {"path": str(target)})
    assert said("doctor", "--clean-webhooks") == (0, [])


@pytest.mark.slow
def test_a_model_that_is_imported_and_removed(said: Say, tmp_path: Path) -> None:
    code, found = said("import-model", code_root() / "models" / "mnist-demo", "--name", "mine")
    assert (code, found["id"], len(found["class_names"])) == (0, "model:mine", 10)
    assert said("models", "--delete", "mine", "--yes") == (0, {"id": "mine", "removed": True})


@pytest.mark.parametrize("words", [["show", "nope"], ["film", "nope", "x.webp"], ["train", "unet"], ["resume", "nope"]])
def test_an_error_has_one_shape(said: Say, words: list[str]) -> None:
    code, answer = said(*words)
    assert answer.keys() == {"error", "exit_code"}
    assert code == answer["exit_code"] > 0


def test_bad_usage_has_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["runs", "--stat", "--json"])
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert (caught.value.code, answer["exit_code"]) == (2, 2)
    assert printed.err.endswith(f"error: {answer['error']}\n")


def test_without_json_an_error_is_on_stderr_only(capsys: pytest.CaptureFixture[str], said: Say) -> None:
    assert main(["show", "nope"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
