"""Models of others, as plain diffusers folders of many kinds: imported, and their images against diffusers' own.

`python -m benchmarks.foreign_models [CASE …]` makes the folders with random weights, reads each as `import-model`
does and prints the largest difference of a pixel in [0, 1]. It fails when one is refused or more than 1e-4 off.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, DiTPipeline, DiTTransformer2DModel, UNet2DModel

from core.errors import LabError
from core.model_folders.import_child import KEPT, LIMITS, read
from core.model_folders.import_child import request_of as request_of_child
from core.model_folders.model_folder import load_model_folder
from core.sampling.noise import first_noise, noise_sources
from core.sampling.request import SampleRequest
from core.sampling.steps import sample_steps

TOLERANCE = 1e-4
CLASSES = 10
CONFIGS = ("transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One folder. scheduler: class and options. dit: a DiT, else a U-Net. save: options of `save_pretrained`.

    precision: of its weights. lacks: file → keys that an older diffusers did not write. rows: of the class embedding.
    """

    scheduler: str
    options: dict[str, Any] = field(default_factory=dict)
    dit: bool = False
    rows: int = 1000
    learned_sigma: bool = False
    save: dict[str, Any] = field(default_factory=dict)
    precision: torch.dtype = torch.float32
    lacks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    old_names: bool = False
    steps: int = 6


