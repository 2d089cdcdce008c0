"""An .npz file of pictures: what it must hold, and its arrays, read part by part after their headers were checked."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from core import reading, words
from core.data.archive import open_archive
from core.data.limits import ReadLimits
from core.errors import DataUnavailable, LabError, StorageFull, quoted

CHUNK_BYTES = 16_000_000
MAX_HEADER = 4096
MOST_OWN_BYTES = 2**30
TEXT_BYTES = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an array says of itself; start: bytes before its data."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool
    start: int


class NpzFile:
    """An open .npz whose archive and headers were checked.

    names: of all its arrays. left_out: how many of them are not wanted. wanted: 'large' for the name of an array of
    images, 'small' for another that is read, else ''. arrays: small ones as they are; images only by shape and type,
    as one zero repeated, without a byte of them.
    """

    def __init__(self, archive: zipfile.ZipFile, limits: ReadLimits, wanted: Callable[[str], str]) -> None:
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        self._archive = archive
        self.names = list(entries)
        self._entries = {name: entry for name, entry in entries.items() if wanted(name)}
        self.left_out = len(entries) - len(self._entries)
        self.headers = {
            name: _header(archive, entry, name, limits, wanted(name) == "large")
            for name, entry in self._entries.items()
        }
        self.arrays = {
            name: np.broadcast_to(np.zeros((), header.dtype), header.shape)
            if wanted(name) == "large"
            else self._whole(name)
            for name, header in self.headers.items()
        }

    def on_disk(self, name: str) -> np.ndarray:
        """Pictures as a read-only array over a nameless file in the folder for temporary files, not in memory.

        Raises StorageFull before anything is written, DataUnavailable, OSError.
        """
        header, place = self.headers[name], tempfile.gettempdir()
        left = math.prod(header.shape) * header.dtype.itemsize
        if left > (free := shutil.disk_usage(place).free):
            raise StorageFull(f"unpacked it has {words.size(left)}, {place} has {words.size(free)} free")
        with tempfile.TemporaryFile() as spool, self._data(name) as file:
            while left:
                left -= spool.write(_exactly(file, min(left, CHUNK_BYTES)))
            spool.flush()
            order: Any = "F" if header.is_fortran else "C"
            return np.asarray(np.memmap(spool, dtype=header.dtype, mode="r", shape=header.shape, order=order))

    @contextlib.contextmanager
    def _data(self, name: str) -> Iterator[IO[bytes]]:
        with self._archive.open(self._entries[name]) as file:
            file.read(self.headers[name].start)
            yield file

    def _whole(self, name: str) -> np.ndarray:
        with self._archive.open(self._entries[name]) as file:
            return np.lib.format.read_array(file, allow_pickle=False, max_header_size=MAX_HEADER)


@contextlib.contextmanager
def opened_npz(path: Path, limits: ReadLimits, wanted: Callable[[str], str]) -> Iterator[NpzFile]:
    """The file, of whose arrays those that are `wanted` are read, until the block ends.

    Raises DataUnavailable for what is no archive, a hostile one, or odd arrays.
    """
    with reading.open_regular(path, limit=0) as file:
        if file.read(6) == b"\x93NUMPY":
            raise DataUnavailable("it is a single array", "save it with numpy.savez(images=, labels=)")
    with open_archive(path, limits) as archive:
        yield NpzFile(archive, limits, wanted)


def arrays_in(
    source: Path | IO[bytes], names: Sequence[str] = (), *, most_bytes: int = MOST_OWN_BYTES
) -> dict[str, np.ndarray]:
    """Arrays of an .npz of the lab's own kind, all of them or those named; most_bytes: of all of them, unpacked.

    Each header's claim is compared with what is there before memory is taken. Raises OSError, DataUnavailable for
    anything damaged, KeyError for a name that is not there.
    """
    try:
        with contextlib.ExitStack() as opened:
            file = opened.enter_context(reading.open_regular(source)) if isinstance(source, Path) else source
            archive = opened.enter_context(zipfile.ZipFile(file))
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            wanted = {name: entries[name] for name in names or entries}
            if sum(entry.file_size for entry in wanted.values()) > most_bytes:
                raise DataUnavailable(f"its arrays have more than {most_bytes / 1e6:,.0f} MB")
            for name, entry in wanted.items():
                with archive.open(entry) as data:
                    checked_header(data, entry.file_size, name)
            found = {}
            for name, entry in wanted.items():
                with archive.open(entry) as data:
                    found[name] = np.lib.format.read_array(data, allow_pickle=False, max_header_size=MAX_HEADER)
            return found
    except (OSError, KeyError, DataUnavailable):
        raise
    except Exception as error:  # a damaged archive raises whatever its parsers meet
        raise DataUnavailable(f"it is not an archive of arrays ({quoted(error, 120)})") from None


def read_npz(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file, or None when it is missing or damaged; nothing in it can run code."""
    try:
        return arrays_in(path)
    except (OSError, LabError):
        return None


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the bytes of a compressed npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def npz_problem(arrays: Mapping[str, np.ndarray]) -> str:
    """What is wrong with the arrays, in words; '' when nothing is."""
    missing = [name for name in ("images", "labels") if name not in arrays]
    if "test_images" in arrays and "test_labels" not in arrays:
        missing.append("test_labels")
    if missing:
        return f"there is no array '{missing[0]}'"
    names = arrays.get("class_names")
    if names is not None and (names.ndim != 1 or names.dtype.kind not in "US"):
        return f"'class_names' must be a list of texts, got {names.dtype} {names.shape}"
    for prefix in ("", "test_") if "test_images" in arrays else ("",):
        problem = _split_problem(arrays[f"{prefix}images"], arrays[f"{prefix}labels"], prefix)
        if problem:
            return problem
    top = len(arrays["labels"] if names is None else names) - 1
    for name in ("labels", "test_labels"):
        if name in arrays and int(arrays[name].max()) > top:
            return f"'{name}' must be 0 to {top}, got {arrays[name].max()}"
    return ""


