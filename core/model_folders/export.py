"""A trained run → a folder that plain diffusers loads, and that this lab loads back bit for bit.

The plain part is a stock `DiTPipeline` with the U-Net in its transformer slot: averaged weights, the class embedding
widened to 1001 rows (unused ones are the null row, which the pipeline expects at 1000), the scaling of the latents
folded into the two 1×1 convolutions around them, and a scheduler that the pipeline drives rightly. Beside it, in
`lab.json` and `lab/`, lies what plain diffusers has no place for.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save as save_safetensors

from core import atomic
from core.config.frozen import dump_settings
from core.config.load import settings_from
from core.config.schema import MachineSettings, Settings
from core.diffusers_parts import AutoencoderKL, diffusers
from core.diffusion.sampler_table import EXPORTED_SAMPLERS, SAMPLERS
from core.diffusion.samplers import build_sampler
from core.errors import UsageError, quoted
from core.latent.codec import LatentScaling
from core.model_folders.diffusers_layout import (
    INDEX,
    NULL_LABEL,
    PIPELINE,
    SCHEDULER,
    UNET_CONFIG,
    UNET_WEIGHTS,
    VAE_CONFIG,
    VAE_WEIGHTS,
)
from core.model_folders.model_card import model_card
from core.model_folders.model_facts import (
    CARD_FILE,
    GRID_FILE,
    JUDGE_FOLDER,
    LAB_FILE,
    SETTINGS_FILE,
    VAE_FILE,
    LabFacts,
)
from core.model_folders.model_folder import EMBEDDING
from core.models.shapes import only_shapes
from core.models.unet import build_unet
from core.mosaic import mosaic
from core.rules import NEWEST, Rules
from core.runs.facts import DataFacts, codec_facts, data_facts
from core.runs.provenance import package_versions
from core.runs.run import Run, now_iso
from core.runs.store import storage_error
from core.sampling.load import LoadedModel, Weights, load_model
from core.sampling.request import request_of
from core.sampling.steps import sample

GRID_CLASSES, GRID_EACH = 10, 10
DEFAULT_LICENCE = "mit"
MAX_LICENCE = 200
Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is asked for. step: None takes the newest checkpoint.

    report: the newest evaluation's fields or None; judge: its files by name, so that class probabilities work without
    the dataset; sampler: '' takes the run's own where the pipeline drives it, else unipc (flow matching) or ddim.
    """

    step: int | None = None
    weights: Weights = "ema"
    licence: str = DEFAULT_LICENCE
    sampler: str = ""
    report: Mapping[str, Any] | None = None
    judge: Mapping[str, bytes] = field(default_factory=dict)


DEFAULTS = ExportOptions()


@dataclass(frozen=True, kw_only=True)
class ExportDetails(ExportOptions):
    """What the card and lab.json say beside the weights."""

    title: str
    run_id: str
    data: DataFacts
    revision: str = ""
    trained_on: str = ""
    latent_kl: Sequence[float] = ()  # (c,) nats per image; empty when unknown
    rules: Rules = NEWEST


def export_run(
    run: Run, target: Path, options: ExportOptions = DEFAULTS, progress: Progress = lambda stage, share: None
) -> Path:
    """Write the folder `target`, whole or not at all; returns it. progress: see `export_files`.

    Raises UsageError for a full `target`, and what `files_of_run` raises.
    """
    check_target(target)
    return write_export(files_of_run(run, options, progress), target)


def files_of_run(run: Run, options: ExportOptions, progress: Progress = lambda stage, share: None) -> dict[str, bytes]:
    """All files of the folder by relative path. progress: see `export_files`.

    Raises a LabError: UsageError for a licence that cannot be printed, CheckpointError without that checkpoint.
    """
    if not options.licence.isprintable() or len(options.licence) > MAX_LICENCE:
        raise UsageError(
            f"license: '{quoted(options.licence, 60)}' is not one printable line of at most {MAX_LICENCE} characters",
            "give its short name, such as mit",
        )
    progress("reading the checkpoint", 0.0)
    model = load_model(run, device="cpu", weights=options.weights, step=options.step)
    details = ExportDetails(
        **vars(options),
        title=run.info.name or run.id,
        run_id=run.id,
        data=data_facts(run),
        revision=run.info.revision,
        trained_on=_trained_on(run, model.step),
        latent_kl=codec_facts(run).kl,
        rules=run.rules,
    )
    return export_files(model, details, progress)


