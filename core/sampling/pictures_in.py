"""Real pictures as the start of a drawing: encoded by the model's own VAE (image to image, arXiv 2108.01073)."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import torch

from core.data.batches import images_to_model
from core.data.decoding import opened_picture
from core.errors import DataUnavailable, UsageError, quoted
from core.sampling.load import LoadedModel
from core.sampling.request import Start

if TYPE_CHECKING:
    from core.data.arrays import ImageSet
    from core.sampling.recipe import StartRecipe

MAX_SIDE = 512  # of the pictures that a VAE here takes


def decoded(text: str) -> np.ndarray:
    """The picture (H, W, C) uint8 of a recipe, grey or RGB, at most 512 pixels a side. Raises UsageError."""
    try:
        data = io.BytesIO(base64.b64decode(text, validate=True))
        with opened_picture(data, "it", MAX_SIDE**2, ("PNG",)) as picture:
            if picture.mode not in ("L", "RGB") or max(picture.size) > MAX_SIDE:
                raise ValueError(f"it is {picture.mode}, {picture.width} x {picture.height} pixels")
            pixels = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, EOFError, DataUnavailable) as error:
        raise UsageError(f"start: the recipe's image cannot be read: {quoted(str(error), 120)}") from None
    return pixels[..., None] if pixels.ndim == 2 else pixels


def start_from_pictures(model: LoadedModel, images: np.ndarray, at: int) -> Start:
    """images (N, H, W, C) uint8 → a start at step `at`. Raises UsageError when they do not fit the model."""
    side, channels = model.settings.data.image_size, int(model.codec.vae.config.in_channels)
    if images.shape[1:] != (side, side, channels):
        raise UsageError(
            f"start: images of {' × '.join(map(str, images.shape[1:]))} given, {side} × {side} × {channels} needed"
        )
    pixels = torch.from_numpy(np.array(images)).to(model.device)
    return Start(at=at, latents=model.codec.encode(images_to_model(pixels)))


def start_of_picture(found: StartRecipe, model: LoadedModel, count: int) -> Start:
    """The start from the recipe's own picture, the same for all `count`. Raises UsageError when it is none."""
    picture = decoded(found.picture)
    return start_from_pictures(model, np.repeat(picture[None], count, axis=0), found.at)


def start_of(found: StartRecipe, model: LoadedModel, image_set: ImageSet) -> Start:
    """The start that a recipe names, from held-out pictures. Raises UsageError for another dataset or place."""
    if found.fingerprint != image_set.fingerprint:
        raise UsageError(
            f"start: the recipe's images are of the dataset {found.fingerprint[:12]}, here is "
            f"{image_set.name} ({image_set.fingerprint[:12]})"
        )
    count = len(image_set.heldout.labels)
    for place in found.places:
        if place >= count:
            raise UsageError(f"start: there is no held-out image {place:,}, the last is {count - 1:,}")
    return start_from_pictures(model, image_set.heldout.images[list(found.places)], found.at)
