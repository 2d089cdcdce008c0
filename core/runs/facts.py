"""What a training noted about what it learned from: data.json, and codec.json beside a U-Net run's own VAE."""

from __future__ import annotations

from dataclasses import dataclass

from core import reading
from core.runs.run import Run
from core.values import Count, Number


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """data.json: the dataset as training saw it. class_names (K,)."""

    name: str = ""
    title: str = ""
    fingerprint: str = ""
    class_names: tuple[str, ...] = ()
    train_count: Count = 0
    validation_count: Count = 0
    heldout_count: Count = 0
    channels: Count = 0
    image_size: Count = 0


@dataclass(frozen=True, kw_only=True)
class CodecFacts:
    """codec.json: the sha256 of the VAE's weights, the scaling of its latents (c,), and where it came from.

    kl (c,): of each channel's posterior, nats per image; empty in runs that never wrote it.
    """

    sha256: str
    shift: tuple[Number, ...]
    scale: tuple[Number, ...]
    kl: tuple[Number, ...] = ()
    vae_run: str = ""
    vae_step: Count = 0


def data_facts(run: Run) -> DataFacts:
    """Raises OSError before the dataset was read, Unreadable for a damaged file."""
    return reading.read_record(run.data_path, DataFacts)


def fingerprint_of(run: Run) -> str:
    """Of the dataset that it learned from. Raises as `data_facts`, also where the file names none."""
    found = data_facts(run).fingerprint
    if not found:
        raise reading.Unreadable(f"{run.data_path.name} names no fingerprint")
    return found


def codec_facts(run: Run) -> CodecFacts:
    """Raises OSError before there is a VAE, Unreadable for a damaged file."""
    found = reading.read_record(run.vae_dir / "codec.json", CodecFacts)
    if not found.shift or len(found.shift) != len(found.scale) or 0.0 in found.scale:
        raise reading.Unreadable("codec.json: shift and scale are not one usable number per channel")
    return found
