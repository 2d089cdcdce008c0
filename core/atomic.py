"""Durable writes: a file is the old one or the new one, never half of each, also after kill -9 or a power cut."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LEAST_ROOM_BYTES = 2**20


def fsync_dir(folder: Path) -> None:
    """Flush a directory's entries (creations, renames) to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_full(folder: Path) -> bool:
    """True while its disk has no room for a checkpoint or a line of the queue. A full quota is not seen here."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < LEAST_ROOM_BYTES


def private_mode(folder: Path) -> int:
    """Mode of a file that only the lab reads and writes: for its own account, and for the group or everyone where they
    may write into `folder`, and not only beside others as in /tmp. A group to which `folder` is handed down (setgid)
    reads what it may read there. Raises OSError."""
    found = folder.stat().st_mode
    if found & stat.S_ISVTX:
        return 0o600
    wider = found & (stat.S_IWGRP | stat.S_IWOTH)
    return 0o600 | wider | wider << 1 | (found & stat.S_IRGRP if found & stat.S_ISGID else 0)


def private_folder(folder: Path) -> None:
    """Create a folder that only the lab reads and writes, with its parents; an older one of this account becomes so.

    The group and everyone may enter where they may write into the folder above. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mode = private_mode(folder.parent)
    mode |= mode >> 2 & 0o111
    found = folder.stat()
    if found.st_uid == os.geteuid() and found.st_mode & 0o777 != mode:
        folder.chmod(mode | found.st_mode & stat.S_ISGID)


def open_private(path: Path, flags: int = 0) -> int:
    """A descriptor to read and write the file, see `private_mode`; created when missing, and an older one of this
    account loses what is too wide. A link is refused. flags: beside O_RDWR, O_CREAT and O_CLOEXEC. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    try:
        mode, found = private_mode(path.parent), os.fstat(descriptor)
        if found.st_uid == os.geteuid() and found.st_mode & 0o777 != mode and stat.S_ISREG(found.st_mode):
            os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def follow(descriptor: int, folder: Path) -> None:
    """Give what this account made in `folder` the group's permissions of that folder, whatever the umask, when the
    folder hands its group down (setgid). What several accounts share stays shared; elsewhere nothing changes.

    descriptor: of a file or a folder. A file system that refuses modes keeps its own. Raises OSError when `folder` is
    gone.
    """
    above = folder.stat().st_mode
    if not above & stat.S_ISGID:
        return
    found = os.fstat(descriptor)
    wider = above & 0o070 | stat.S_ISGID if stat.S_ISDIR(found.st_mode) else above & 0o060
    if above & stat.S_ISVTX:  # many write beside one another, none into what another made
        wider &= ~0o020
    if found.st_uid == os.geteuid() and wider & ~found.st_mode:
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) | wider)


def follow_path(path: Path) -> None:
    """`follow` for what lies there; a link, and what this account cannot open, is left alone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            follow(descriptor, path.parent)
        finally:
            os.close(descriptor)


def follow_tree(folder: Path) -> None:
    """`follow_path` for a folder and all that lies in it."""
    follow_path(folder)
    if folder.stat().st_mode & stat.S_ISGID:
        for path in folder.rglob("*"):  # a folder comes before what lies in it
            follow_path(path)


def make_folder(path: Path, *, parents: bool = True) -> None:
    """A folder, and with `parents` those above it that are missing, each as open to the group as the one above, see
    `follow`. One that is there already is left as it is. Raises OSError, FileExistsError for a file of that name.
    """
    if not path.is_dir():
        if parents:
            make_folder(path.parent)
        path.mkdir(exist_ok=True)
        follow_path(path)


def open_followed(path: Path, flags: int) -> int:
    """A descriptor of a file that others may write too, created when missing, see `follow`. A link is refused: who may
    write into the folder must not choose another file. flags: beside O_CREAT, O_CLOEXEC and O_NOFOLLOW. Raises OSError.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        follow(descriptor, path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace `path` by `data`: temporary file beside it, fsync, rename, fsync of the parent.

    durable: False leaves the flushing to the system: safe from kill -9, but after a power cut the file may be the old
    one or empty. For what is written every second and can be missed.
    Raises OSError when the disk is full or the folder cannot be written; `path` is then unchanged.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            follow(file.fileno(), path.parent)
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        fsync_dir(path.parent)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """`write_bytes` for text, UTF-8."""
    write_bytes(path, text.encode(), durable=durable)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """`write_text` of a JSON document; NaN and infinity are refused (ValueError)."""
    write_bytes(path, json_bytes(value), durable=durable)


def json_bytes(value: Any) -> bytes:
    """A JSON document as it is written everywhere here; NaN and infinity are refused (ValueError)."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Create the folder `target` holding `files` (relative path → bytes): whole and flushed, or not at all.

    Raises OSError when the disk is full or `target` exists and is not empty; nothing is left behind then.
    """
    temporary = target.with_name(f".tmp-{target.name}-{uuid.uuid4().hex[:8]}")
    try:
        make_folder(temporary, parents=False)
        folders = {temporary}
        for name, data in files.items():
            path = temporary / name
            make_folder(path.parent)
            folders.add(path.parent)
            with open(path, "wb") as file:
                follow(file.fileno(), path.parent)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for folder in folders:
            fsync_dir(folder)
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_dir(target.parent)


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write, so that concurrent appends and kill -9 never tear a line.

    After a line that a full disk had torn, a new one is begun.
    """
    descriptor = open_followed(path, os.O_RDWR | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data = (("\n" if is_torn else "") + line.rstrip("\n") + "\n").encode()
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, "disk full while appending", str(path))
    finally:
        os.close(descriptor)
