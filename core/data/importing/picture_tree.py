"""Pictures by split and class, found in a folder or in a zip archive that may both be hostile."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core.data.archive import ARCHIVES, check_name, open_archive
from core.data.decoding import SPLIT_NAMES, SUFFIXES, natural_key
from core.data.limits import ReadLimits
from core.errors import DataUnavailable, quoted

HIDDEN = "hidden files and folders"
SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
TRAIN_NAMES = frozenset(("train", "training"))


@dataclass(frozen=True, kw_only=True)
class Member:
    """One picture file: its path inside the set, and how to get its bytes."""

    path: str
    read: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Classes in natural order with their pictures; heldout None = no test split of its own. left_out: how many other
    files of each kind."""

    train: dict[str, list[Member]]
    heldout: dict[str, list[Member]] | None
    left_out: Mapping[str, int]


def folder_tree(root: Path, limits: ReadLimits) -> Tree:
    """The tree of a folder. Links are refused: what they point to is not part of it."""
    members: list[Member] = []
    directories: list[str] = []
    left_out: Counter[str] = Counter()
    total = 0
    for path, entry in _walk(root, limits, left_out):
        if entry.is_dir(follow_symlinks=False):
            directories.append(path)
        elif _is_picture(path):
            size = entry.stat(follow_symlinks=False).st_size
            total += size
            _check_size(path, size, total, limits)
            members.append(Member(path=path, read=_file_reader(root / path)))
        else:
            left_out[kind_left_out(path)] += 1
    return _sorted(members, directories, left_out, limits)


def zip_tree(path: Path, limits: ReadLimits) -> tuple[zipfile.ZipFile, Tree]:
    """The archive, to be closed by the caller, and its tree."""
    archive = open_archive(path, limits)
    members: list[Member] = []
    directories: list[str] = []
    left_out: Counter[str] = Counter()
    for entry in archive.infolist():
        if entry.is_dir():
            directories.append(entry.filename.rstrip("/"))
        elif _is_picture(entry.filename):
            _check_size(entry.filename, entry.file_size, 0, limits)
            members.append(Member(path=entry.filename, read=_entry_reader(archive, entry)))
        else:
            left_out[kind_left_out(entry.filename)] += 1
    return archive, _sorted(members, directories, left_out, limits)


def _walk(root: Path, limits: ReadLimits, left_out: Counter[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    waiting, count = [""], 0
    while waiting:
        inside = waiting.pop()
        with os.scandir(root / inside) as found:
            for entry in found:
                path = f"{inside}/{entry.name}" if inside else entry.name
                count += 1
                if count > limits.entries:
                    raise DataUnavailable(
                        f"more than {limits.entries:,} files and directories",
                        "put the images into one .npz file, or train on the folder itself with data.path",
                    )
                if entry.name.startswith((".", "__")):
                    left_out[HIDDEN] += 1
                    continue
                check_name(path, limits)
                if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
                    kind = "a link" if entry.is_symlink() else "no ordinary file"
                    raise DataUnavailable(f"'{quoted(path)}' is {kind}", "copy the images themselves there")
                if entry.is_dir():
                    waiting.append(path)
                elif Path(path).suffix.lower() in ARCHIVES:
                    raise DataUnavailable(f"'{quoted(path)}' is an archive", "unpack it or remove it")
                yield path, entry


def kind_left_out(path: str) -> str:
    """Why a file is no part of a dataset: it is hidden, or of the type that its suffix names."""
    if any(part.startswith((".", "__")) for part in PurePosixPath(path).parts):
        return HIDDEN
    suffix = PurePosixPath(path).suffix.lower()
    return f"{suffix} files" if SUFFIX.fullmatch(suffix) else "files without a known suffix"


def _is_picture(path: str) -> bool:
    hidden = any(part.startswith((".", "__")) for part in PurePosixPath(path).parts)
    return not hidden and Path(path).suffix.lower() in SUFFIXES


def _check_size(path: str, size: int, total: int, limits: ReadLimits) -> None:
    if size > limits.file_bytes:
        raise DataUnavailable(
            f"'{quoted(path)}' has {size / 1e6:,.0f} MB, more than {limits.file_bytes / 1e6:.0f} MB", "make it smaller"
        )
    if total > limits.total_bytes:
        raise DataUnavailable(
            f"its images have more than {limits.total_bytes / 1e9:.0f} GB", "import fewer or smaller images"
        )


def _file_reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DataUnavailable(f"'{quoted(path.name)}' is not an ordinary file", "remove it")
            return file.read()

    return read


def _entry_reader(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with archive.open(entry) as file:
                return file.read(entry.file_size)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # damaged entries raise whatever the parser meets
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise DataUnavailable(
                f"'{quoted(entry.filename)}' is damaged ({quoted(reason)})", "pack it again"
            ) from None

    return read


def _sorted(members: list[Member], directories: list[str], left_out: Mapping[str, int], limits: ReadLimits) -> Tree:
    """Split and class from the paths. One directory around everything is looked through."""
    if not members:
        raise DataUnavailable("there are no images in it", "it needs one directory per class, with images inside")
    parts = {member.path: PurePosixPath(member.path).parts for member in members}
    shown = [PurePosixPath(path).parts for path in directories if not path.startswith((".", "__"))]
    skip = 0
    tops = {path[0] for path in parts.values()} | {path[0] for path in shown}
    if len(tops) == 1 and min(map(len, parts.values())) >= 3:
        skip = 1
    tops = {path[skip] for path in parts.values() if len(path) > skip + 1}
    is_split = {top.lower() for top in tops} <= SPLIT_NAMES and min(map(len, parts.values())) >= skip + 3
    train: dict[str, list[Member]] = {}
    heldout: dict[str, list[Member]] = {}
    for path in shown:  # a class without pictures is known by its directory alone
        if len(path) == skip + 1 + is_split and (not is_split or path[skip].lower() in SPLIT_NAMES):
            _side(path[skip], is_split, train, heldout).setdefault(path[skip + is_split], [])
    for member in members:
        path = parts[member.path]
        if len(path) < skip + 2 + is_split:
            raise DataUnavailable(
                f"'{quoted(member.path)}' is in no class directory",
                "it needs one directory per class, with images inside",
            )
        _side(path[skip], is_split, train, heldout).setdefault(path[skip + is_split], []).append(member)
    for where, classes in (("", train), (" of the test split", heldout)):
        empty = [name for name, found in classes.items() if not found]
        if empty:
            raise DataUnavailable(f"the class '{quoted(empty[0])}'{where} has no images", "fill or remove it")
    if not train:
        raise DataUnavailable("it holds a test split alone", "name the directory to learn from 'train'")
    foreign = sorted(set(heldout) - set(train))
    if foreign:
        raise DataUnavailable(f"the class '{quoted(foreign[0])}' is in the test split alone", "add it to 'train' too")
    if len(train) > limits.classes:
        raise DataUnavailable(f"{len(train):,} classes are more than {limits.classes:,}", "join some directories")
    ordered = {name: _by_name(train[name]) for name in sorted(train, key=natural_key)}
    tested = {name: _by_name(heldout[name]) for name in ordered if name in heldout} if heldout else None
    return Tree(train=ordered, heldout=tested, left_out=left_out)


def _side(
    top: str, is_split: bool, train: dict[str, list[Member]], heldout: dict[str, list[Member]]
) -> dict[str, list[Member]]:
    return train if not is_split or top.lower() in TRAIN_NAMES else heldout


def _by_name(members: list[Member]) -> list[Member]:
    return sorted(members, key=lambda member: natural_key(member.path))
