"""Every file of a folder or a zip archive, which may both be hostile, sorted into images, tables and the rest."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from core import reading
from core.data.archive import check_name, open_archive
from core.data.decoding import UNREAD_SUFFIXES, WIDE_SUFFIXES
from core.data.limits import ReadLimits
from core.data.reader.names import (
    HIDDEN,
    IDX,
    THUMBNAILS,
    holds_thumbnails,
    is_array_file,
    is_hidden,
    kind_of_file,
    suffix_of,
)
from core.errors import DataUnavailable, quoted
from core.typed_paths import inside

TABLES = frozenset((".csv", ".tsv", ".jsonl"))
_MAYBE_SKIPPED = re.compile(r"(?:^|/)(?:[.$@]|__|_?thumb)", re.IGNORECASE).search  # at 10^5 paths a tenth of the time
CIRCLES = "links to a directory around them"


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a set: its path inside it, with slashes, and how to get its bytes. in_place: it is of data.path."""

    path: str
    read: Callable[[], bytes]
    in_place: bool = False

    @property
    def where(self) -> str:
        """How a sentence about it begins."""
        return quoted(self.path, 200) if self.in_place else f"'{quoted(self.path)}'"


@dataclass(kw_only=True)
class Listing:
    """images, tables and files of arrays in no order; directories: all but hidden ones; others: directories that hold
    files of other kinds, anywhere below; unread: those with images in a format that is not read. left_out: kind → how
    many."""

    images: list[Member] = field(default_factory=list)
    tables: list[Member] = field(default_factory=list)
    arrays: list[Member] = field(default_factory=list)
    directories: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)

    def add_parents(self, path: str) -> None:
        """The directories that a file of an archive lies in."""
        while (path := path.rpartition("/")[0]) and path not in self.directories:
            self.directories.add(path)

    def take(self, path: str, read: Callable[[], bytes], *, in_place: bool = False) -> None:
        """Sort one file that is not hidden."""
        suffix = suffix_of(path)
        if suffix in WIDE_SUFFIXES:
            self.images.append(Member(path, read, in_place))
            return
        if suffix in TABLES:
            self.tables.append(Member(path, read, in_place))
        elif is_array_file(path):
            self.arrays.append(Member(path, read, in_place))
        else:
            self.left_out[kind_of_file(path)] += 1
        into = self.unread if suffix in UNREAD_SUFFIXES else self.others
        into.update(str(parent) for parent in PurePosixPath(path).parents)


def list_folder(root: Path, limits: ReadLimits, *, follow: bool) -> Listing:
    """The files of a folder. follow: links count as what they lead to, within limits.roots; else they are refused.

    Without `follow` sizes and names are checked too: the set is going to be stored. Raises DataUnavailable.
    """
    found = Listing()
    roots = [Path(each) for each in limits.roots]
    waiting, count, total = [""], 0, 0
    while waiting:
        below = waiting.pop()
        with os.scandir(root / below) as entries:
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                count += 1
                if count > limits.entries:
                    raise DataUnavailable(
                        f"more than {limits.entries:,} files and directories",
                        "put the images into one .npz file" + ("" if follow else ", or train on it with data.path"),
                    )
                is_directory = entry.is_dir(follow_symlinks=follow)
                if is_hidden(entry.name, is_directory=is_directory):
                    found.left_out[HIDDEN] += 1
                    continue
                if is_directory and holds_thumbnails(entry.name):
                    found.left_out[THUMBNAILS] += 1
                    continue
                if not follow:
                    check_name(path, limits)
                    total += _checked_size(entry, path, total, limits)
                elif entry.is_symlink() and roots:
                    inside(root / path, roots, where="data.path: ")
                if not is_directory:
                    found.take(path, _file_reader(f"{root}/{path}", path, follow=follow), in_place=follow)
                    continue
                if entry.is_symlink() and _leads_around(root / path):
                    found.left_out[CIRCLES] += 1
                    continue
                found.directories.add(path)
                waiting.append(path)
    return found


def list_beside(path: Path, limits: ReadLimits, *, follow: bool) -> Listing:
    """A single file: a table of pixels, Parquet, or an IDX file with those that belong to it."""
    found = Listing()
    names = [path.name]
    if IDX.search(path.name):
        names = sorted(entry.name for entry in path.parent.iterdir() if IDX.search(entry.name))
    for name in names:
        found.take(name, _file_reader(f"{path.parent}/{name}", name, follow=follow), in_place=follow)
    return found


def list_zip(path: Path, limits: ReadLimits) -> Listing:
    """The files of an archive, which stays open as long as one of them can be read. Raises as `open_archive` does."""
    found = Listing()
    skipped: set[str] = set()
    archive = open_archive(path, limits)
    for entry in archive.infolist():
        name = entry.filename.rstrip("/")
        kind, top = _skipped(name, is_directory=entry.is_dir())
        if kind:
            found.left_out[kind] += top not in skipped
            skipped.add(top)
            found.add_parents(top)
            continue
        if entry.is_dir():
            found.directories.add(name)
            continue
        if entry.file_size > limits.file_bytes and suffix_of(name) in WIDE_SUFFIXES:
            raise DataUnavailable(_too_large(name, limits), "make it smaller")
        found.add_parents(name)
        found.take(name, _entry_reader(archive, entry))
    return found


def _skipped(path: str, *, is_directory: bool) -> tuple[str, str]:
    """(kind, the part of the path that is hidden) of what is hidden or lies in something hidden, else ('', '')."""
    if not _MAYBE_SKIPPED(path):
        return "", ""
    parts = path.split("/")
    for place, part in enumerate(parts):
        is_inner = is_directory or place + 1 < len(parts)
        if is_hidden(part, is_directory=is_inner):
            return HIDDEN, "/".join(parts[: place + 1])
        if is_inner and holds_thumbnails(part):
            return THUMBNAILS, "/".join(parts[: place + 1])
    return "", ""


def _leads_around(link: Path) -> bool:
    """Whether a link to a directory leads to one that it lies in."""
    return Path(os.path.realpath(link.parent)).is_relative_to(os.path.realpath(link))


def _checked_size(entry: os.DirEntry[str], path: str, total: int, limits: ReadLimits) -> int:
    if entry.is_symlink() or not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
        kind = "a link" if entry.is_symlink() else "not an ordinary file"
        raise DataUnavailable(f"'{quoted(path)}' is {kind}", "copy the images themselves there")
    if entry.is_dir(follow_symlinks=False) or suffix_of(path) not in WIDE_SUFFIXES:
        return 0
    size = entry.stat(follow_symlinks=False).st_size
    if size > limits.file_bytes:
        raise DataUnavailable(_too_large(path, limits), "make it smaller")
    if total + size > limits.total_bytes:
        words = f"its images have more than {limits.total_bytes / 1e9:.0f} GB"
        raise DataUnavailable(words, "import fewer or smaller images")
    return size


def _too_large(path: str, limits: ReadLimits) -> str:
    return f"'{quoted(path)}' has more than {limits.file_bytes / 1e6:.0f} MB"


def _file_reader(file: str, path: str, *, follow: bool) -> Callable[[], bytes]:
    def read() -> bytes:
        if follow:
            try:
                with reading.open_regular(Path(file), limit=0) as opened:
                    return opened.read()
            except reading.Unreadable:
                raise DataUnavailable(f"{quoted(path, 200)}: not an ordinary file", "remove it") from None
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DataUnavailable(f"'{quoted(path)}' is not an ordinary file", "remove it")
            return opened.read()

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
