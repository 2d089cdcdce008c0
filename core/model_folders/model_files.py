"""A model folder as plain bytes: read once, following no link, and refused unless it can only be data.

Weights are safetensors and nothing else: a pickle (`.bin`, `.pt`, `.ckpt`) runs code of whoever made it when it is
opened. Sizes, shapes and names are read from the header before a tensor is made. Never imports torch.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import reading
from core.errors import LabError, quoted

MAX_FILES = 64
MAX_DEPTH = 3
MAX_TEXT_BYTES = 2 * 2**20
MAX_PICTURE_BYTES = 32 * 2**20
MAX_TOTAL_BYTES = 2 * 2**30  # of all files together: some 500 million numbers in single precision
MAX_WEIGHTS_BYTES = MAX_TOTAL_BYTES
MAX_HEADER_BYTES = 4 * 2**20
MAX_TENSORS = 4096
WEIGHTS = ".safetensors"
_MOST_BYTES = {
    ".json": MAX_TEXT_BYTES,
    ".yaml": MAX_TEXT_BYTES,
    ".md": MAX_TEXT_BYTES,
    ".txt": MAX_TEXT_BYTES,
    "": MAX_TEXT_BYTES,
    ".png": MAX_PICTURE_BYTES,
    ".webp": MAX_PICTURE_BYTES,
    ".jpg": MAX_PICTURE_BYTES,
    WEIGHTS: MAX_WEIGHTS_BYTES,
}
_CAN_RUN_CODE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".py", ".pyc", ".so", ".h5", ".msgpack", ".npy")
_DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}


class ModelRefused(LabError):
    """A model folder that is damaged, not ours to read, or made to do harm."""


@dataclass(frozen=True, kw_only=True)
class TensorHeader:
    """What a safetensors file says about one tensor before it is made."""

    dtype: str
    shape: tuple[int, ...]


def read_model_files(
    folder: Path, *, most: int = MAX_TOTAL_BYTES, sized: Callable[[int], object] = lambda total: None
) -> dict[str, bytes]:
    """Every file of a model folder, relative path → bytes. Hidden files are left out; a link is never followed.

    most: bytes of all files together. sized: told how many they are before the first is read. Raises ModelRefused, in
    one sentence, for a link, a pipe or device, a kind of file that can run code, an unknown kind, too many or too large
    files, and a folder that cannot be read.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise ModelRefused(f"{quoted(folder)}: is not a folder", "give the folder that holds model_index.json")
    files: dict[str, bytes] = {}
    try:
        paths = _walk(root, root, 0)
        if len(paths) > MAX_FILES:
            raise ModelRefused(f"{quoted(folder.name)}: holds more than {MAX_FILES} files", "this is not a model")
        for path in paths:
            check_kind(path.relative_to(root).as_posix(), path.lstat().st_size)
        sized(check_total(folder.name, sum(path.lstat().st_size for path in paths), most))
        for path in paths:
            name = path.relative_to(root).as_posix()
            files[name] = read_file(path, name)
            check_total(folder.name, sum(map(len, files.values())), most)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelRefused(f"{quoted(folder.name)}: cannot be read: {quoted(reason)}") from None
    return files


def _walk(root: Path, folder: Path, depth: int) -> list[Path]:
    found: list[Path] = []
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    if len(entries) > 4 * MAX_FILES:
        raise ModelRefused(f"{quoted(root.name)}: holds {len(entries)} files in one folder", "this is not a model")
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = Path(entry.path).relative_to(root).as_posix()
        if entry.is_symlink():
            raise ModelRefused(
                f"{quoted(name)}: is a link", "copy the files themselves; a download takes local_dir=... for this"
            )
        if entry.is_dir():
            if depth + 1 >= MAX_DEPTH:
                raise ModelRefused(f"{quoted(name)}: folders are nested deeper than {MAX_DEPTH}", "this is not a model")
            found += _walk(root, Path(entry.path), depth + 1)
        else:
            found.append(Path(entry.path))
    return found


