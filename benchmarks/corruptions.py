"""Which measure sees which fault of images: `python -m benchmarks.corruptions [--cifar10 ZIP_OR_NAME] [--images N]`

Puts the faults of `core.evaluation.corruptions` into held-out images of MNIST, of CIFAR-10 (a zip of class folders, or
the name of its import) and of MNIST with one class ten times as frequent as the others, as an import. Prints a table
per dataset and exits with 1 where no measure sees a fault, or untouched images do not pass. Folders are those of
config.yaml and LAB_*.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.config.load import load_config, read_site
from core.data.arrays import prepare
from core.device import take_free_cores
from core.evaluation.corruptions import IMAGES, measure_faults
from core.evaluation.judge import load_or_train
from core.evaluation.measure_test_results import MeasureTest, in_words

if TYPE_CHECKING:
    from core.data.arrays import ImageSet

FREQUENT, RARE = 3000, 300  # images of class 0, and of each other class


def datasets(cifar10: str, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, settings) of each; the imbalanced one is written into the folder."""
    yield "MNIST", {"data.name": "mnist"}
    if cifar10:
        is_file = Path(cifar10).exists()
        yield "CIFAR-10", {"data.name": "image_folder", "data.path": cifar10} if is_file else {"data.name": cifar10}
    path = folder / "imbalanced.npz"
    images = opened({"data.name": "mnist"})
    labels = np.asarray(images.train.labels)
    rows = np.concatenate(
        [np.flatnonzero(labels == label)[: FREQUENT if label == 0 else RARE] for label in range(images.num_classes)]
    )
    np.savez(path, images=np.array(images.train.images[rows]), labels=labels[rows])
    yield "MNIST, class 0 ten times as frequent", {"data.name": "npz", "data.path": str(path)}


def opened(settings: dict[str, Any]) -> ImageSet:
    """The images of these settings."""
    site, _ = read_site()
    return prepare(load_config(overrides=settings).data, data_dir=site.data, cache_dir=site.cache)


def table(found: MeasureTest) -> str:
    """A line per fault: each measure's value, with a star where it sees the fault."""
    lines = [f"{found.num_images:,} images, judge {found.judge_hash[:12]}, {found.elapsed_s:.0f} s"]
    for fault in found.faults:
        values = ", ".join(f"{each.title} {each.value:.3g}{'*' if each.sees else ''}" for each in fault.seen)
        lines.append(f"  {fault.name}: {values}")
    return "\n".join([*lines, f"  {in_words(found)}"])


def main() -> int:
    """Run it over all datasets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", default="", metavar="ZIP", help="a zip with a folder per class, or its import")
    parser.add_argument("--images", type=int, default=IMAGES, metavar="N", help="per fault (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also written as JSON")
    options = parser.parse_args()
    take_free_cores(None)
    epochs, (site, _) = load_config().evaluation.judge_epochs, read_site()
    found: dict[str, MeasureTest] = {}
    with tempfile.TemporaryDirectory(prefix="corruptions-") as folder:
        for name, settings in datasets(options.cifar10, Path(folder)):
            images = opened(settings)
            judge = load_or_train(images, cache_dir=site.cache, epochs=epochs)
            neighbours = load_config().evaluation.recall_neighbours
            found[name] = measure_faults(judge, images, neighbours=neighbours, count=options.images)
            print(f"{name}: judge right on {judge.accuracy:.2%}; {table(found[name])}", flush=True)
    if options.out:
        options.out.write_text(json.dumps({name: asdict(each) for name, each in found.items()}, indent=1) + "\n")
    return 0 if all(fault.is_right for each in found.values() for fault in each.faults) else 1


if __name__ == "__main__":
    sys.exit(main())
