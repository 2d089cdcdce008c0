"""Paths that somebody names: what they are, in one sentence at once, and where they may lead."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import DataUnavailable, UsageError
from core.typed_paths import FILE, FOLDER, inside, kind_of


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.npz")
    return folder / "x.npz"


def a_link_to_a_pipe(folder: Path) -> Path:
    (folder / "link").symlink_to(a_pipe(folder))
    return folder / "link"


def a_socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(folder / "x"))
    return folder / "x"


def a_circle(folder: Path) -> Path:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return folder / "a" / "x.npz"


def nothing(folder: Path) -> Path:
    (folder / "x.npz").touch()
    return folder / "x.npz"


def a_broken_link(folder: Path) -> Path:
    (folder / "link").symlink_to(folder / "absent")
    return folder / "link"


STRANGE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "pipe": (a_pipe, "x.npz is a pipe"),
    "link to a pipe": (a_link_to_a_pipe, "link is a pipe"),
    "socket": (a_socket, "x is a socket"),
    "endless device": (lambda _: Path("/dev/zero"), "/dev/zero is a device"),
    "circle of links": (a_circle, "x.npz lead in a circle"),
    "broken link": (a_broken_link, "there is no folder or file"),
    "file of the kernel": (lambda _: Path("/proc/self/maps"), "is a file of the kernel"),
    "folder of the kernel": (lambda _: Path("/proc/self/fd"), "is a folder of the kernel"),
    "empty file": (nothing, "x.npz is empty"),
    "null character": (lambda _: Path("a\0b"), "there is no folder or file a?b"),
    "endless name": (lambda _: Path("a" * 5000), "there is no folder or file aaa"),
    "not there": (lambda folder: folder / "no\x1b[31m", "there is no folder or file"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_what_is_neither_a_folder_nor_a_file_with_bytes_is_one_sentence(case: str, tmp_path: Path) -> None:
    make, words = STRANGE[case]
    with pytest.raises(UsageError) as caught:
        kind_of(make(tmp_path), where="data.path: ", hint="give a folder", refused=UsageError)
    sentence = str(caught.value)
    assert words in sentence and sentence.startswith("data.path: ") and sentence.endswith("; give a folder")
    assert sentence.isprintable() and len(sentence) < 400


def test_a_file_and_a_folder_are_what_they_are_through_links_too(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path)
    assert (kind_of(tmp_path / "link"), kind_of(tmp_path / "link" / "x")) == (FOLDER, FILE)
    with pytest.raises(DataUnavailable, match=r"there is no folder .*, it is a file"):
        kind_of(tmp_path / "x", wants=(FOLDER,))


def test_what_this_account_may_not_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(b"1")
    monkeypatch.setattr(os, "access", lambda path, needed: Path(path) != tmp_path / "x" and not needed & os.X_OK)
    for path in (tmp_path, tmp_path / "x"):
        with pytest.raises(DataUnavailable, match="may not be read by this account"):
            kind_of(path)


def test_a_path_inside_of_the_roots_is_given_without_its_links(tmp_path: Path) -> None:
    (tmp_path / "root" / "deep").mkdir(parents=True)
    (tmp_path / "root" / "link").symlink_to("deep")
    (tmp_path / "other name").symlink_to("root")
    roots = [tmp_path / "other name"]
    assert inside(tmp_path / "root" / "link" / "x.npz", roots) == tmp_path / "root" / "deep" / "x.npz"
    assert inside(tmp_path / "other name", roots) == tmp_path / "root"
    assert inside(tmp_path / "root" / "link", []) == tmp_path / "root" / "link"


@pytest.mark.parametrize("typed", ["root/../secret", "secret", "root-2", "root/out", "root/out/x", "/"])
def test_a_path_out_of_the_roots_is_refused_whether_it_is_there_or_not(typed: str, tmp_path: Path) -> None:
    for name in ("root", "secret", "root-2"):
        (tmp_path / name).mkdir()
    (tmp_path / "root" / "out").symlink_to(tmp_path / "secret")

    def refusal() -> str:
        with pytest.raises(DataUnavailable, match=r"(out|outside) of site\.data_roots") as caught:
            inside(tmp_path / typed, [tmp_path / "root"], where="data.path: ")
        return str(caught.value)

    before = refusal()
    (tmp_path / "secret").rmdir()
    assert refusal() == before
    assert f"use a path in {tmp_path / 'root'}" in before
