"""A model folder of ours → the same denoiser that the run had, bit for bit; checked from end to end before it is built.

The U-Net comes from the plain diffusers part (its class embedding cut back from 1001 rows), the VAE from `lab/`, where
its latents are not folded. Networks are built by the lab's own builders on the meta device first: what a file says is
compared with that before a tensor is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from core.config.schema import Settings, UnetSettings, VaeSettings
from core.device import resolve_device
from core.diffusion.samplers import build_stock
from core.diffusion.schedule import build_schedule, stock_schedule
from core.errors import LabError, quoted
from core.home import PROGRAM
from core.latent.codec import LatentCodec, LatentScaling
from core.model_folders.cheap_checks import check_ours, networks_of
from core.model_folders.diffusers_layout import (
    NULL_LABEL,
    UNET_CONFIG,
    UNET_WEIGHTS,
    VAE_CONFIG,
    VAE_WEIGHTS,
    class_names_of_index,
)
from core.model_folders.model_facts import (
    LAB_FILE,
    PREFIX,
    SETTINGS_FILE,
    VAE_FILE,
    LabFacts,
    as_called,
)
from core.model_folders.model_files import ModelRefused, json_object, read_model_files, tensor_headers
from core.model_folders.stock_networks import Denoiser, build_stock_vae, denoiser_of
from core.model_folders.stock_scheduler import read_scheduler
from core.models.shapes import only_shapes
from core.models.unet import build_unet
from core.models.vae import build_vae
from core.rules import rules_of
from core.sampling.load import LoadedModel, weights_hash
from core.weighing import refuse_loading

EMBEDDING = "class_embedding.weight"
_HARMLESS = ("num_embeds_ada_norm",)


def load_model_folder(path: Path, *, device: str = "auto") -> LoadedModel:
    """A folder made by export → a denoiser with run_id 'model:<folder name>'.

    Raises ModelRefused, in one sentence, for anything damaged, foreign or hostile; see `check_model`. Raises UsageError
    where memory has no room for it.
    """
    files = read_model_files(path)
    if LAB_FILE not in files and "model_index.json" in files:
        raise ModelRefused(
            f"{quoted(path.name)}: is a plain diffusers folder without {LAB_FILE}",
            f"import it first: {PROGRAM} import-model FOLDER",
        )
    facts, settings = check_model(files)
    refuse_loading(quoted(path.name), sum(map(len, files.values())))
    return build_model(files, facts, settings, name=as_called(path).name, device=device)


def check_model(files: dict[str, bytes]) -> tuple[LabFacts, Settings]:
    """All that can be said of a folder of ours without building a network in memory.

    Raises ModelRefused for a missing or altered file, networks that do not fit their settings, or foreign classes.
    """
    facts, settings = check_ours(files)
    check = check_stock if facts.stock else check_networks
    unet, vae = check(files, image_size=settings.data.image_size, channels=facts.channels)
    if (unet, vae) != (settings.unet, settings.vae):
        raise ModelRefused(f"{SETTINGS_FILE}: describes other networks than the folder holds")
    if facts.stock:
        network = build_stock_vae(json_object(files, VAE_CONFIG))
    else:
        with only_shapes():
            network = build_vae(vae, channels=facts.channels, image_size=settings.data.image_size)
    check_tensors(files[VAE_FILE], VAE_FILE, network.state_dict())
    return facts, settings


def check_stock(files: dict[str, bytes], *, image_size: int, channels: int) -> tuple[UnetSettings, VaeSettings]:
    """(UnetSettings, VaeSettings) that come nearest to the networks of a plain diffusers folder, whose weights were
    compared with their own configurations. Raises ModelRefused."""
    unet, vae = networks_of(files)
    network = build_stock_vae(json_object(files, VAE_CONFIG))
    if network.config.in_channels != channels or network.config.out_channels != channels:
        raise ModelRefused(f"{VAE_CONFIG}: in_channels and out_channels differ")
    check_tensors(files[VAE_WEIGHTS], VAE_WEIGHTS, network.state_dict())
    denoiser = _denoiser(files, vae)
    wide = denoiser.build()
    check_tensors(files[UNET_WEIGHTS], UNET_WEIGHTS, wide.state_dict())
    if wide.config.sample_size * vae.downsample_factor != image_size:
        raise ModelRefused(f"{UNET_CONFIG}: sample_size is not that of images of {image_size} pixels")
    return unet, vae


def _denoiser(files: Mapping[str, bytes], vae: VaeSettings) -> Denoiser:
    files = dict(files)
    return denoiser_of(
        json_object(files, UNET_CONFIG),
        classes=len(class_names_of_index(files)),
        latent_channels=vae.latent_channels,
    )


def check_networks(files: dict[str, bytes], *, image_size: int, channels: int) -> tuple[Any, Any]:
    """(UnetSettings, VaeSettings) of the plain part, whose weights were compared with them. Raises ModelRefused."""
    unet, vae = networks_of(files)
    if image_size % vae.downsample_factor:
        raise ModelRefused(f"{VAE_CONFIG}: {image_size} pixels cannot be halved so often")
    try:
        with only_shapes():
            wide = build_unet(
                unet,
                latent_channels=vae.latent_channels,
                latent_size=image_size // vae.downsample_factor,
                num_classes=NULL_LABEL,
            )
            network = build_vae(vae, channels=channels, image_size=image_size)
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise ModelRefused(f"{UNET_CONFIG}: no such network can be built: {quoted(error, 120)}") from None
    _check_config(UNET_CONFIG, json_object(files, UNET_CONFIG), wide.config)
    _check_config(VAE_CONFIG, json_object(files, VAE_CONFIG), network.config, but=("scaling_factor", "force_upcast"))
    check_tensors(files[UNET_WEIGHTS], UNET_WEIGHTS, wide.state_dict())
    check_tensors(files[VAE_WEIGHTS], VAE_WEIGHTS, network.state_dict())
    return unet, vae


def _check_config(name: str, config: Mapping[str, Any], expected: Mapping[str, Any], but: tuple[str, ...] = ()) -> None:
    for key, value in config.items():
        if key.startswith("_") or key in but or key in _HARMLESS:
            continue
        wanted = expected.get(key)
        wanted = list(wanted) if isinstance(wanted, tuple) else wanted
        if value != wanted and not (key not in expected and value in (None, False)):
            raise ModelRefused(
                f"{name}: {quoted(key, 60)} is {quoted(value)}, this lab builds it with {quoted(wanted)} only"
            )


def check_tensors(data: bytes, name: str, expected: Mapping[str, torch.Tensor]) -> None:
    """Raises ModelRefused when a weights file has other tensors or shapes than the network. Makes no tensor."""
    headers = tensor_headers(data, name)
    missing = [key for key in expected if key not in headers]
    extra = [key for key in headers if key not in expected]
    if missing or extra:
        what = f"lacks {missing[0]}" if missing else f"has {extra[0]}, which the network does not"
        raise ModelRefused(f"{name}: {quoted(what, 160)}")
    for key, value in expected.items():
        if headers[key].shape != tuple(value.shape):
            raise ModelRefused(
                f"{name}: {quoted(key, 80)} has shape {headers[key].shape}, the network needs {tuple(value.shape)}"
            )


def read_tensors(data: bytes, name: str) -> dict[str, torch.Tensor]:
    """The tensors of a checked file, float32. Raises ModelRefused when one is not finite."""
    try:
        tensors = {key: value.float() for key, value in load_safetensors(data).items()}
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise ModelRefused(f"{name}: cannot be read: {quoted(error, 120)}") from None
    for key, value in tensors.items():
        if not bool(value.isfinite().all()):
            raise ModelRefused(f"{name}: {quoted(key, 80)} holds NaN or infinite numbers")
    return tensors


def build_model(
    files: Mapping[str, bytes], facts: LabFacts, settings: Settings, *, name: str, device: str
) -> LoadedModel:
    """The denoiser of a folder that `check_model` accepted. Raises ModelRefused for weights that are not finite."""
    target = resolve_device(device)
    classes = len(facts.class_names)
    weights = read_tensors(files[UNET_WEIGHTS], UNET_WEIGHTS)
    side = settings.data.image_size // settings.vae.downsample_factor
    try:
        if facts.stock:
            denoiser = _denoiser(files, settings.vae)
            weights, unet = denoiser.narrowed(weights, classes), denoiser.build(classes)
            vae = build_stock_vae(json_object(dict(files), VAE_CONFIG))
            stock = read_scheduler(files)
            schedule = stock_schedule(build_stock(stock), stock, settings.diffusion.schedule)
        else:
            weights[EMBEDDING] = weights[EMBEDDING][[*range(classes), NULL_LABEL]].clone()
            with only_shapes():
                unet = build_unet(
                    settings.unet, latent_channels=settings.vae.latent_channels, latent_size=side, num_classes=classes
                )
                vae = build_vae(settings.vae, channels=facts.channels, image_size=settings.data.image_size)
            schedule = build_schedule(settings.diffusion)
        unet.load_state_dict(weights, assign=True)
        vae.load_state_dict(read_tensors(files[VAE_FILE], VAE_FILE), assign=True)
    except LabError as error:
        raise ModelRefused(f"{quoted(name)}: {error.message}", error.hint) from None
    return LoadedModel(
        unet=unet.to(target).eval().requires_grad_(False),
        codec=LatentCodec(
            vae=vae.to(target).eval().requires_grad_(False),
            scaling=LatentScaling(shift=facts.shift, scale=facts.scale),
        ),
        schedule=schedule,
        settings=settings,
        class_names=facts.class_names,
        image_set_fingerprint=facts.fingerprint,
        run_id=PREFIX + name,
        step=facts.step,
        device=target,
        weights_sha256=weights_hash(files[UNET_WEIGHTS], files[VAE_FILE]),
        noise_rule=rules_of(facts.versions).noise,
    )
