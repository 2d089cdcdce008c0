"""What datasets exist. Adding one is one entry here."""

from __future__ import annotations

import difflib
import string
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.config.schema import DataSettings
from core.data.imports import Imported, ImportedLoader, imported_names, imports_dir, read_imported
from core.data.limits import OWN_LIMITS, ReadLimits
from core.data.loaders import DigitsLoader, IdxLoader, NpzLoader, TorchvisionLoader
from core.data.picture_files import ImageFolderLoader
from core.data.raw import Loader
from core.errors import ConfigError, quoted
from core.rules import NEWEST, Rules
from core.typed_paths import is_elsewhere

DIGITS = tuple(string.digits)
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """One dataset. None = not known before it is read. test_count None or 0 = no test split of its own.

    needs_path: read from data.path instead of the data folder. download_bytes: of what torchvision fetches, packed.
    imported: who brought it and when, for an imported set.
    """

    name: str
    title: str
    classes: int | None = None
    native_size: int | None = None
    channels: int | None = None
    train_count: int | None = None
    test_count: int | None = None
    licence: str
    source: str
    loader: Loader
    needs_path: bool = False
    download_bytes: int | None = None
    imported: Imported | None = None


def names() -> list[str]:
    """Every name that `data.name` accepts: the catalog in its order, then the imported sets."""
    return [*_ENTRIES, *imported_names()]


def entry(name: str, limits: ReadLimits = OWN_LIMITS, rules: Rules = NEWEST) -> CatalogEntry:
    """The entry of that name. Raises ConfigError, with the nearest name; DataUnavailable for a damaged import.

    limits, rules: for what it reads from data.path.
    """
    if name in _ENTRIES:
        found = _ENTRIES[name]
        if isinstance(found.loader, ImageFolderLoader | NpzLoader):
            return replace(found, loader=replace(found.loader, limits=limits, rules=rules))
        return found
    known = names()
    if name in known:
        return _imported(read_imported(name))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ConfigError(
        f"data.name: there is no dataset '{quoted(name)}'",
        f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}",
    )


def is_present(name: str, data_dir: Path, *, path: str | None = None) -> bool:
    """True when the set's files are in the data folder. Sets that are read from data.path count as present, but for a
    path of another machine (see `core.typed_paths.elsewhere`); nothing looks at it."""
    found = entry(name)
    if found.needs_path:
        return not is_elsewhere(path or "")
    return all(Path(path).is_file() for path in found.loader.files(DataSettings(name=name), data_dir))


def present_names(data_dir: Path) -> list[str]:
    """The sets that can be used right now without a download and without a path."""
    catalog = [name for name, found in _ENTRIES.items() if not found.needs_path and is_present(name, data_dir)]
    return [*catalog, *imported_names()]


def _imported(found: Imported) -> CatalogEntry:
    return CatalogEntry(
        name=found.name,
        title=found.title,
        classes=len(found.class_names),
        channels=found.channels,
        train_count=found.train_count,
        test_count=found.heldout_count,
        licence=found.licence,
        source=found.source,
        loader=ImportedLoader(folder=imports_dir() / found.name),
        imported=found,
    )


def _emnist(split: str, train_count: int, test_count: int, class_names: str, first_label: int = 0) -> CatalogEntry:
    def open_split(datasets: Any, root: str, train: bool, download: bool) -> Any:
        return datasets.EMNIST(root, split=split, train=train, download=download)

    parts = [f"EMNIST/raw/emnist-{split}-{part}" for part in ("train", "test")]
    return CatalogEntry(
        name=f"emnist_{split}",
        title=f"EMNIST {split}",
        classes=len(class_names),
        native_size=28,
        channels=1,
        train_count=train_count,
        test_count=test_count,
        download_bytes=561_753_746,  # one archive with all its sets
        licence="from NIST Special Database 19, a work of the US government",
        source="https://www.nist.gov/itl/products-and-services/emnist-dataset",
        loader=TorchvisionLoader(
            open=open_split,
            paths=tuple(f"{part}-{kind}-ubyte" for part in parts for kind in ("images-idx3", "labels-idx1")),
            class_names=tuple(class_names),
            first_label=first_label,
            transposed=True,
        ),
    )


_MERGED = "".join(sorted(set(string.digits + string.ascii_letters) - set("cijklmopsuvwxyz")))

