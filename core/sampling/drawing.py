"""What a screen shows of a drawing: pictures, their path, and what can be read off it. Never imports PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.sampling.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What can be read off the path itself, F frames, N pictures, float32.

    log_snr (F,): log of signal² / noise², cut off at ±20. latent_norm (F, N): root mean square of the noisy latents.
    guidance_strength (F, N): ‖guided - conditional‖ / ‖conditional‖ of the network's output, 0 where guidance is off.
    straightness (F, N): cosine between this step's move and the whole way from noise to picture, in the coordinates in
    which a perfect path is straight, x / (signal + noise) (arXiv 2209.03003); 1 = straight; the last frame repeats.
    """

    log_snr: np.ndarray
    latent_norm: np.ndarray
    guidance_strength: np.ndarray
    straightness: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What only the Generate page looks at, F frames, N pictures.

    latents (F, N, c, h, w) float32: noisy latents in the scale of training. predicted_noise: the same shape, float16.
    guidance_change (F, N, H, W, C) int16: the predicted clean picture with guidance minus the one without, in grey
    levels; None when guidance is off throughout.
    """

    latents: np.ndarray
    predicted_noise: np.ndarray
    guidance_change: np.ndarray | None
    curves: Curves


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Pictures and their path. (F, N, H, W, C) uint8; steps, timesteps and scales (F,); the last frame is the end.

    A path of more than 101 frames is thinned out, the first and the last frame stay. `steps` counts from 0. recipe:
    what gives these pictures again; device: in words; notes: sentences that whoever looks at it should read; layers:
    None unless asked for.
    """

    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    steps: np.ndarray
    timesteps: np.ndarray
    signal_scale: np.ndarray
    noise_scale: np.ndarray
    noisy_images: np.ndarray
    predicted_images: np.ndarray
    step: int
    recipe: Recipe
    device: str
    notes: tuple[str, ...]
    fingerprint: str
    layers: Layers | None

    @property
    def images(self) -> np.ndarray:
        """The finished pictures (N, H, W, C)."""
        return self.noisy_images[-1]


def joined(parts: Sequence[Drawing], recipe: Recipe) -> Drawing:
    """The drawing of a recipe from those of its `parts()`, images side by side in their order."""
    first = parts[0]

    def side_by_side(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts], axis=1)

    return replace(
        first,
        labels=tuple(label for part in parts for label in part.labels),
        noisy_images=side_by_side("noisy_images"),
        predicted_images=side_by_side("predicted_images"),
        recipe=recipe.written_now(first.recipe.weights_sha256),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        layers=_joined_layers([part.layers for part in parts if part.layers is not None]),
    )


def _joined_layers(parts: Sequence[Layers]) -> Layers | None:
    if not parts:
        return None
    curves = [part.curves for part in parts]
    changes = [part.guidance_change for part in parts if part.guidance_change is not None]
    return Layers(
        latents=np.concatenate([part.latents for part in parts], axis=1),
        predicted_noise=np.concatenate([part.predicted_noise for part in parts], axis=1),
        guidance_change=np.concatenate(changes, axis=1) if changes else None,
        curves=Curves(
            log_snr=curves[0].log_snr,
            latent_norm=np.concatenate([each.latent_norm for each in curves], axis=1),
            guidance_strength=np.concatenate([each.guidance_strength for each in curves], axis=1),
            straightness=np.concatenate([each.straightness for each in curves], axis=1),
        ),
    )
