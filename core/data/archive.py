"""A zip archive looked at before anything is unpacked: names that lead out, bombs, links, passwords, overlaps.

Nothing is ever written under a name from an archive: entries are read into memory, one after the other.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from pathlib import Path, PurePosixPath

from core.data.limits import ReadLimits
from core.errors import DataUnavailable, quoted

ARCHIVES = frozenset((".zip", ".npz", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"))
_ENCRYPTED = 0x1
_END, _END64 = struct.Struct("<4s4H2IH"), struct.Struct("<4sQ2H2I4Q")
_LOCATOR_BYTES = 20
_ENTRY = b"PK\x01\x02"
_LOCAL_HEADER = struct.Struct("<4s22xHH")


def open_archive(path: Path, limits: ReadLimits) -> zipfile.ZipFile:
    """An archive whose every entry was checked. Raises DataUnavailable with what is wrong with the first bad one."""
    count = _count(path, limits)
    if count > limits.entries:
        raise DataUnavailable(
            f"{count:,} entries are more than {limits.entries:,}", "put the images into one .npz file"
        )
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged directory raises whatever the parser meets
        reason = "" if isinstance(error, zipfile.BadZipFile) else f" ({type(error).__name__})"
        raise DataUnavailable(
            f"not a zip archive, or a damaged one{reason}", "give a folder, a .zip or an .npz"
        ) from None
    entries = archive.infolist()
    names: set[str] = set()
    for entry in entries:
        check_name(entry.orig_filename, limits)
        problem = _problem(entry, limits)
        if entry.filename in names:
            problem = "is there twice"
        if problem:
            raise DataUnavailable(f"the entry '{quoted(entry.filename)}' {problem}", "pack the images again")
        names.add(entry.filename)
    total = sum(entry.file_size for entry in entries)
    if total > limits.total_bytes:
        raise DataUnavailable(
            f"unpacked it would have {total / 1e9:.1f} GB, more than {limits.total_bytes / 1e9:.0f} GB",
            "import fewer or smaller images",
        )
    _check_overlaps(archive, entries)
    return archive


def check_name(name: str, limits: ReadLimits) -> None:
    """Raises DataUnavailable for a path that leads elsewhere or cannot be shown."""
    parts = PurePosixPath(name).parts
    if not name.isprintable():
        raise DataUnavailable(f"the name '{quoted(name)}' has characters that cannot be shown", "rename it")
    if name.startswith("/") or "\\" in name or ".." in parts or (parts and parts[0].endswith(":")):
        raise DataUnavailable(f"the path '{quoted(name)}' leads out of the set", "pack the images again")
    if len(parts) > limits.depth or len(name) > limits.name_length:
        raise DataUnavailable(f"the path '{quoted(name)}' is too long or too deep", "rename it")


def _count(path: Path, limits: ReadLimits) -> int:
    """Entries in the archive's directory, counted without parsing them: that would take a second for 10^5. 0 when there
    is none. Raises DataUnavailable for a directory larger than any that is accepted."""
    with path.open("rb") as file:
        whole = file.seek(0, os.SEEK_END)
        file.seek(max(0, whole - _END.size - 65_535))
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) < at + _END.size:
            return 0
        size, end = _END.unpack_from(tail, at)[5], whole - len(tail) + at
        at -= _LOCATOR_BYTES + _END64.size
        if at >= 0 and tail.startswith(b"PK\x06\x06", at):
            size, end = _END64.unpack_from(tail, at)[8], whole - len(tail) + at
        if size > limits.entries * limits.name_length:
            raise DataUnavailable(f"its directory has {size / 1e6:,.0f} MB", "put the images into one .npz file")
        file.seek(max(0, end - size))
        return file.read(size).count(_ENTRY)


def _problem(entry: zipfile.ZipInfo, limits: ReadLimits) -> str:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link" if kind == stat.S_IFLNK else "is not an ordinary file"
    if entry.flag_bits & _ENCRYPTED:
        return "is locked with a password"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed in a way that is not read here"
    if Path(entry.filename).suffix.lower() in ARCHIVES:
        return "is an archive inside the archive"
    if entry.file_size > limits.exempt_bytes and entry.file_size > limits.ratio * max(entry.compress_size, 1):
        factor = entry.file_size // max(entry.compress_size, 1)
        return f"would unpack to {factor:,} times its size, more than {limits.ratio} times"
    return ""


def _check_overlaps(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """Entries that share bytes unpack to many times the archive. Source: D. Fifield, A better zip bomb, WOOT 2019."""
    end, before = 0, ""
    file = archive.fp
    assert file is not None
    for entry in sorted(entries, key=lambda found: found.header_offset):
        if entry.header_offset < end:
            raise DataUnavailable(
                f"the entries '{quoted(before)}' and '{quoted(entry.filename)}' share the same bytes",
                "pack the images again",
            )
        file.seek(entry.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise DataUnavailable(f"the entry '{quoted(entry.filename)}' is damaged", "pack the images again")
        _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        end = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length + entry.compress_size
        before = entry.filename
    if end > archive.start_dir:
        raise DataUnavailable(f"the entry '{quoted(before)}' is longer than the archive", "pack the images again")