_V = {"prediction_type": "v_prediction"}
_OLD_VAE = {"vae/config.json": ("mid_block_add_attention", "use_quant_conv", "use_post_quant_conv", "shift_factor")}
CASES: dict[str, Case] = {
    "U-Net, DDPM, clipped, leading": Case(
        scheduler="DDPMScheduler", options={"timestep_spacing": "leading", "steps_offset": 1, "clip_sample": True}
    ),
    "U-Net, DDIM, zero terminal SNR, betas of its own": Case(
        scheduler="DDIMScheduler",
        options={
            **_V,
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "rescale_betas_zero_snr": True,
            "timestep_spacing": "trailing",
        },
    ),
    "U-Net, Euler, linspace": Case(
        scheduler="EulerDiscreteScheduler",
        options={"timestep_spacing": "linspace", "beta_start": 0.0005, "beta_end": 0.01},
    ),
    "U-Net, DPM++, trained betas": Case(
        scheduler="DPMSolverMultistepScheduler",
        options={**_V, "trained_betas": np.linspace(0.001, 0.03, 400).tolist(), "num_train_timesteps": 400},
    ),
    "U-Net, UniPC, cosine, bf16": Case(
        scheduler="UniPCMultistepScheduler",
        options={**_V, "beta_schedule": "squaredcos_cap_v2", "final_sigmas_type": "sigma_min"},
        precision=torch.bfloat16,
    ),
    "U-Net, UniPC, flow, shift 3": Case(
        scheduler="UniPCMultistepScheduler",
        options={"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0},
    ),
    "DiT, DDIM, learned sigma, as Transformer2DModel": Case(
        scheduler="DDIMScheduler", options={"clip_sample": False}, dit=True, learned_sigma=True
    ),
    "DiT, DDPM, linspace, missing keys": Case(
        scheduler="DDPMScheduler",
        options={"timestep_spacing": "linspace", "clip_sample": False},
        dit=True,
        lacks={**_OLD_VAE, "scheduler/scheduler_config.json": ("variance_type", "steps_offset", "thresholding")},
        old_names=True,
    ),
    "DiT, flow matching by Euler, shift 2": Case(
        scheduler="FlowMatchEulerDiscreteScheduler", options={"shift": 2.0}, dit=True, rows=CLASSES
    ),
    "DiT, DPM++ SDE, leading, fp16 variant": Case(
        scheduler="DPMSolverMultistepScheduler",
        options={"algorithm_type": "sde-dpmsolver++", "timestep_spacing": "leading", "steps_offset": 1},
        dit=True,
        precision=torch.float16,
        save={"variant": "fp16"},
    ),
    "DiT, UniPC, sharded": Case(scheduler="UniPCMultistepScheduler", dit=True, save={"max_shard_size": "60KB"}),
    "U-Net, DDIM, sharded variant, missing keys": Case(
        scheduler="DDIMScheduler",
        options={"set_alpha_to_one": False, "timestep_spacing": "leading", "clip_sample": True},
        precision=torch.float16,
        save={"variant": "fp16", "max_shard_size": "60KB"},
        lacks={"transformer/config.json": ("attn_norm_num_groups", "mid_block_type", "attention_head_dim", "norm_eps")},
    ),
}


def make(case: Case, folder: Path) -> Path:
    """The folder, with weights that differ from zero everywhere."""
    torch.manual_seed(0)
    out = 8 if case.learned_sigma else 4
    if case.dit:
        transformer: Any = DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            out_channels=out,
            num_layers=2,
            sample_size=8,
            num_embeds_ada_norm=case.rows,
            norm_num_groups=4,
        )
    else:
        transformer = UNet2DModel(
            sample_size=8,
            in_channels=4,
            out_channels=out,
            layers_per_block=1,
            block_out_channels=(16, 32),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=8,
            num_class_embeds=case.rows + 1,
        )
        transformer.register_to_config(num_embeds_ada_norm=case.rows)
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        sample_size=16,
        scaling_factor=0.5,
    )
    scheduler = getattr(diffusers, case.scheduler)(**case.options)
    pipeline = DiTPipeline(transformer=transformer.to(case.precision), vae=vae.to(case.precision), scheduler=scheduler)
    pipeline.save_pretrained(folder, **case.save)
    _edit(folder / "model_index.json", lambda index: index.update(id2label={str(k): f"class {k}" for k in range(10)}))
    for name, keys in case.lacks.items():
        _edit(folder / name, lambda config, keys=keys: [config.pop(key, None) for key in keys])  # type: ignore[misc]
    if case.learned_sigma:
        _edit(folder / "transformer/config.json", lambda config: config.update(_class_name="Transformer2DModel"))
    if case.old_names:
        _give_old_names(folder / "vae" / "diffusion_pytorch_model.safetensors")
    return folder


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def _give_old_names(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    found = {}
    for key, value in load_file(path).items():
        for new, old in names.items():
            key = key.replace(new, old)
        found[key] = value
    save_file(found, path, metadata={"format": "pt"})


def request_of(case: Case) -> SampleRequest:
    """Three images with guidance, by the folder's own sampler."""
    from core.model_folders.stock_scheduler import scheduler_of

    sampler = scheduler_of({"_class_name": case.scheduler, **case.options}).sampler
    return SampleRequest(labels=(3, 0, 9), sampler=sampler, num_inference_steps=case.steps, guidance_scale=3.0, seed=1)


@torch.no_grad()
def diffusers_pictures(case: Case, folder: Path, request: SampleRequest) -> np.ndarray:
    """(N, H, W, C) in [0, 1]: the loop of diffusers over its own classes, from the same noise.

    That of DiTPipeline, which starts no sampler at its `init_noise_sigma`, passes no generators to a step, scales the
    input of flow matching's Euler and fixes the null class to 1000: these four are as diffusers documents them.
    """
    variant = case.save.get("variant")
    pipeline = DiTPipeline.from_pretrained(folder, torch_dtype=torch.float32, variant=variant)
    network, scheduler = pipeline.transformer.eval(), pipeline.scheduler
    sources = noise_sources(request)
    latents = first_noise(request, sources, (4, 8, 8), torch.device("cpu"))
    scheduler.set_timesteps(request.num_inference_steps)
    latents = latents * getattr(scheduler, "init_noise_sigma", 1.0)
    labels = torch.tensor([*request.labels, *[case.rows] * len(request.labels)])
    draws = case.scheduler == "DDPMScheduler" or case.options.get("algorithm_type") == "sde-dpmsolver++"
    for timestep in scheduler.timesteps:
        both = torch.cat([latents, latents])
        if hasattr(scheduler, "scale_model_input"):
            both = scheduler.scale_model_input(both, timestep)
        output = network(both, timestep=timestep.expand(len(both)), class_labels=labels).sample[:, :4]
        conditional, unconditional = output.chunk(2)
        guided = unconditional + request.guidance_scale * (conditional - unconditional)
        extra = {"generator": sources} if draws else {}
        latents = scheduler.step(guided, timestep, latents, **extra).prev_sample
    images: torch.Tensor = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    return np.asarray((images / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy())


def our_pictures(folder: Path, kept: Path, request: SampleRequest) -> np.ndarray:
    """The same of the folder as `import-model` reads it, here without a process of its own. Raises ModelRefused."""
    asked = request_of_child(folder, name="foreign", data_set="", folder=kept, limits=LIMITS)
    read(json.loads(asked), allow=lambda size: None)
    model = load_model_folder(kept / KEPT, device="cpu")
    final = list(sample_steps(model, request))[-1].next_latents
    return np.asarray((model.codec.decode(final) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy())


def main() -> int:
    """Print a line a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), help="names of cases (default: all)")
    failed = 0
    diffusers.utils.logging.set_verbosity(logging.CRITICAL)
    diffusers.utils.logging.disable_progress_bar()
    for name in parser.parse_args().cases:
        with tempfile.TemporaryDirectory() as temporary:
            folder, kept = make(CASES[name], Path(temporary) / "given"), Path(temporary) / "kept"
            kept.mkdir()
            try:
                request = request_of(CASES[name])
                ours = our_pictures(folder, kept, request)
                off = float(np.abs(ours - diffusers_pictures(CASES[name], folder, request)).max())
                words = f"{off:.1e} off, images of standard deviation {ours.std():.3f}"
                failed += not off < TOLERANCE
            except LabError as error:
                words = f"refused: {error}"
                failed += 1
        print(f"{name}: {words}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
