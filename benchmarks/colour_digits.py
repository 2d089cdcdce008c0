"""A colour data set made here, since none comes with the packages: `python -m benchmarks.colour_digits OUT.npz`

Real MNIST digits, each in one colour, laid over a patch of one of scikit-learn's two bundled photographs, 32 x 32 x 3:
in the spirit of MNIST-M (arXiv 1409.7495), which uses other photographs and differences instead of colours. It is
*made*, and no stand-in for CIFAR-10: its classes are digits. Use it with `--set data.name=npz --set data.path=OUT.npz`.

Training pictures use MNIST's training digits, held-out ones its test digits; both take patches anywhere in both
photographs, so that their statistics agree. The same seed gives the same file.
"""

from __future__ import annotations

import argparse
import colorsys
import os
from pathlib import Path

import numpy as np
from PIL import Image

from core.config.load import load_config, read_site
from core.data.arrays import Split, prepare

SIDE = 32
CROPS = (32, 128)  # sides of the patches before they are scaled to SIDE: fine and coarse texture
CONTRAST = 80.0  # grey levels between a digit's colour and its patch, at least


def photographs() -> list[np.ndarray]:
    """The two photographs, uint8 (427, 640, 3)."""
    from sklearn.datasets import load_sample_images

    return [np.asarray(image) for image in load_sample_images().images]


def luminance(colours: np.ndarray) -> np.ndarray:
    """Grey level (…) of colours (…, 3), 0 to 255 (Rec. 601)."""
    grey: np.ndarray = colours @ np.array([0.299, 0.587, 0.114])
    return grey


def patch(source: np.random.Generator, photos: list[np.ndarray]) -> np.ndarray:
    """A square part of one photograph, scaled to (SIDE, SIDE, 3) float."""
    photo = photos[source.integers(len(photos))]
    crop = int(source.integers(CROPS[0], CROPS[1] + 1))
    top, left = (int(source.integers(extent - crop + 1)) for extent in photo.shape[:2])
    part = Image.fromarray(photo[top : top + crop, left : left + crop])
    return np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)


def colour(source: np.random.Generator, behind: np.ndarray) -> np.ndarray:
    """A random saturated colour (3,) that stands out from the patch behind it."""
    base = float(luminance(behind).mean())
    while True:
        found = np.array(colorsys.hsv_to_rgb(source.random(), source.uniform(0.4, 1.0), source.uniform(0.1, 1.0))) * 255
        if abs(float(luminance(found)) - base) >= CONTRAST:
            return found


def paint(digits: np.ndarray, seed: int) -> np.ndarray:
    """Grey digits (N, SIDE, SIDE, 1) uint8 → pictures (N, SIDE, SIDE, 3) uint8; picture i depends on (seed, i) only."""
    photos = photographs()
    pictures = np.empty((len(digits), SIDE, SIDE, 3), dtype=np.uint8)
    for index, digit in enumerate(digits):
        source = np.random.default_rng((seed, index))
        behind = patch(source, photos)
        ink = digit.astype(np.float64) / 255
        pictures[index] = np.rint(behind * (1 - ink) + colour(source, behind) * ink)
    return pictures


def choose(split: Split, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` digits of a split, in random order."""
    chosen = np.random.default_rng(seed).permutation(len(split.labels))[:count]
    return split.images[chosen], split.labels[chosen]


def make(out: Path, *, train: int, heldout: int, seed: int) -> None:
    """Write the data set as data.name=npz reads it."""
    settings = load_config(overrides={"data.name": "mnist", "data.image_size": SIDE})
    site, _ = read_site()
    digits = prepare(settings.data, data_dir=site.data, cache_dir=site.cache)
    images, labels = choose(digits.train, train, seed)
    test_images, test_labels = choose(digits.heldout, heldout, seed + 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.stem}.tmp.npz")
    np.savez(
        temporary,
        images=paint(images, seed),
        labels=labels,
        test_images=paint(test_images, seed + 1),
        test_labels=test_labels,
        class_names=np.array([str(digit) for digit in range(10)]),
    )
    os.replace(temporary, out)


def main() -> None:
    """Make the file that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--heldout", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    make(options.out, train=options.train, heldout=options.heldout, seed=options.seed)
    print(f"{options.train} + {options.heldout} pictures in {options.out}")


if __name__ == "__main__":
    main()
