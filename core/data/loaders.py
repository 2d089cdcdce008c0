"""Loaders of published sets (torchvision, scikit-learn) and of .npz files. Heavy imports happen inside."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core import atomic
from core.config.schema import DataSettings
from core.data.limits import OWN_LIMITS, ReadLimits
from core.data.raw import RawSet, RawSplit, array_split, own_path
from core.data.reader.array_sets import npz_parts, raw_arrays
from core.data.reader.reading_of_set import answered
from core.errors import DataUnavailable, LabError, StorageFull, is_full_disk
from core.rules import NEWEST, Rules
from core.runs.lock import try_lock
from core.typed_paths import FILE

DOWNLOAD_PATIENCE_S = 1800.0
SOCKET_TIMEOUT_S = 30.0
ARCHIVES = (".gz", ".zip")


@dataclass(frozen=True, kw_only=True)
class TorchvisionLoader:
    """A set of torchvision.datasets, read from the files that torchvision keeps; the folder may be read-only.

    open(datasets, root, train, download): calls the constructor; `datasets` is the module. paths: the files, relative
    to the data folder. class_names: None = the names inside the files.
    """

    open: Callable[[Any, str, bool, bool], Any]
    paths: tuple[str, ...]
    class_names: tuple[str, ...] | None
    first_label: int = 0
    transposed: bool = False
    channels_first: bool = False

    def files(self, settings: DataSettings, data_dir: Path) -> list[Path]:
        """The files that must be in the data folder."""
        return [data_dir / path for path in self.paths]

    def fetch(self, data_dir: Path) -> None:
        """Download into the data folder. Each file appears whole; another process that downloads is waited for.

        A folder that nobody may write to is left alone, also by root. Raises DataUnavailable or StorageFull.
        """
        existed = data_dir.is_dir()
        if existed and not data_dir.stat().st_mode & 0o222:
            raise DataUnavailable("that folder is read-only, so nothing is downloaded into it")
        temporary = data_dir / f".download-{Path(self.paths[0]).name}"
        lock = None
        try:
            atomic.make_folder(data_dir)
            lock = try_lock(temporary.with_suffix(".lock"), patience_s=DOWNLOAD_PATIENCE_S)
            if lock is None:
                raise DataUnavailable(f"another process has been downloading into {data_dir} for too long")
            if all((data_dir / path).is_file() for path in self.paths):
                return
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            self.download(temporary)
            for path in [path for path in temporary.rglob("*") if path.suffix not in ARCHIVES and path.is_file()]:
                target = data_dir / path.relative_to(temporary)
                atomic.make_folder(target.parent)
                os.replace(path, target)
                atomic.follow_path(target)
        except DataUnavailable:
            raise
        except Exception as error:  # network, archive and disk raise whatever they like
            if is_full_disk(error):
                raise StorageFull(f"disk full while downloading into {data_dir}") from None
            raise DataUnavailable(f"could not be downloaded ({_in_words(error)})") from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            if lock:
                lock.path.unlink(missing_ok=True)
                lock.release()
            if not existed:
                _remove_if_empty(data_dir)

    def load(self, settings: DataSettings, data_dir: Path) -> RawSet:
        """Both splits."""
        try:
            parts = [self.open(torchvision_datasets(), str(data_dir), train, False) for train in (True, False)]
            names = self.class_names or tuple(str(name) for name in parts[0].classes)
            train, heldout = (self._split(part) for part in parts)
        except Exception as error:  # a damaged file raises whatever its parser meets
            raise self._unreadable(settings, data_dir, error) from None
        return RawSet(train=train, heldout=heldout, class_names=names)

    def _unreadable(self, settings: DataSettings, data_dir: Path, error: Exception) -> DataUnavailable:
        return DataUnavailable(
            f"data.name: '{settings.name}' in {data_dir} cannot be read ({_in_words(error)})",
            "remove its files there and fetch it again",
        )

    def _split(self, part: Any) -> RawSplit:
        images = np.asarray(part.data)
        labels = np.asarray(part.targets if hasattr(part, "targets") else part.labels)
        labels = labels[:, 0] if labels.ndim == 2 else labels  # QMNIST: class, then where the digit came from
        if self.channels_first:
            images = images.transpose(0, 2, 3, 1)
        if self.transposed:
            images = images.swapaxes(1, 2)
        return array_split(images, labels.astype(np.int64) - self.first_label)

    def download(self, folder: Path) -> None:
        """Both splits and their archives, from torchvision's addresses. Raises whatever network and disk raise."""
        import socket

        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(SOCKET_TIMEOUT_S)  # torchvision offers no other way to give up on a silent network
        try:
            for train in (True, False):
                self.open(torchvision_datasets(), str(folder), train, True)
        finally:
            socket.setdefaulttimeout(before)


