"""The bounded reader: whatever lies under a file's name, reading it costs one sentence and never waits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core import reading
from core.__main__ import main
from core.reading import MB, Unreadable
from core.version import VERSION


def test_an_object_comes_back(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"a": 1}')
    assert reading.read_object(tmp_path / "run.json") == {"a": 1}


def test_a_missing_file_is_an_os_error_as_everywhere(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        reading.read_object(tmp_path / "run.json")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [fifo, directory, device])
def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path, make: object) -> None:
    path = tmp_path / "run.json"
    make(path)  # type: ignore[operator]
    with pytest.raises(Unreadable, match=r"^run\.json is not an ordinary file$"):
        reading.read_bytes(path)
    with pytest.raises(Unreadable):
        reading.read_tail(path, 10)


@pytest.mark.parametrize(("name", "size_bytes"), [("run.json", 1_500 * MB), ("step-00000001.npz", 3_000 * MB)])
def test_a_sparse_giant_is_refused_by_its_size(tmp_path: Path, name: str, size_bytes: int) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(size_bytes)
    with pytest.raises(Unreadable, match=r"a file of its kind may have"):
        reading.read_bytes(path)
    assert len(reading.read_tail(path, 1000)) == 1000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[1]", "holds no object"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_what_is_no_object_is_one_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "notes.json").write_bytes(data)
    with pytest.raises(Unreadable, match=words) as caught:
        reading.read_object(tmp_path / "notes.json")
    assert str(caught.value).startswith("notes.json") and "\n" not in str(caught.value)


def test_the_command_line_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"latent-diffusion-lab {VERSION}\n"
