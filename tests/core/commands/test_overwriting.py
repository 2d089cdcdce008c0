"""No command replaces a file in silence, and no progress in a pipe moves a cursor."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tqdm import tqdm

from core.__main__ import main
from core.commands.progress import progress_bar
from core.commands.sample_files import FILES, check_folder
from core.errors import UsageError
from core.home import code_root
from core.jobs.plain_lines import WITHOUT_BARS, PlainLines


@pytest.mark.parametrize("name", FILES)
def test_a_folder_with_an_earlier_sample_is_refused_unless_it_may_be_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match="exists already; give another name, or add --overwrite"):
        check_folder(tmp_path)
    check_folder(tmp_path, overwrite=True)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("words", [["machine", "--record"], ["film", "RUN"]])
def test_a_file_that_exists_is_kept(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "there.gif"
    target.write_text("mine")
    assert main([*words, str(target), "--set", f"site.runs={tmp_path / 'runs'}"]) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert target.read_text() == "mine"


def bars_of_their_own(source: str) -> list[int]:
    """Lines that make a bar which would move the cursor in a pipe, or which the environment could switch off."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found = []
    for call in (each for each in calls if ast.unparse(each.func) == "tqdm"):
        words = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if (words.get("file"), words.get("disable")) != ("progress_stream()", "False"):
            found.append(call.lineno)
    return found


def test_every_bar_is_drawn_where_a_pipe_gets_lines() -> None:
    assert bars_of_their_own("tqdm(total=3)\ntqdm(file=progress_stream(), disable=False)") == [1]
    paths = [path for path in (code_root() / "core").rglob("*.py") if "tqdm(" in path.read_text()]
    assert {path.name: bars_of_their_own(path.read_text()) for path in paths} == {"attach.py": [], "progress.py": []}


def test_work_that_says_nothing_shows_that_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    told = ""
    with progress_bar("reading", begins_after_s=0.0):
        deadline = time.monotonic() + 60
        while "reading" not in told and time.monotonic() < deadline:
            told += capsys.readouterr().err
    told += capsys.readouterr().err
    assert "\r" not in told
    lines = told.split("\n")
    assert (lines[0][:2], lines[-2][:4]) == ("0%", "100%")


def test_bars_of_other_packages_are_not_drawn() -> None:
    code = "from tqdm import tqdm\nfor _ in tqdm(range(3)): pass"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **WITHOUT_BARS}, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_progress_in_a_pipe_is_lines() -> None:
    stream = io.StringIO()
    with tqdm(total=3, file=PlainLines(stream), mininterval=0, miniters=1) as bar:
        for _ in range(3):
            bar.update()
    text = stream.getvalue()
    assert "\r" not in text
    assert list(dict.fromkeys(line.split("%")[0] for line in text.splitlines())) == ["0", "33", "67", "100"]
