"""What a look inside the latents is about: one VAE, held-out pictures of its dataset, and the name of both on disk.

Opens no weights, so that a page whose work is kept is drawn without PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from core import reading
from core.data.arrays import prepare
from core.errors import CheckpointError, DataUnavailable, UsageError
from core.runs.facts import codec_facts, fingerprint_of
from core.runs.listing import list_checkpoints
from core.runs.run import Run

Weights = Literal["ema", "raw"]
Scaling = tuple[tuple[float, ...], tuple[float, ...]]
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
MOST = 10_000
FEW = 1_000
FIRST = 100


@dataclass(frozen=True, kw_only=True)
class AskedVae:
    """Names a subject for another process, which finds it again: `find_subject` of that run with at most `limit`
    pictures. key: that of the subject."""

    run_id: str
    step: int
    weights: Weights
    limit: int
    key: str


@dataclass(frozen=True, kw_only=True)
class LatentSubject:
    """A VAE and the pictures to look at it with.

    images (N, H, W, C) uint8 and labels (N,): held out from training, of num_heldout in all; vae_hash: sha256 of the
    weights in vae_dir; scaling: (shift, scale) that a U-Net run keeps beside its copy of the VAE, None for a VAE run,
    which has none.
    """

    run: Run
    step: int
    weights: Weights
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    set_name: str
    fingerprint: str
    vae_hash: str
    vae_dir: Path
    scaling: Scaling | None
    num_heldout: int

    @property
    def key(self) -> str:
        """Names the pictures and the weights: what is kept under it never needs to be made again."""
        return self._key(len(self.labels))

    def asked(self, limit: int) -> AskedVae:
        """The same VAE with at most `limit` pictures."""
        key = self._key(min(limit, self.num_heldout))
        return AskedVae(run_id=self.run.id, step=self.step, weights=self.weights, limit=limit, key=key)

    def _key(self, count: int) -> str:
        return f"{self.set_name}-{self.fingerprint[:12]}-{self.vae_hash[:12]}-heldout-{count}"

    @property
    def title(self) -> str:
        """The name a person gave the run, or its id."""
        return self.run.info.name or self.run.id


def find_subject(
    run: Run,
    *,
    step: int | None = None,
    weights: Weights = "ema",
    data_dir: Path,
    cache_dir: Path,
    limit: int = MOST,
    progress: Callable[[str, float], None] | None = None,
) -> LatentSubject:
    """The VAE of a VAE run's checkpoint (newest by default), or of a U-Net run's own copy, with held-out pictures.

    limit: at most so many pictures, always the same ones. Downloads nothing. Raises UsageError, CheckpointError or
    DataUnavailable in one sentence.
    """
    if not run.kind.vae:
        raise UsageError(f"{run.id}: is a {run.kind.noun} and has no latents", "name a VAE or U-Net run")
    scaling: Scaling | None
    if run.kind.vae == "copy":
        vae_dir, (found_step, vae_hash, scaling) = run.vae_dir, _copy(run, step)
    else:
        vae_dir, found_step, vae_hash = _checkpoint(run, step, weights)
        scaling = None
    data = run.settings.data.model_copy(update={"download": False})
    images = prepare(data, data_dir=data_dir, cache_dir=cache_dir, rules=run.rules, progress=progress)
    _check_same_pictures(run, images.fingerprint)
    chosen = held_out(len(images.heldout.labels), limit)
    return LatentSubject(
        run=run,
        step=found_step,
        weights="ema" if run.kind.vae == "copy" else weights,
        images=images.heldout.images if chosen is None else images.heldout.images[chosen],
        labels=np.asarray(images.heldout.labels) if chosen is None else images.heldout.labels[chosen],
        class_names=images.class_names,
        set_name=images.name,
        fingerprint=images.fingerprint,
        vae_hash=vae_hash,
        vae_dir=vae_dir,
        scaling=scaling,
        num_heldout=len(images.heldout.labels),
    )


def held_out(count: int, limit: int) -> np.ndarray | None:
    """Indices of at most `limit` of `count` pictures, the same whenever asked, in order; None for all of them."""
    return None if count <= limit else np.sort(np.random.default_rng(0).permutation(count)[:limit])


def indices_of(total: int, count: int) -> np.ndarray:
    """At most `count` of `total` pictures, always the same."""
    chosen = held_out(total, count)
    return np.arange(total) if chosen is None else chosen


def _checkpoint(run: Run, step: int | None, weights: Weights) -> tuple[Path, int, str]:
    found = list_checkpoints(run)
    chosen = [info for info in found if step in (None, info.step)]
    if not chosen:
        if found and step is not None:
            kept = ", ".join(f"{info.step:,}" for info in found)
            raise CheckpointError(f"{run.id}: no checkpoint of step {step:,}", f"kept are {kept}")
        raise CheckpointError(f"{run.id}: has no checkpoint yet", "let it train until its first save")
    folder = "vae_ema" if weights == "ema" else "vae"
    try:
        facts = reading.read_object(chosen[-1].path / "manifest.json")["files"][f"{folder}/{WEIGHTS_FILE}"]
        return chosen[-1].path / folder, chosen[-1].step, str(facts["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{run.id}: the checkpoint of step {chosen[-1].step:,} names no VAE ({type(error).__name__})"
        ) from None


def codec_of(run: Run) -> tuple[str, Scaling]:
    """sha256 of a U-Net run's copy of its VAE, and (shift, scale) a channel beside it. Raises CheckpointError."""
    return _codec(run)[1:]


def _copy(run: Run, step: int | None) -> tuple[int, str, Scaling]:
    found = _codec(run)
    if step not in (None, found[0]):
        raise CheckpointError(f"{run.id}: its VAE is of step {found[0]:,}, not of {step:,}")
    return found


def _codec(run: Run) -> tuple[int, str, Scaling]:
    try:
        facts = codec_facts(run)
        return facts.vae_step, facts.sha256, (facts.shift, facts.scale)
    except FileNotFoundError:
        raise CheckpointError(f"{run.id}: has no copy of its VAE yet", "let it encode its images first") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{run.id}: codec.json of its VAE cannot be read ({type(error).__name__})", "choose another run"
        ) from None


def _check_same_pictures(run: Run, fingerprint: str) -> None:
    try:
        before = fingerprint_of(run)
    except (OSError, ValueError):
        raise CheckpointError(f"{run.id}: its data.json cannot be read", "choose another run") from None
    if before != fingerprint:
        raise DataUnavailable(
            f"{run.id}: the dataset has changed since this run began ({before[:12]} then, {fingerprint[:12]} now)"
        )
