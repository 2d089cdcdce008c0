"""Folders appear and go whole; what dead processes left is found after a while, and nothing else is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core import leftovers


def made(parent: Path, name: str, *, age_s: float = 0.0) -> Path:
    """A folder with a file, both that old."""
    folder = parent / name
    folder.mkdir()
    (folder / "file").write_text(name)
    for path in (folder / "file", folder):
        os.utime(path, (path.stat().st_mtime - age_s,) * 2)
    return folder


def test_a_folder_being_built_is_hidden_and_gone_when_the_builder_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), leftovers.built_beside(tmp_path / "deep" / "target") as temporary:
        assert temporary.name.startswith(".")
        raise KeyError
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.mark.parametrize(("whole", "kept"), [(True, "first"), (False, "second")])
def test_of_two_builders_the_first_wins_unless_its_folder_is_damaged(tmp_path: Path, whole: bool, kept: str) -> None:
    for name in ("first", "second"):
        with leftovers.built_beside(tmp_path / "target") as temporary:
            (temporary / "file").write_text(name)
            leftovers.publish(temporary, tmp_path / "target", is_whole=lambda _: whole)
    assert (tmp_path / "target" / "file").read_text() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_removing_a_link_leaves_what_it_points_to(tmp_path: Path) -> None:
    elsewhere = made(tmp_path, "elsewhere")
    (tmp_path / "link").symlink_to(elsewhere)
    leftovers.remove_folder(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def test_only_old_leftovers_are_swept_whatever_wrote_them(tmp_path: Path) -> None:
    day = leftovers.DAY_S + 60
    for name in (".tmp-a", ".trash-a", ".removed-a", ".damaged-a", ".a.1234.tmp"):
        made(tmp_path, name, age_s=day)
    for name in ("run", ".trash", ".queue"):
        made(tmp_path, name, age_s=day)
    made(tmp_path, ".tmp-young")
    leftovers.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".queue", ".tmp-young", ".trash", "run"]
    leftovers.sweep(tmp_path, older_than_s=0.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".queue", ".trash", "run"]


def test_an_old_folder_in_which_somebody_writes_stays(tmp_path: Path) -> None:
    folder = made(tmp_path, ".tmp-slow", age_s=leftovers.DAY_S + 60)
    os.utime(folder / "file")
    leftovers.sweep(tmp_path)
    assert folder.is_dir()


def test_a_file_that_was_never_finished_goes_too(tmp_path: Path) -> None:
    path = tmp_path / ".cell.json.1234.tmp"
    path.write_text("{")
    leftovers.sweep(tmp_path, older_than_s=0.0)
    assert not path.exists()