_ENTRIES = {
    found.name: found
    for found in (
        CatalogEntry(
            name="mnist",
            title="MNIST handwritten digits",
            classes=10,
            native_size=28,
            channels=1,
            train_count=60_000,
            test_count=10_000,
            download_bytes=11_594_722,
            licence="CC BY-SA 3.0",
            source="http://yann.lecun.com/exdb/mnist/",
            loader=IdxLoader(
                open=lambda datasets, root, train, download: datasets.MNIST(root, train=train, download=download),
                paths=tuple(f"MNIST/raw/{name}" for name in _IDX),
                class_names=DIGITS,
            ),
        ),
        CatalogEntry(
            name="fashion_mnist",
            title="Fashion-MNIST articles of clothing",
            classes=10,
            native_size=28,
            channels=1,
            train_count=60_000,
            test_count=10_000,
            download_bytes=30_878_645,
            licence="MIT",
            source="https://github.com/zalandoresearch/fashion-mnist",
            loader=IdxLoader(
                open=lambda datasets, root, train, download: datasets.FashionMNIST(
                    root, train=train, download=download
                ),
                paths=tuple(f"FashionMNIST/raw/{name}" for name in _IDX),
                class_names=(
                    "T-shirt/top",
                    "Trouser",
                    "Pullover",
                    "Dress",
                    "Coat",
                    "Sandal",
                    "Shirt",
                    "Sneaker",
                    "Bag",
                    "Ankle boot",
                ),
            ),
        ),
        CatalogEntry(
            name="kmnist",
            title="Kuzushiji-MNIST cursive hiragana",
            classes=10,
            native_size=28,
            channels=1,
            train_count=60_000,
            test_count=10_000,
            download_bytes=21_240_888,
            licence="CC BY-SA 4.0",
            source="http://codh.rois.ac.jp/kmnist/",
            loader=IdxLoader(
                open=lambda datasets, root, train, download: datasets.KMNIST(root, train=train, download=download),
                paths=tuple(f"KMNIST/raw/{name}" for name in _IDX),
                class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
            ),
        ),
        _emnist("letters", 124_800, 20_800, string.ascii_uppercase, first_label=1),
        _emnist("balanced", 112_800, 18_800, _MERGED),
        _emnist("digits", 240_000, 40_000, string.digits),
        _emnist("byclass", 697_932, 116_323, string.digits + string.ascii_uppercase + string.ascii_lowercase),
        _emnist("bymerge", 697_932, 116_323, _MERGED),
        _emnist("mnist", 60_000, 10_000, string.digits),
        CatalogEntry(
            name="qmnist",
            title="QMNIST: MNIST with its test set restored to 60,000 digits",
            classes=10,
            native_size=28,
            channels=1,
            train_count=60_000,
            test_count=60_000,
            download_bytes=20_436_162,
            licence="BSD 3-Clause",
            source="https://github.com/facebookresearch/qmnist",
            loader=TorchvisionLoader(
                open=lambda datasets, root, train, download: datasets.QMNIST(root, train=train, download=download),
                paths=tuple(
                    f"QMNIST/raw/qmnist-{part}-{kind}"
                    for part in ("train", "test")
                    for kind in ("images-idx3-ubyte", "labels-idx2-int")
                ),
                class_names=DIGITS,
            ),
        ),
        CatalogEntry(
            name="cifar10",
            title="CIFAR-10 color images",
            classes=10,
            native_size=32,
            channels=3,
            train_count=50_000,
            test_count=10_000,
            download_bytes=170_498_071,
            licence="none stated; cite Krizhevsky 2009",
            source="https://www.cs.toronto.edu/~kriz/cifar.html",
            loader=TorchvisionLoader(
                open=lambda datasets, root, train, download: datasets.CIFAR10(root, train=train, download=download),
                paths=tuple(
                    f"cifar-10-batches-py/{name}"
                    for name in (*(f"data_batch_{index}" for index in range(1, 6)), "test_batch", "batches.meta")
                ),
                class_names=None,
            ),
        ),
        CatalogEntry(
            name="cifar100",
            title="CIFAR-100 color images",
            classes=100,
            native_size=32,
            channels=3,
            train_count=50_000,
            test_count=10_000,
            download_bytes=169_001_437,
            licence="none stated; cite Krizhevsky 2009",
            source="https://www.cs.toronto.edu/~kriz/cifar.html",
            loader=TorchvisionLoader(
                open=lambda datasets, root, train, download: datasets.CIFAR100(root, train=train, download=download),
                paths=tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta")),
                class_names=None,
            ),
        ),
        CatalogEntry(
            name="svhn",
            title="Street View House Numbers",
            classes=10,
            native_size=32,
            channels=3,
            train_count=73_257,
            test_count=26_032,
            download_bytes=246_316_178,
            licence="non-commercial use only",
            source="http://ufldl.stanford.edu/housenumbers/",
            loader=TorchvisionLoader(
                open=lambda datasets, root, train, download: datasets.SVHN(
                    root, split="train" if train else "test", download=download
                ),
                paths=("train_32x32.mat", "test_32x32.mat"),
                class_names=DIGITS,
                channels_first=True,
            ),
        ),
        CatalogEntry(
            name="usps",
            title="USPS digits from envelopes",
            classes=10,
            native_size=16,
            channels=1,
            train_count=7_291,
            test_count=2_007,
            download_bytes=8_411_109,
            licence="none stated; cite Hull 1994",
            source="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
            loader=TorchvisionLoader(
                open=lambda datasets, root, train, download: datasets.USPS(root, train=train, download=download),
                paths=("usps.bz2", "usps.t.bz2"),
                class_names=DIGITS,
            ),
        ),
        CatalogEntry(
            name="digits",
            title="Digits 8×8 of scikit-learn, always there",
            classes=10,
            native_size=8,
            channels=1,
            train_count=1_797,
            licence="CC BY 4.0",
            source="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            loader=DigitsLoader(),
        ),
        CatalogEntry(
            name="image_folder",
            title="Your images, one directory per class",
            licence="yours",
            source="data.path",
            loader=ImageFolderLoader(),
            needs_path=True,
        ),
        CatalogEntry(
            name="npz",
            title="Your images in an .npz file",
            licence="yours",
            source="data.path",
            loader=NpzLoader(),
            needs_path=True,
        ),
    )
}