def check_total(where: str, total_bytes: int, most: int) -> int:
    """The total itself. Raises ModelRefused when all files together are more than `most` bytes."""
    if total_bytes > most:
        raise ModelRefused(
            f"{quoted(where)}: all files together are {total_bytes / 1e6:,.0f} MB",
            f"a model may have {most / 1e6:,.0f} MB here",
        )
    return total_bytes


def check_kind(name: str, size_bytes: int) -> None:
    """Raises ModelRefused for a kind of file that can run code, that no model needs, or that is too large."""
    suffix = Path(name).suffix.lower()
    if suffix in _CAN_RUN_CODE:
        raise ModelRefused(
            f"{quoted(name)}: files of this kind can run code of whoever made them",
            f"only {WEIGHTS} weights are accepted",
        )
    if suffix not in _MOST_BYTES:
        raise ModelRefused(f"{quoted(name)}: a model does not need files of this kind", "take it out of the folder")
    if size_bytes > _MOST_BYTES[suffix]:
        raise ModelRefused(f"{quoted(name)}: is larger than {_MOST_BYTES[suffix]:,} bytes")


def read_file(path: Path, name: str) -> bytes:
    """One ordinary file, following no link; `name` is what a refusal calls it. Raises ModelRefused, OSError."""
    check_kind(name, 0)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ModelRefused(f"{quoted(name)}: is not an ordinary file", "take it out of the folder")
        check_kind(name, facts.st_size)
        return file.read(facts.st_size)


def json_object(files: dict[str, bytes], name: str) -> dict[str, Any]:
    """A JSON object of the folder. Raises ModelRefused when it is missing, damaged, or nested to exhaust a reader."""
    if name not in files:
        raise ModelRefused(f"{quoted(name)}: is missing", "give the whole folder, as it was exported")
    try:
        return reading.json_object(files[name], name)
    except reading.Unreadable as error:
        raise ModelRefused(error.message) from None


def tensor_headers(data: bytes, name: str) -> dict[str, TensorHeader]:
    """What a safetensors file says it holds, checked against its size. Makes no tensor.

    Raises ModelRefused for a pickle or an archive under that name, a header that is huge or no JSON, and tensors that
    do not fill the file exactly.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 10 or size > MAX_HEADER_BYTES or size > len(data) - 8 or data[8:9] != b"{":
        raise ModelRefused(f"{quoted(name)}: {_what_else(data, size)}", f"only {WEIGHTS} weights are accepted")
    try:
        header = reading.json_object(data[8 : 8 + size], "its header")
        entries = {key: value for key, value in header.items() if key != "__metadata__"}
        if len(entries) > MAX_TENSORS:
            raise ValueError(f"it names {len(entries):,} tensors")
        found = {key: _header(value) for key, value in entries.items()}
        spans = sorted(tuple(value["data_offsets"]) for value in entries.values())
        if [start for start, _ in spans] != [0, *(end for _, end in spans)][: len(spans)]:
            raise ValueError("its tensors overlap or leave gaps")
        stored = len(data) - 8 - size
        if spans and spans[-1][1] != stored:
            raise ValueError(f"it holds {stored:,} bytes of numbers, but its header says {spans[-1][1]:,}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelRefused(f"{quoted(name)}: is damaged: {quoted(error, 160)}") from None
    return found


def _header(value: Any) -> TensorHeader:
    shape, (start, end) = value["shape"], value["data_offsets"]
    numbers = [*shape, start, end]
    if not all(isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**48 for number in numbers):
        raise ValueError("a shape or an offset is not a count")
    if value["dtype"] not in _DTYPE_BYTES:
        raise ValueError(f"numbers of type {quoted(value['dtype'], 20)} are not accepted")
    if len(shape) > 6 or math.prod(shape) * _DTYPE_BYTES[value["dtype"]] != end - start:
        raise ValueError("a tensor's shape does not fit its bytes")
    return TensorHeader(dtype=value["dtype"], shape=tuple(shape))


def _what_else(data: bytes, size: int) -> str:
    """What a file that is no safetensors seems to be."""
    if data[:2] == b"PK":
        return "is an archive such as PyTorch's pickles, whatever its name says"
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "is a pickle, whatever its name says"
    if size > MAX_HEADER_BYTES:
        return f"is not safetensors: it announces a header of {size:,} bytes"
    return "is truncated or no safetensors"