def _trained_on(run: Run, step: int) -> str:
    """Device and time of a run that ended at this step, '' for an earlier checkpoint."""
    status = run.status()
    if status.step != step or not status.device:
        return ""
    return f"{status.device.split(' (')[0]} in {status.elapsed_s:,.0f} s"


def check_target(target: Path) -> None:
    """Raises UsageError when the folder exists and is not empty."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{quoted(target)}: exists and is not empty", "give a new folder")


def write_export(files: Mapping[str, bytes], target: Path) -> Path:
    """The folder, whole or not at all. Raises UsageError when it is not empty, LabError on a full disk."""
    check_target(target)
    try:
        atomic.make_folder(target.parent)
        atomic.write_folder(target, files)
    except OSError as error:
        raise storage_error(error, target) from None
    return target


def export_files(
    model: LoadedModel, details: ExportDetails, progress: Progress = lambda stage, share: None
) -> dict[str, bytes]:
    """All files of the folder by relative path. progress: told what is done and how far all is (0 to 1); what it
    raises ends it. Raises UsageError for more classes than the pipeline has room for."""
    if model.num_classes > NULL_LABEL:
        raise UsageError(f"{model.run_id}: has {model.num_classes:,} classes, {PIPELINE} has room for {NULL_LABEL:,}")
    settings, channels = portable_settings(model.settings), int(model.codec.vae.config["in_channels"])
    sampler = build_sampler(
        scheduler_name(model, details.sampler), model.schedule, settings.sampling.num_inference_steps
    )
    unet_config, unet_state = widened(model)
    folded = fold_scaling(model.codec.vae, model.codec.scaling)
    files = {
        SCHEDULER: sampler.to_json_string().encode(),
        UNET_CONFIG: unet_config,
        UNET_WEIGHTS: _weights(unet_state),
        VAE_CONFIG: folded.to_json_string().encode(),
        VAE_WEIGHTS: _weights(folded.state_dict()),
        INDEX: _json(
            {
                "_class_name": PIPELINE,
                "_diffusers_version": diffusers.__version__,
                "scheduler": ["diffusers", type(sampler).__name__],
                "transformer": ["diffusers", "UNet2DModel"],
                "vae": ["diffusers", "AutoencoderKL"],
                # the pipeline takes what stands between commas for different names of one class
                "id2label": {str(k): name.replace(",", " ") or str(k) for k, name in enumerate(model.class_names)},
            }
        ),
        VAE_FILE: _weights(model.codec.vae.state_dict()),
        SETTINGS_FILE: dump_settings(settings).encode(),
        GRID_FILE: grid_png(model, lambda share: progress("generating its example images", 0.1 + 0.85 * share)),
        **{f"{JUDGE_FOLDER}/{name}": data for name, data in details.judge.items()},
    }
    facts = {
        "format_version": 1,
        "title": details.title,
        "run_id": details.run_id,
        "step": model.step,
        "weights": details.weights,
        "class_names": list(model.class_names),
        "data_set": details.data.name,
        "data_title": details.data.title,
        "fingerprint": model.image_set_fingerprint,
        "channels": channels,
        "shift": list(model.codec.scaling.shift),
        "scale": list(model.codec.scaling.scale),
        "licence": details.licence,
        "created_at": now_iso(),
        "revision": details.revision,
        "trained_on": details.trained_on,
        "versions": package_versions(details.rules),
        "report": dict(details.report) if details.report else None,
        "files": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
    }
    LabFacts.model_validate_json(json.dumps(facts))
    card = model_card(facts, settings, scheduler=type(sampler).__name__, latent_kl=details.latent_kl)
    return {**files, LAB_FILE: _json(facts), CARD_FILE: card.encode()}


def portable_settings(settings: Settings) -> Settings:
    """The settings without anything that names a place on the machine that trained."""
    values = settings.model_dump(mode="json")
    values["machine"] = MachineSettings().model_dump(mode="json")
    if values["data"]["path"]:
        values["data"]["path"] = Path(values["data"]["path"]).name
    return settings_from(values)


def scheduler_name(model: LoadedModel, wanted: str) -> str:
    """The sampler whose scheduler goes into the folder. Raises UsageError for one that the pipeline drives wrongly."""
    if wanted and wanted not in EXPORTED_SAMPLERS:
        reason = SAMPLERS[wanted].not_exported if wanted in SAMPLERS else "does not exist"
        raise UsageError(f"--sampler {quoted(wanted)}: {reason}", f"use one of {', '.join(EXPORTED_SAMPLERS)}")
    settings = model.settings
    fallbacks = ("unipc", "dpmpp_2m") if model.schedule.is_flow else ("ddim",)
    for name in (wanted,) if wanted else (settings.sampling.sampler, *fallbacks):
        problem = settings.diffusion.sampler_problem(name, settings.sampling.num_inference_steps)
        if name in EXPORTED_SAMPLERS and problem is None:
            return name
    raise UsageError(f"--sampler: {problem}")


def widened(model: LoadedModel) -> tuple[bytes, dict[str, torch.Tensor]]:
    """(config.json, weights) of the U-Net with 1001 class rows: the K classes, then the null row again and again."""
    with only_shapes():
        wide = build_unet(
            model.settings.unet,
            latent_channels=model.latent_shape[0],
            latent_size=model.latent_shape[1],
            num_classes=NULL_LABEL,
        )
    wide.register_to_config(num_embeds_ada_norm=NULL_LABEL)
    state = dict(model.unet.state_dict())
    rows = state[EMBEDDING]
    state[EMBEDDING] = torch.cat([rows[:-1], rows[-1:].repeat(NULL_LABEL + 1 - model.num_classes, 1)])
    return wide.to_json_string().encode(), state


def fold_scaling(vae: AutoencoderKL, scaling: LatentScaling) -> AutoencoderKL:
    """A copy of the VAE whose own latents are normalised: what (raw - shift) · scale does, its 1×1 convolutions do.

    Exact but for float32 rounding; computed in float64.
    """
    folded = copy.deepcopy(vae).cpu()
    shift = torch.tensor(scaling.shift, dtype=torch.float64)
    scale = torch.tensor(scaling.scale, dtype=torch.float32).double()
    channels = len(scaling.scale)
    with torch.no_grad():
        weight, bias = folded.quant_conv.weight.double(), folded.quant_conv.bias.double()
        weight[:channels] *= scale[:, None, None, None]
        bias[:channels] = (bias[:channels] - shift) * scale
        bias[channels:] += 2 * scale.log()  # log-variance
        folded.quant_conv.weight.copy_(weight)
        folded.quant_conv.bias.copy_(bias)
        weight, bias = folded.post_quant_conv.weight.double(), folded.post_quant_conv.bias.double()
        folded.post_quant_conv.bias.copy_(bias + weight[:, :, 0, 0] @ shift)
        folded.post_quant_conv.weight.copy_(weight / scale[None, :, None, None])
    return folded


def grid_png(model: LoadedModel, on_step: Callable[[float], None]) -> bytes:
    """A picture of the pictures: one row a class, with the settings of the folder. on_step: of `sample`."""
    classes = range(min(model.num_classes, GRID_CLASSES))
    images = sample(
        model,
        request_of(
            model.settings.sampling, (label for label in classes for _ in range(GRID_EACH)), noise_rule=model.noise_rule
        ),
        on_step=on_step,
    )
    sheet: np.ndarray = mosaic(images, columns=GRID_EACH, zoom=max(1, 64 // images.shape[1]))
    picture = io.BytesIO()
    Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet).save(picture, format="PNG", optimize=True)
    return picture.getvalue()


def _weights(state: Mapping[str, torch.Tensor]) -> bytes:
    tensors = {key: value.detach().float().cpu().contiguous() for key, value in state.items()}
    data: bytes = save_safetensors(tensors, metadata={"format": "pt"})
    return data


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
