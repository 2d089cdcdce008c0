"""What the Latents page opens with, kept on disk: pictures, reconstructions, how good each is, and the posterior.

Reading it needs no PyTorch; `quality.py` beside it makes it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from core import leftovers, reading
from core.data.array_files import read_npy
from core.latent.inspection import statistics
from core.latent.inspection.statistics import ChannelStatistics, ScalingSpread
from core.latent.inspection.vae_source import LatentSubject

FOLDER = "studies"
FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class LatentOverview:
    """images and reconstructions (N, H, W, C) uint8; squared_error (N,) a pixel, of 0..255; ssim (N,), NaN where
    pictures are too small for it; moments (N, 2c, h, w) float32.

    raw: statistics of the latents as the encoder gives them; spread: how stable the scaling measured over them is;
    histograms (c, BINS) as `statistics.histograms`; explained: share of the pictures' variance that comes back.
    """

    subject: LatentSubject
    reconstructions: np.ndarray
    squared_error: np.ndarray
    ssim: np.ndarray
    moments: np.ndarray
    raw: ChannelStatistics
    spread: ScalingSpread
    histograms: np.ndarray
    explained: float

    @property
    def images(self) -> np.ndarray:
        """What went in."""
        return self.subject.images

    @property
    def labels(self) -> np.ndarray:
        """(N,)."""
        return self.subject.labels

    @property
    def measured_scaling(self) -> tuple[np.ndarray, np.ndarray]:
        """(shift, scale) over these pictures, as a U-Net run would take it over its training set."""
        return self.raw.mean, 1.0 / np.maximum(self.raw.deviation, 1e-6)

    @property
    def scaling(self) -> tuple[np.ndarray, np.ndarray]:
        """(shift, scale) with which a U-Net gets these latents: the run's own, or what one would measure."""
        own = self.subject.scaling
        return self.measured_scaling if own is None else (np.array(own[0]), np.array(own[1]))

    @property
    def scaled(self) -> ChannelStatistics:
        """Statistics of the latents as a U-Net gets them."""
        return self.raw.rescaled(*self.scaling)

    def maps(self, chosen: np.ndarray, *, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and standard deviation (n, c, h, w) of chosen pictures, raw or as a U-Net gets them."""
        mean, std = statistics.split(self.moments[chosen])
        if not scaled:
            return mean, std
        shift, scale = (values[None, :, None, None] for values in self.scaling)
        return (mean - shift) * scale, std * scale

    @cached_property
    def psnr(self) -> float:
        """Mean over pictures, dB."""
        return float(statistics.psnr_of(self.squared_error).mean())

    @property
    def mean_ssim(self) -> float:
        """Mean over pictures; NaN where pictures are too small."""
        return float(self.ssim.mean(dtype=np.float64))

    def by_class(self) -> list[tuple[str, int, float, float]]:
        """(class, pictures, mean PSNR, mean SSIM), classes without a picture left out."""
        rows = []
        for place, name in enumerate(self.subject.class_names):
            mine = self.labels == place
            if mine.any():
                psnr = float(statistics.psnr_of(self.squared_error[mine]).mean())
                rows.append((name, int(mine.sum()), psnr, float(self.ssim[mine].mean())))
        return rows

    def psnr_quantiles(self) -> dict[str, np.ndarray]:
        """PSNR of pictures at 5, 25, 50, 75 and 95 %, a class; a perfect copy counts as 100 dB."""
        each = statistics.psnr_of(self.squared_error)
        found = {}
        for place, name in enumerate(self.subject.class_names):
            mine = each[self.labels == place]
            if len(mine):
                found[name] = np.quantile(mine, [0.05, 0.25, 0.5, 0.75, 0.95])
        return found

    def one_a_class(self, most: int = 10) -> np.ndarray:
        """Indices of a picture of each of the first classes; of the first pictures where classes are fewer than two."""
        chosen = [int(np.flatnonzero(self.labels == place)[0]) for place in np.unique(self.labels)[:most]]
        return np.array(chosen if len(chosen) > 1 else range(min(most, len(self.labels))))

    def worst(self, most: int) -> np.ndarray:
        """Indices of the pictures with the largest error, worst first."""
        return np.argsort(-self.squared_error, kind="stable")[:most]


def read_overview(subject: LatentSubject, cache_dir: Path) -> LatentOverview | None:
    """What was kept for this VAE and these pictures, or None when nothing whole is there."""
    folder, latents = cache_dir / FOLDER / subject.key, cache_dir / "latents" / subject.key
    count = len(subject.labels)
    try:
        facts = reading.read_object(folder / "overview.json")
        if (facts["format"], facts["count"]) != (FORMAT, count):
            return None
        raw = ChannelStatistics(**{name: _array(value) for name, value in facts["raw"].items()})
        spread = ScalingSpread(**{name: _array(value) for name, value in facts["spread"].items()})
        found = {
            name: read_npy(folder / f"{name}.npy", memory_mapped=True)
            for name in ("reconstructions", "squared_error", "ssim")
        }
        moments = read_npy(latents / "moments.npy", memory_mapped=True)
        whole = found["reconstructions"].shape == subject.images.shape and len(moments) == count
        if not whole or any(found[name].shape != (count,) for name in ("squared_error", "ssim")):
            return None
        for path in (folder, latents):
            os.utime(path)  # used now: what was not used for longest is forgotten first
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError):
        return None
    return LatentOverview(
        subject=subject,
        reconstructions=found["reconstructions"],
        squared_error=np.array(found["squared_error"]),
        ssim=np.array(found["ssim"]),
        moments=moments,
        raw=raw,
        spread=spread,
        histograms=np.array(facts["histograms"]),
        explained=float(facts["explained"]),
    )


def measured(
    subject: LatentSubject,
    *,
    moments: np.ndarray,
    reconstructions: np.ndarray,
    squared_error: np.ndarray,
    ssim: np.ndarray,
) -> LatentOverview:
    """Measure the latents. Keeps nothing."""
    mean, std = statistics.split(moments)
    return LatentOverview(
        subject=subject,
        reconstructions=reconstructions,
        squared_error=squared_error,
        ssim=ssim,
        moments=moments,
        raw=statistics.channel_statistics(mean, std),
        spread=statistics.scaling_spread(mean, std),
        histograms=statistics.histograms(mean),
        explained=statistics.explained_variance(subject.images, reconstructions),
    )


def write_overview(found: LatentOverview, cache_dir: Path) -> None:
    """Keep everything but the moments, which have a cache of their own: whole or not at all."""
    facts = {
        "format": FORMAT,
        "count": len(found.labels),
        "raw": {name: _plain(value) for name, value in vars(found.raw).items()},
        "spread": {name: _plain(value) for name, value in vars(found.spread).items()},
        "histograms": found.histograms.tolist(),
        "explained": found.explained,
    }
    folder = cache_dir / FOLDER / found.subject.key
    with leftovers.built_beside(folder) as temporary:
        for name in ("reconstructions", "squared_error", "ssim"):
            np.save(temporary / f"{name}.npy", getattr(found, name), allow_pickle=False)
        (temporary / "overview.json").write_text(json.dumps(facts))
        leftovers.publish(temporary, folder, is_whole=lambda _: False)


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _array(value: object) -> Any:
    return np.array(value) if isinstance(value, list) else value