@dataclass(frozen=True, kw_only=True)
class IdxLoader(TorchvisionLoader):
    """A set whose `paths` are the four idx files of MNIST, read without torchvision, which would import PyTorch."""

    def load(self, settings: DataSettings, data_dir: Path) -> RawSet:
        """Both splits."""
        try:
            arrays = [_read_idx(data_dir / path) for path in self.paths]
            train, heldout = (array_split(images, labels) for images, labels in (arrays[:2], arrays[2:]))
        except Exception as error:
            raise self._unreadable(settings, data_dir, error) from None
        assert self.class_names is not None
        return RawSet(train=train, heldout=heldout, class_names=self.class_names)


def _read_idx(path: Path) -> np.ndarray:
    """An array of bytes in MNIST's format: 0, 0, 8, dimensions, and each size in four bytes. Raises ValueError."""
    data = np.fromfile(path, dtype=np.uint8)
    if data[:3].tolist() != [0, 0, 8] or len(data) < 4 + 4 * data[3]:
        raise ValueError(f"{path.name} is not an idx file of bytes")
    start = 4 + 4 * int(data[3])
    return data[start:].reshape(data[4:start].view(">u4"))


@dataclass(frozen=True, kw_only=True)
class DigitsLoader:
    """scikit-learn's digits: inside the package, so always there. No test split."""

    def files(self, settings: DataSettings, data_dir: Path) -> list[Path]:
        """None: nothing to fetch."""
        return []

    def load(self, settings: DataSettings, data_dir: Path) -> RawSet:
        """1797 pictures 8×8; 17 grey values become 0 to 255."""
        from sklearn.datasets import load_digits

        source = load_digits()
        images = np.rint(source.images * (255 / 16)).astype(np.uint8)
        names = tuple(str(digit) for digit in range(10))
        return RawSet(train=array_split(images, source.target), heldout=None, class_names=names)


@dataclass(frozen=True, kw_only=True)
class NpzLoader:
    """An .npz file: images uint8 (N, h, w) or (N, h, w, 1 or 3) and labels whole numbers (N,).

    Optional: test_images and test_labels, held out as they are; class_names (K,), texts. Pictures are read into a
    nameless file, so memory stays bounded.
    """

    limits: ReadLimits = OWN_LIMITS
    rules: Rules = NEWEST

    def files(self, settings: DataSettings, data_dir: Path) -> list[Path]:
        """The file of data.path."""
        hint = "give an .npz file with 'images' and 'labels'"
        return [own_path(settings, wants=FILE, hint=hint, limits=self.limits)]

    def load(self, settings: DataSettings, data_dir: Path) -> RawSet:
        """The arrays, checked."""
        (path,) = self.files(settings, data_dir)
        where = f"data.path: {path}"
        try:
            asks = self.rules.folders > 1
            return raw_arrays(npz_parts(path, self.limits), answered(settings), self.limits, asks=asks)
        except MemoryError:
            raise
        except LabError as error:
            raise error.reworded(f"{where}: {error.message}") from None
        except Exception as error:  # damaged archives raise whatever their parsers meet
            if is_full_disk(error):
                raise StorageFull(f"{where}: disk full while unpacking it") from None
            raise DataUnavailable(f"{where} cannot be read as .npz ({_in_words(error)})") from None


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def torchvision_datasets() -> Any:
    """torchvision's module of datasets, imported when one is read: it takes PyTorch along."""
    return importlib.import_module("torchvision.datasets")


def _in_words(error: BaseException) -> str:
    """One line naming the kind of error and its first line of text."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
