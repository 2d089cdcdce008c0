"""How energy lies over spatial frequencies (radial DCT bins), and whether the VAE commutes with shifts and flips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.fft import dctn

from core.latent.inspection.decoder_results import Equivariance, Spectrum

DEFAULT_BINS = 16


def radial_spectrum(maps: np.ndarray, *, bins: int = DEFAULT_BINS) -> Spectrum:
    """maps (N, C, H, W) → their radial spectrum by the orthonormal DCT-II of each channel.

    The DCT needs no periodic borders. Bins are rings of equal width of r = √((i/H)² + (j/W)²) up to √2.
    Source: arXiv 2502.14831, section 3.
    """
    coefficients = dctn(np.asarray(maps, dtype=np.float64), axes=(2, 3), norm="ortho")
    squared = (coefficients**2).mean(axis=0).sum(axis=0)  # (H, W)
    height, width = squared.shape
    radius = np.hypot(np.arange(height)[:, None] / height, np.arange(width)[None, :] / width)
    edges = np.linspace(0.0, np.sqrt(2.0), bins + 1)
    places = np.clip(np.digitize(radius, edges) - 1, 0, bins - 1).ravel()
    energy = np.bincount(places, weights=squared.ravel(), minlength=bins)
    count = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        power = np.where(count > 0, energy / np.maximum(count, 1) / maps.shape[1], np.nan)
    return Spectrum(
        frequency=(edges[:-1] + edges[1:]) / 2,
        energy=energy,
        power=power,
        count=count,
        constant=float(squared[0, 0]),
    )


Encode = Callable[[torch.Tensor], torch.Tensor]


def equivariance(encode: Encode, images: torch.Tensor, downsample_factor: int) -> list[Equivariance]:
    """What shifts and flips of images (N, C, H, W) do to their latents.

    encode: images → latents (N, c, h, w). Shifts by one latent site (`downsample_factor` pixels) each way, by one
    pixel (the latents are shifted by linear interpolation), and both flips. Sites that a shift wraps around are left
    out. Source: arXiv 2502.09509, sections 2 and 3.
    """
    latents = encode(images)
    unrelated = float(_relative(latents, latents.roll(1, dims=0)).mean())
    factor = downsample_factor
    tests: list[tuple[str, torch.Tensor, torch.Tensor]] = []
    for name, axis in (("down", 2), ("right", 3)):
        moved = encode(images.roll(factor, dims=axis))
        tests.append((f"shift {name}, one site", _inside(moved, axis), _inside(latents.roll(1, dims=axis), axis)))
    if factor > 1:
        for name, axis in (("down", 2), ("right", 3)):
            moved = encode(images.roll(1, dims=axis))
            expected = latents + (latents.roll(1, dims=axis) - latents) / factor
            tests.append((f"shift {name}, one pixel", _inside(moved, axis), _inside(expected, axis)))
    for name, axis in (("left to right", 3), ("top to bottom", 2)):
        tests.append((f"flip {name}", encode(images.flip(axis)), latents.flip(axis)))
    found = []
    for name, moved, expected in tests:
        errors = _relative(moved, expected)
        spread = float(errors.std()) / len(errors) ** 0.5 if len(errors) > 1 else 0.0
        found.append(Equivariance(name=name, error=float(errors.mean()), standard_error=spread, unrelated=unrelated))
    return found


def _inside(latents: torch.Tensor, axis: int) -> torch.Tensor:
    """Without the row or column that came from the other side."""
    return latents.narrow(axis, 1, latents.shape[axis] - 1)


def _relative(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """(N,) |found - expected| / |expected|."""
    difference = (found - expected).flatten(1).norm(dim=1)
    return difference / expected.flatten(1).norm(dim=1).clamp_min(1e-12)
