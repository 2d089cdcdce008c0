"""A folder of somebody else → the files of a model of ours, checked to the last number; nothing in it is run.

A plain diffusers folder gets what ours have beside it: settings read from its configurations, and its own VAE with its
`scaling_factor`.
"""

from __future__ import annotations

import hashlib
import json

from core.config.frozen import dump_settings
from core.config.load import settings_from
from core.config.schema import DiffusionSettings, SamplingSettings, Settings
from core.diffusion.samplers import build_stock
from core.diffusion.schedule import build_schedule
from core.diffusion.stock import StockScheduler
from core.errors import ConfigError, LabError, UsageError, quoted
from core.model_folders.cheap_checks import check_cheaply, check_plain
from core.model_folders.diffusers_layout import SCHEDULER, UNET_WEIGHTS, VAE_WEIGHTS
from core.model_folders.model_facts import LAB_FILE, SETTINGS_FILE, VAE_FILE, LabFacts
from core.model_folders.model_files import WEIGHTS, ModelRefused
from core.model_folders.model_folder import build_model, check_model, check_stock, read_tensors
from core.runs.run import now_iso


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
    unet, vae = check_stock(files, image_size=data.image_size, channels=plain.channels)
    settings, problem = None, ConfigError("")
    for diffusion in diffusions_like(plain.stock):
        base = Settings(
            unet=unet, vae=vae, data=data, diffusion=diffusion, sampling=SamplingSettings(sampler=plain.stock.sampler)
        )
        try:
            settings = settings_from(base.model_dump(mode="json"))
            break
        except ConfigError as error:
            if error.message.startswith("data."):
                raise UsageError(f"--data {quoted(data_set)}: {error.message}", error.hint) from None
            problem = error
    if settings is None:
        raise ModelRefused(f"{SCHEDULER}: {problem.message}", problem.hint)
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
        "stock": True,
        "files": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
    }
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    LabFacts.model_validate_json(text)
    return {**files, LAB_FILE: text.encode()}


def diffusions_like(stock: StockScheduler) -> list[DiffusionSettings]:
    """The lab's schedules and prediction type that describe such a scheduler, the nearest first.

    What generates has the scheduler itself; settings name the schedule that is most like it. Raises ModelRefused for
    what diffusers cannot build, or what ends in pure noise and predicts it.
    """
    try:
        betas = build_stock(stock, 10).betas if not stock.is_flow else None
    except UsageError as error:
        raise ModelRefused(f"{SCHEDULER}: {error.message}", error.hint) from None
    count = int(stock.options.get("num_train_timesteps", 1000))
    if betas is None:
        return [DiffusionSettings(num_train_timesteps=count, schedule="flow", prediction_type="flow")]
    end = 1.0 - betas.double()
    if stock.prediction_type == "epsilon" and float(end.min()) <= 0:
        raise ModelRefused(
            f"{SCHEDULER}: ends in pure noise, and a prediction of the noise divides by zero there",
            "prediction_type v_prediction or sample fits such betas",
        )
    wanted = end.cumprod(0).sqrt()
    first, last = (min(max(float(beta), 1e-6), 0.999) for beta in (betas[0], betas[-1]))
    asked = [stock.options.get("beta_start", first), stock.options.get("beta_end", last)]
    pairs = [(first, last), (1e-4, 0.02), (float(asked[0] or first), float(asked[1] or last))]
    found: list[tuple[float, DiffusionSettings]] = []
    for schedule in ("linear", "scaled_linear", "cosine", "sigmoid"):
        for zero in (False, True):
            for start, stop in dict.fromkeys(pairs):
                try:
                    diffusion = DiffusionSettings(
                        num_train_timesteps=count,
                        schedule=schedule,  # type: ignore[arg-type]
                        prediction_type=stock.prediction_type,  # type: ignore[arg-type]
                        rescale_betas_zero_snr=zero,
                        beta_start=start,
                        beta_end=stop,
                    )
                    near = build_schedule(diffusion)
                except (LabError, ValueError):
                    continue
                found.append((round(float((near.signal_scale - wanted).abs().max()), 6), diffusion))
    return [diffusion for _, diffusion in sorted(found, key=lambda pair: pair[0])]
