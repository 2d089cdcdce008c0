"""What an imported folder must say of itself, looked at before PyTorch is loaded, which takes over a gigabyte."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.config.schema import DataSettings, Settings, UnetSettings, VaeSettings
from core.diffusion.stock import StockScheduler
from core.errors import UsageError, quoted
from core.model_folders.diffusers_layout import (
    UNET_CONFIG,
    UNET_WEIGHTS,
    VAE_CONFIG,
    check_files,
    class_names_of_index,
    unet_settings_of,
    vae_settings_of,
)
from core.model_folders.model_facts import LAB_FILE, SETTINGS_FILE, VAE_FILE, LabFacts, parse_facts, parse_settings
from core.model_folders.model_files import WEIGHTS, ModelRefused, json_object, tensor_headers
from core.model_folders.stock_scheduler import read_scheduler


@dataclass(frozen=True, kw_only=True)
class PlainFolder:
    """A plain diffusers folder in the lab's own settings. factor: the VAE's scaling."""

    class_names: tuple[str, ...]
    unet: UnetSettings
    vae: VaeSettings
    data: DataSettings
    channels: int
    factor: float
    stock: StockScheduler


def check_cheaply(files: dict[str, bytes], *, data_set: str) -> None:
    """Raises ModelRefused for all that can be refused without PyTorch, UsageError for a dataset that ours name."""
    if LAB_FILE not in files:
        check_plain(files)
    elif data_set:
        raise UsageError(f"--data {quoted(data_set)} is not needed: this model records its dataset", "leave it out")
    else:
        check_ours(files)
    for name in files:
        if name.endswith(WEIGHTS):
            tensor_headers(files[name], name)


def check_ours(files: dict[str, bytes]) -> tuple[LabFacts, Settings]:
    """What a folder of ours says of itself. Raises ModelRefused for a missing or altered file, or foreign classes."""
    check_files(files)
    for name in (LAB_FILE, SETTINGS_FILE, VAE_FILE):
        if name not in files:
            raise ModelRefused(f"{name}: is missing", "give the whole folder, as it was exported")
    facts, settings = parse_facts(files[LAB_FILE]), parse_settings(files[SETTINGS_FILE])
    for name in (*facts.files, UNET_WEIGHTS, VAE_FILE, SETTINGS_FILE):
        data, fact = files.get(name), facts.files.get(name)
        if data is None or fact is None:
            raise ModelRefused(f"{quoted(name)}: is missing", "give the whole folder, as it was exported")
        if hashlib.sha256(data).hexdigest() != fact.sha256:
            raise ModelRefused(f"{quoted(name)}: was altered after the export", "fetch the folder again")
    if len(class_names_of_index(files)) != len(facts.class_names):
        raise ModelRefused("model_index.json: id2label and lab.json name different numbers of classes")
    if not len(facts.shift) == len(facts.scale) == settings.vae.latent_channels or min(facts.scale) <= 0:
        raise ModelRefused(f"{LAB_FILE}: shift and scale do not fit {settings.vae.latent_channels} latent channels")
    networks_of(files)
    return facts, settings


def check_plain(files: dict[str, bytes]) -> PlainFolder:
    """What a plain diffusers folder says of itself. Raises ModelRefused, naming what this lab cannot generate with."""
    check_files(files)
    names = class_names_of_index(files)
    unet_config, vae_config = json_object(files, UNET_CONFIG), json_object(files, VAE_CONFIG)
    side, channels, factor = _side(unet_config), vae_config.get("in_channels", 3), _scaling_factor(vae_config)
    unet, vae = networks_of(files)
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= 512:
        raise ModelRefused(f"{UNET_CONFIG}: sample_size is {quoted(side)}, not one whole number up to 512")
    if channels not in (1, 3) or not isinstance(channels, int) or isinstance(channels, bool):
        raise ModelRefused(f"{VAE_CONFIG}: in_channels is {quoted(channels)}, images have 1 or 3")
    try:
        data = DataSettings(image_size=side * vae.downsample_factor)
    except ValueError as error:
        raise ModelRefused(f"{VAE_CONFIG}: {quoted(' '.join(str(error).split()), 160)}") from None
    return PlainFolder(
        class_names=names,
        unet=unet,
        vae=vae,
        data=data,
        channels=channels,
        factor=factor,
        stock=read_scheduler(files),
    )


def _side(config: Mapping[str, Any]) -> Any:
    """sample_size, which a DiT has by default."""
    return config.get("sample_size", None if config.get("_class_name") == "UNet2DModel" else 32)


def networks_of(files: dict[str, bytes]) -> tuple[UnetSettings, VaeSettings]:
    """The two networks that the plain part describes. Raises ModelRefused."""
    shapes = [header.shape for header in tensor_headers(files[UNET_WEIGHTS], UNET_WEIGHTS).values()]
    unet = unet_settings_of(json_object(files, UNET_CONFIG), parameters=sum(map(math.prod, shapes)))
    return unet, vae_settings_of(json_object(files, VAE_CONFIG))


def _scaling_factor(vae_config: Mapping[str, Any]) -> float:
    value = vae_config.get("scaling_factor", 0.18215)  # diffusers' own default
    if not isinstance(value, int | float) or isinstance(value, bool) or not 1e-6 <= value <= 1e6:
        raise ModelRefused(f"{VAE_CONFIG}: scaling_factor is {quoted(value)}, no usable number")
    if vae_config.get("shift_factor") not in (None, 0, 0.0):
        raise ModelRefused(f"{VAE_CONFIG}: has a shift_factor, which DiTPipeline does not apply")
    return float(value)
