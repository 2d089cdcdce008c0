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
from core.config.schema import DiffusionSettings, SamplingSettings, Settings
from core.diffusion.schedule import build_schedule
from core.errors import ConfigError, LabError, UsageError, quoted
from core.model_folders.cheap_checks import Betas, check_cheaply, check_plain, noise_of
from core.model_folders.diffusers_layout import SCHEDULER, UNET_WEIGHTS, VAE_WEIGHTS
from core.model_folders.model_facts import LAB_FILE, SETTINGS_FILE, VAE_FILE, LabFacts
from core.model_folders.model_files import WEIGHTS, ModelRefused, json_object
from core.model_folders.model_folder import build_model, check_model, check_networks, read_tensors
from core.runs.run import now_iso

BETA_TOLERANCE = 1e-6


def accepted(files: dict[str, bytes], *, name: str, data_set: str = "") -> dict[str, bytes]:
    """The files as they are kept, ours as they came, a plain folder's with what it lacks.

    Raises ModelRefused for anything damaged, foreign or hostile, UsageError for a dataset that ours name themselves.
    """
    check_cheaply(files, data_set=data_set)
    if LAB_FILE not in files:
        files = adopted(files, title=name, data_set=data_set)
    facts, settings = check_model(files)
    build_model(files, facts, settings, name=name, device="cpu")  # every number is looked at before anything is kept
    for path in files:
        if path.endswith(WEIGHTS) and path not in (UNET_WEIGHTS, VAE_FILE):
            read_tensors(files[path], path)
    return files


def adopted(files: dict[str, bytes], *, title: str, data_set: str = "") -> dict[str, bytes]:
    """A plain diffusers folder with what ours have beside it: lab.json, settings, and the VAE as it is.

    Raises ModelRefused, naming the first thing that this lab cannot generate with.
    """
    plain = check_plain(files)
    data = plain.data.model_copy(update={"name": data_set} if data_set else {})
    unet, vae = check_networks(files, image_size=data.image_size, channels=plain.channels)
    diffusion = diffusion_of(json_object(files, SCHEDULER))
    base = Settings(
        unet=unet, vae=vae, data=data, diffusion=diffusion, sampling=SamplingSettings(sampler=plain.sampler)
    )  # type: ignore[arg-type]
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
        "class_names": list(plain.class_names),
        "data_set": data_set,
        "data_title": data_set,
        "fingerprint": "",
        "channels": plain.channels,
        "shift": [0.0] * vae.latent_channels,
        "scale": [plain.factor] * vae.latent_channels,
        "licence": "not stated",
        "created_at": now_iso(),
        "files": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
    }
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    LabFacts.model_validate_json(text)
    return {**files, LAB_FILE: text.encode()}


def diffusion_of(config: Mapping[str, Any]) -> DiffusionSettings:
    """The noise schedule and prediction type that scheduler_config.json describes. Raises ModelRefused."""
    prediction, facts = noise_of(config)
    if facts is None:
        return _diffusion(config, schedule="flow", prediction_type="flow")
    betas = _betas_of(facts)
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
                return found
    raise ModelRefused(
        f"{SCHEDULER}: is none of the noise schedules of this lab",
        "linear, scaled_linear, cosine or sigmoid",
    )


def _diffusion(config: Mapping[str, Any], **values: Any) -> DiffusionSettings:
    try:
        return DiffusionSettings(num_train_timesteps=config.get("num_train_timesteps", 1000), **values)
    except ValueError as error:
        raise ModelRefused(f"{SCHEDULER}: {quoted(' '.join(str(error).split()), 160)}") from None


def _betas_of(facts: Betas) -> torch.Tensor:
    """betas (T,), by diffusers' own DDPM from the few settings that decide them."""
    if facts.trained:
        return torch.tensor(facts.trained, dtype=torch.float32)
    betas: torch.Tensor = DDPMScheduler(
        num_train_timesteps=facts.num_train_timesteps,
        beta_start=facts.start,
        beta_end=facts.end,
        beta_schedule=facts.schedule,
        rescale_betas_zero_snr=facts.rescaled,
    ).betas
    return betas
