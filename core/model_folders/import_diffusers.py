"""A folder of somebody else → the files of a model of ours, checked to the last number; nothing in it is run.

A plain diffusers folder gets what ours have beside it: settings read from its configurations, and its own VAE with its
`scaling_factor`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDPMScheduler

from core.config.frozen import dump_settings
from core.config.load import settings_from
from core.config.schema import DataSettings, DiffusionSettings, SamplingSettings, Settings
from core.diffusion.sampler_table import EXPORTED_SAMPLERS, SAMPLERS
from core.diffusion.schedule import build_schedule
from core.errors import ConfigError, LabError, UsageError, quoted
from core.model_folders.diffusers_layout import (
    SCHEDULER,
    UNET_CONFIG,
    UNET_WEIGHTS,
    VAE_CONFIG,
    VAE_WEIGHTS,
    check_files,
    class_names_of_index,
    vae_settings_of,
)
from core.model_folders.model_facts import LAB_FILE, SETTINGS_FILE, VAE_FILE, LabFacts
from core.model_folders.model_files import WEIGHTS, ModelRefused, json_object
from core.model_folders.model_folder import build_model, check_model, check_networks, read_tensors
from core.runs.run import now_iso

BETA_TOLERANCE = 1e-6
_PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v_prediction", "sample": "sample"}


def accepted(files: dict[str, bytes], *, name: str, data_set: str = "") -> dict[str, bytes]:
    """The files as they are kept, ours as they came, a plain folder's with what it lacks.

    Raises ModelRefused for anything damaged, foreign or hostile, UsageError for a data set that ours name themselves.
    """
    if LAB_FILE not in files:
        files = adopted(files, title=name, data_set=data_set)
    elif data_set:
        raise UsageError(f"--data {quoted(data_set)}: this folder says itself what it learned from", "leave it out")
    facts, settings = check_model(files)
    build_model(files, facts, settings, name=name, device="cpu")  # every number is looked at before anything is kept
    for path in files:
        if path.endswith(WEIGHTS) and path not in (UNET_WEIGHTS, VAE_FILE):
            read_tensors(files[path], path)
    return files


def adopted(files: dict[str, bytes], *, title: str, data_set: str = "") -> dict[str, bytes]:
    """A plain diffusers folder with what ours have beside it: lab.json, settings, and the VAE as it is.

    Raises ModelRefused, naming the first thing that this lab cannot draw with.
    """
    check_files(files)
    names = class_names_of_index(files)
    unet_config, vae_config = json_object(files, UNET_CONFIG), json_object(files, VAE_CONFIG)
    side, channels, factor = unet_config.get("sample_size"), vae_config.get("in_channels"), _scaling_factor(vae_config)
    vae = vae_settings_of(vae_config)
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= 512:
        raise ModelRefused(f"{UNET_CONFIG}: sample_size is {quoted(side)}, not one whole number up to 512")
    if channels not in (1, 3) or isinstance(channels, bool):
        raise ModelRefused(f"{VAE_CONFIG}: in_channels is {quoted(channels)}, pictures have 1 or 3")
    try:
        data = DataSettings(image_size=side * vae.downsample_factor)
    except ValueError as error:
        raise ModelRefused(f"{VAE_CONFIG}: {quoted(_first_line(error), 160)}") from None
    data = data.model_copy(update={"name": data_set} if data_set else {})
    unet, vae = check_networks(files, image_size=data.image_size, channels=int(channels))
    diffusion, sampler = _diffusion_of(json_object(files, SCHEDULER))
    base = Settings(unet=unet, vae=vae, data=data, diffusion=diffusion, sampling=SamplingSettings(sampler=sampler))  # type: ignore[arg-type]
    try:
        settings = settings_from(base.model_dump(mode="json"))
    except ConfigError as error:
        if error.message.startswith("data."):
            raise UsageError(f"--data {quoted(data_set)}: {error.message}", error.hint) from None
        raise ModelRefused(f"{SCHEDULER}: {error.message}", error.hint) from None
    files = {**files, VAE_FILE: files[VAE_WEIGHTS], SETTINGS_FILE: dump_settings(settings).encode()}
    facts = {
        "format_version": 1,
        "title": title,
        "run_id": "",
        "step": 0,
        "weights": "ema",
        "class_names": list(names),
        "data_set": data_set,
        "data_title": data_set,
        "fingerprint": "",
        "channels": channels,
        "shift": [0.0] * vae.latent_channels,
        "scale": [factor] * vae.latent_channels,
        "licence": "not stated",
        "created_at": now_iso(),
        "files": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
    }
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    LabFacts.model_validate_json(text)
    return {**files, LAB_FILE: text.encode()}


def _scaling_factor(vae_config: Mapping[str, Any]) -> float:
    value = vae_config.get("scaling_factor", 0.18215)  # diffusers' own default
    if not isinstance(value, int | float) or isinstance(value, bool) or not 1e-6 <= value <= 1e6:
        raise ModelRefused(f"{VAE_CONFIG}: scaling_factor is {quoted(value)}, no usable number")
    if vae_config.get("shift_factor") not in (None, 0, 0.0):
        raise ModelRefused(f"{VAE_CONFIG}: has a shift_factor, which DiTPipeline does not apply")
    return float(value)


def _diffusion_of(config: Mapping[str, Any]) -> tuple[DiffusionSettings, str]:
    """(the noise schedule and prediction type, the sampler's name) that scheduler_config.json describes."""
    sampler = _sampler_of(config)
    if config.get("prediction_type") == "flow_prediction":
        if config.get("use_flow_sigmas") is not True or config.get("flow_shift", 1.0) != 1.0:
            raise ModelRefused(f"{SCHEDULER}: flow matching is understood with use_flow_sigmas and flow_shift 1 only")
        return _diffusion(config, schedule="flow", prediction_type="flow"), sampler
    prediction = _PREDICTIONS.get(str(config.get("prediction_type", "epsilon")))
    if prediction is None:
        raise ModelRefused(f"{SCHEDULER}: prediction_type {quoted(config.get('prediction_type'))} is not understood")
    betas = _betas_of(config)
    first, last = float(betas[0]), float(betas[-1])
    zero = {"rescale_betas_zero_snr": True}
    for schedule in ("linear", "scaled_linear", "cosine", "sigmoid"):
        for extra in ({}, zero):
            start, end = (1e-4, 0.02) if extra or schedule in ("cosine", "sigmoid") else (first, last)
            try:
                found = _diffusion(
                    config, schedule=schedule, prediction_type=prediction, beta_start=start, beta_end=end, **extra
                )
                built = build_schedule(found).betas
            except LabError:
                continue
            if built is not None and bool(((built - betas).abs() < BETA_TOLERANCE).all()):
                return found, sampler
    raise ModelRefused(
        f"{SCHEDULER}: is none of the noise schedules of this lab",
        "linear, scaled_linear, cosine or sigmoid",
    )


def _sampler_of(config: Mapping[str, Any]) -> str:
    classes = {SAMPLERS[name].class_name: name for name in EXPORTED_SAMPLERS}
    kind = config.get("_class_name")
    if not isinstance(kind, str) or kind not in classes:
        raise ModelRefused(f"{SCHEDULER}: is of a {quoted(kind)}", f"one of {', '.join(classes)} is understood")
    return classes[kind]


def _diffusion(config: Mapping[str, Any], **values: Any) -> DiffusionSettings:
    try:
        return DiffusionSettings(num_train_timesteps=config.get("num_train_timesteps", 1000), **values)
    except ValueError as error:
        raise ModelRefused(f"{SCHEDULER}: {quoted(_first_line(error), 160)}") from None


def _betas_of(config: Mapping[str, Any]) -> torch.Tensor:
    """betas (T,), by diffusers' own DDPM from the few settings that decide them. Raises ModelRefused."""
    count, trained = config.get("num_train_timesteps", 1000), config.get("trained_betas")
    if not isinstance(count, int) or isinstance(count, bool) or not 10 <= count <= 10_000:
        raise ModelRefused(f"{SCHEDULER}: num_train_timesteps is {quoted(count)}, not between 10 and 10,000")
    if trained is not None:
        if not isinstance(trained, list) or len(trained) != count:
            raise ModelRefused(f"{SCHEDULER}: trained_betas are not {count:,} numbers")
        if not all(isinstance(value, int | float) and 0 < value <= 1 for value in trained):
            raise ModelRefused(f"{SCHEDULER}: trained_betas must lie between 0 and 1")
        return torch.tensor(trained, dtype=torch.float32)
    start, end = config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
    if not all(isinstance(value, float) and 0 < value < 1 for value in (start, end)):
        raise ModelRefused(f"{SCHEDULER}: beta_start and beta_end must lie between 0 and 1")
    name = config.get("beta_schedule", "linear")
    if name not in ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"):
        raise ModelRefused(f"{SCHEDULER}: beta_schedule {quoted(name)} is not understood")
    rescaled = config.get("rescale_betas_zero_snr", False) is True
    betas: torch.Tensor = DDPMScheduler(
        num_train_timesteps=count, beta_start=start, beta_end=end, beta_schedule=name, rescale_betas_zero_snr=rescaled
    ).betas
    return betas


def _first_line(error: ValueError) -> str:
    return " ".join(str(error).split())
