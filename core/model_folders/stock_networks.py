"""The networks of a plain diffusers folder, built from its own configurations: UNet2DModel or DiT, and its VAE.

Their embeddings are cut to the classes and the null class, and their output to the prediction, which changes no number
of it. What a file names is bounded and compared with its weights' header before a tensor is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights

from core.diffusers_parts import AutoencoderKL, UNet2DModel, diffusers
from core.errors import quoted
from core.model_folders.diffusers_layout import (
    NULL_LABEL,
    UNET_CONFIG,
    VAE_CONFIG,
    bounded_config,
)
from core.model_folders.model_files import ModelRefused

_DIT = diffusers.DiTTransformer2DModel
_CLASSES = {
    "UNet2DModel": (UNet2DModel, UNet2DModel),
    "DiTTransformer2DModel": (_DIT, _DIT),
    "Transformer2DModel": (_DIT, diffusers.Transformer2DModel),  # as diffusers itself maps the old name
}
_HARMLESS = ("num_embeds_ada_norm", "force_upcast", "decay", "inv_gamma", "min_decay", "optimization_step", "power")
_TABLE = ".embedding_table.weight"  # of each block of a DiT


@dataclass(frozen=True, kw_only=True)
class Denoiser:
    """A class-conditional network as its folder describes it. values: its whole configuration.

    rows: of its class embedding; null: the row of no class.
    """

    kind: type
    values: Mapping[str, Any]
    rows: int
    null: int

    def build(self, classes: int | None = None) -> Any:
        """The network without weights: as it is on disk or, with `classes`, as this lab runs it."""
        values = dict(self.values)
        if classes is not None:
            values["out_channels"] = values["in_channels"]
            values["num_embeds_ada_norm" if self.is_dit else "num_class_embeds"] = classes + (not self.is_dit)
        return _built(self.kind, values, UNET_CONFIG)

    @property
    def is_dit(self) -> bool:
        """A transformer, not a U-Net."""
        return self.kind is _DIT

    def narrowed(self, weights: dict[str, torch.Tensor], classes: int) -> dict[str, torch.Tensor]:
        """The weights for `build(classes)`: the rows 0 to K-1 and the null row, the outputs of the prediction."""
        found = dict(weights)
        rows = [*range(classes), self.null]
        for key, value in weights.items():
            if key.endswith(_TABLE) or key == "class_embedding.weight":
                found[key] = value[rows].clone()
        channels, out = self.values["in_channels"], self.values["out_channels"] or self.values["in_channels"]
        last = "proj_out_2" if self.is_dit else "conv_out"
        for key in (f"{last}.weight", f"{last}.bias"):
            kept = [row for row in range(len(weights[key])) if row % out < channels]  # patches × patches × channels
            found[key] = weights[key][kept].clone()
        return found


def denoiser_of(config: Mapping[str, Any], *, classes: int, latent_channels: int) -> Denoiser:
    """What transformer/config.json describes. Raises ModelRefused, naming what this lab cannot generate with."""
    name = str(config.get("_class_name"))
    if name not in _CLASSES:
        raise ModelRefused(f"{UNET_CONFIG}: is of a {quoted(name)}", f"one of {', '.join(_CLASSES)} is understood")
    kind, described = _CLASSES[name]
    values = _values(kind, described, config, UNET_CONFIG)
    if values["in_channels"] != latent_channels:
        raise ModelRefused(
            f"{UNET_CONFIG}: in_channels is {quoted(values['in_channels'])}, the VAE has {latent_channels} latent "
            "channels"
        )
    if values["out_channels"] not in (None, latent_channels, 2 * latent_channels):
        raise ModelRefused(
            f"{UNET_CONFIG}: out_channels is {quoted(values['out_channels'])}, neither in_channels nor twice as many"
        )
    key = "num_class_embeds" if kind is UNet2DModel else "num_embeds_ada_norm"
    count = values[key]
    if not isinstance(count, int) or count < classes:
        raise ModelRefused(f"{UNET_CONFIG}: {key} is {quoted(count)}, for {classes} classes of id2label")
    rows = count if kind is UNet2DModel else count + 1
    null = count if kind is not UNet2DModel else NULL_LABEL if rows > NULL_LABEL else classes
    if null >= rows:
        raise ModelRefused(
            f"{UNET_CONFIG}: num_class_embeds is {rows}, which leaves no row for no class",
            f"guidance needs {classes + 1} or {NULL_LABEL + 1}",
        )
    return Denoiser(kind=kind, values=values, rows=rows, null=null)


def build_stock_vae(config: Mapping[str, Any]) -> AutoencoderKL:
    """The VAE that vae/config.json describes, without weights. Raises ModelRefused."""
    values = _values(AutoencoderKL, AutoencoderKL, config, VAE_CONFIG)
    for key in ("latents_mean", "latents_std"):
        if values.get(key) is not None:
            raise ModelRefused(f"{VAE_CONFIG}: has {key}, which DiTPipeline does not apply")
    network: AutoencoderKL = _built(AutoencoderKL, values, VAE_CONFIG)
    return network


def _values(kind: type, described: type, config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The whole configuration: of the file, else as diffusers fills it. Raises ModelRefused for what it lacks."""
    config = bounded_config(config, name)
    known = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    defaults = {key: value.default for key, value in inspect.signature(described.__init__).parameters.items()}  # type: ignore[misc]
    for key, value in config.items():
        if key not in known and key not in _HARMLESS and value != defaults.get(key) and value not in (None, False):
            raise ModelRefused(f"{name}: {quoted(key, 60)} is {quoted(value)}, which this lab does not do")
    own = {key: value.default for key, value in known.items() if key != "self"}
    filled = {key: defaults.get(key, value) for key, value in own.items()}
    return {**filled, **{key: value for key, value in config.items() if key in known}}


def _built(kind: type, values: Mapping[str, Any], name: str) -> Any:
    try:
        with init_empty_weights(include_buffers=False):
            return kind(**values)
    except (ValueError, TypeError, RuntimeError, NotImplementedError, ArithmeticError, AttributeError) as error:
        raise ModelRefused(f"{name}: no such network can be built: {quoted(error, 120)}") from None
