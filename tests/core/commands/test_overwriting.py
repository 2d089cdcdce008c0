"""No command replaces a file in silence, and no progress in a pipe moves a cursor."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from tqdm import tqdm

from core.__main__ import main
from core.commands.sample_files import FILES, check_folder
from core.errors import UsageError
from core.jobs.plain_lines import PlainLines


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


def test_progress_in_a_pipe_is_lines() -> None:
    stream = io.StringIO()
    with tqdm(total=3, file=PlainLines(stream), mininterval=0, miniters=1) as bar:
        for _ in range(3):
            bar.update()
    text = stream.getvalue()
    assert "\r" not in text
    assert list(dict.fromkeys(line.split("%")[0] for line in text.splitlines())) == ["0", "33", "67", "100"]