def _split_problem(images: np.ndarray, labels: np.ndarray, prefix: str) -> str:
    if images.dtype != np.uint8:
        return f"'{prefix}images' must be uint8 with values 0 to 255, got {images.dtype}"
    if images.ndim not in (3, 4) or 0 in images.shape[1:] or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        return f"'{prefix}images' must be (N, height, width) or (N, height, width, 1 or 3), got {images.shape}"
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        return f"'{prefix}labels' must be whole numbers of shape (N,), got {labels.dtype} {labels.shape}"
    if len(labels) != len(images):
        return f"{len(images)} {prefix}images but {len(labels)} {prefix}labels"
    if not len(labels):
        return f"'{prefix}images' holds no images"
    return f"'{prefix}labels' must be 0 or more, got {labels.min()}" if int(labels.min()) < 0 else ""


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, limits: ReadLimits, is_large: bool) -> Header:
    with archive.open(entry) as file:
        found = checked_header(file, entry.file_size, name)
    if not is_large and entry.file_size > TEXT_BYTES + 8 * limits.pictures:
        raise DataUnavailable(f"'{name}' has {entry.file_size / 1e6:,.0f} MB, which is too much for it")
    return found


def checked_header(file: IO[bytes], size: int, name: str) -> Header:
    """Of an array of `size` bytes, after its claim was compared with what is there. Raises DataUnavailable."""
    try:
        version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(file, max_header_size=MAX_HEADER)  # type: ignore[arg-type]
        start = file.tell()
    except (MemoryError, OSError):
        raise
    except Exception as error:  # a damaged header raises whatever the parser meets
        first = (str(error).splitlines() or [""])[0]
        raise DataUnavailable(f"'{name}' is not a readable array ({quoted(first)})") from None
    if dtype.hasobject:
        raise DataUnavailable(f"'{name}' holds Python objects, which are never read", "save it as numbers")
    claimed = math.prod(shape) * dtype.itemsize
    if any(side < 0 for side in shape) or claimed != size - start:
        raise DataUnavailable(
            f"'{name}' claims {claimed:,} bytes {tuple(shape)} but holds {size - start:,}", "save it again"
        )
    return Header(shape=tuple(shape), dtype=dtype, is_fortran=is_fortran and len(shape) > 1, start=start)


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise DataUnavailable("its images end too early", "save it again")
    return data
