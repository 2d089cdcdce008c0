"""Array files that are written part by part, hashed on the way, and checked when they are opened."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np


class ArrayWriter:
    """Writes a .npy file of a known shape part by part and flushes it to disk. `facts` at the end: sha256 over type,
    shape and contents, size_bytes, mtime_ns. (Writing through a memory map would die of SIGBUS on a full disk.)
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.dtype, self.shape = path, dtype, shape
        self.hash = _new_hash(shape, dtype)
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> ArrayWriter:
        self.file = open(self.path, "wb")
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self.file, header)
        return self

    def write(self, part: np.ndarray) -> None:
        """Append rows."""
        data = np.ascontiguousarray(part, dtype=self.dtype).data
        self.file.write(data)
        self.hash.update(data)

    def __exit__(self, kind: object, *_: object) -> None:
        with self.file:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
        stat = self.path.stat()
        self.facts = {"sha256": self.hash.hexdigest(), "size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def open_array(path: Path, facts: dict[str, Any], *, memory_mapped: bool) -> np.ndarray:
    """A read-only array that ArrayWriter wrote; `facts` are the writer's.

    Contents are hashed again only when the modification time is another (a copied cache, or damage).
    Raises OSError or ValueError when the file is not what was written.
    """
    stat = path.stat()
    if stat.st_size != facts["size_bytes"]:
        raise ValueError(f"{path.name} has another size")
    array = read_npy(path, memory_mapped=memory_mapped)
    if stat.st_mtime_ns != facts["mtime_ns"] and _hash_of(array) != facts["sha256"]:
        raise ValueError(f"{path.name} was altered")
    array.setflags(write=False)
    return array


def read_npy(path: Path, *, memory_mapped: bool = False) -> np.ndarray:
    """An array of the lab's own caches. Raises OSError, and ValueError for whatever else a damaged file raises."""
    try:
        found: np.ndarray = np.load(path, mmap_mode="r" if memory_mapped else None, allow_pickle=False)
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise ValueError(f"{path.name} is not a readable array: {type(error).__name__}") from None
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{path.name} is an archive, no array")
    return found


def _new_hash(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    return hashlib.sha256(f"{dtype.str}{list(shape)}".encode())


def _hash_of(array: np.ndarray, chunk: int = 4096) -> str:
    digest = _new_hash(array.shape, array.dtype)
    for start in range(0, len(array), chunk):
        digest.update(np.ascontiguousarray(array[start : start + chunk]).data)
    return str(digest.hexdigest())
