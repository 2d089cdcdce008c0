"""Latents under growing noise, decoded: each image once a noise level, whatever schedule asks for it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.bounded_cache import BoundedCache
from core.compute.answers.schedules import noise_of
from core.compute.question import Tell
from core.config.site import SiteSettings
from core.data.batches import images_to_model
from core.diffusion.noise_levels import LEVELS, level_weights
from core.latent.codec import LatentCodec
from core.latent.stored_vae import load_codec
from core.reading import Stamp, stamp_of
from core.runs.store import RunStore

MAX_CODECS = 4
MAX_DECODED_BYTES = 128 * 2**20
Key = tuple[str, Stamp]
Decoded = dict[int, np.ndarray]  # by noise level, (H, W, C) uint8 each
codecs: BoundedCache[Key, LatentCodec] = BoundedCache(max_count=MAX_CODECS)
decoded: BoundedCache[tuple[Key, bytes, bool], Decoded] = BoundedCache(
    max_bytes=MAX_DECODED_BYTES, size_of=lambda found: sum(pixels.nbytes for pixels in found.values())
)
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class RunCodec:
    """The VAE that a U-Net run keeps, and what tells it from others."""

    key: Key
    codec: LatentCodec


def codec_of(run_id: str, site: SiteSettings) -> RunCodec:
    """Raises CheckpointError when it cannot be read."""
    folder = RunStore(site.runs).get(run_id).vae_dir
    key = (str(folder), stamp_of(folder / "codec.json"))
    return RunCodec(key=key, codec=codecs.get_or_make(key, lambda: load_codec(folder, torch.device("cpu"))))


def noised_latents(
    tell: Tell, run_id: str, levels: Sequence[tuple[bool, Sequence[int]]], images: np.ndarray, site: SiteSettings
) -> np.ndarray:
    """What the run's decoder makes of its latents of images (N, H, W, C) uint8: (F, S * N, H, W, C) uint8.

    levels: for each of S schedules, whether it is flow matching, and the noise level of each of F frames. Raises
    CheckpointError when the run's copy of its VAE cannot be read.
    """
    found = codec_of(run_id, site)
    shown = []
    for is_flow, frames in levels:
        known = decode_missing(found, images, set(frames), is_flow=is_flow)
        shown.append(np.stack([[each[level] for each in known] for level in frames]))
    return np.concatenate(shown, axis=1)


def decode_ahead(tell: Tell, run_id: str, images: np.ndarray, site: SiteSettings) -> None:
    """Decode what other schedules and images will show. Raises CheckpointError, HungUp once nobody listens any more."""
    found = codec_of(run_id, site)
    for place in range(len(images)):
        for is_flow in (False, True):
            tell("decoding", place / len(images))
            decode_missing(found, images[place : place + 1], range(LEVELS), is_flow=is_flow)


def decode_missing(run: RunCodec, images: np.ndarray, levels: Iterable[int], *, is_flow: bool) -> list[Decoded]:
    """A dict per image with at least the `levels`, what is missing being decoded in one batch."""
    with _ONE_AT_A_TIME:
        keys = [(run.key, image.tobytes(), is_flow) for image in images]
        known: list[Decoded] = [decoded.get(key) or {} for key in keys]
        missing = [(place, level) for place, found in enumerate(known) for level in sorted(set(levels) - found.keys())]
        if missing:
            few = sorted({place for place, _ in missing})
            pixels = images_to_model(torch.from_numpy(images[few]))
            latents = dict(zip(few, run.codec.encode(pixels), strict=True))
            for (place, level), shown in zip(missing, _decode(run.codec, latents, missing, is_flow), strict=True):
                known[place][level] = shown
            for place in few:
                decoded.put(keys[place], known[place])
        return known


def _decode(
    codec: LatentCodec, latents: dict[int, torch.Tensor], wanted: Sequence[tuple[int, int]], is_flow: bool
) -> np.ndarray:
    """Latents {place: (c, h, w)} noised at each (place, level) and decoded: (len(wanted), H, W, C) uint8."""
    noise = noise_of(next(iter(latents.values())).shape)
    mixed = []
    for place, level in wanted:
        signal, sigma = level_weights(level, is_flow=is_flow)
        mixed.append(signal * latents[place] + sigma * noise)
    return codec.decode_to_uint8(torch.stack(mixed))
