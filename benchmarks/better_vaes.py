"""What each setting of the VAE does to its ceiling and its U-Net: `python -m benchmarks.better_vaes --work DIR`

Trains VAEs that differ in one setting each, measures what their reconstructions of held-out pictures keep (the
ceiling of everything drawn through them), trains a short U-Net on those that matter, and measures its pictures. On
MNIST and, given the file of `benchmarks.colour_digits`, on colour digits. Much shorter trainings than the preset quick:
they rank settings, they are not the best that can be had. One training at a time, one seed; what is done is kept in DIR
and not trained again. Results: benchmarks/results/better_vaes-<date>-cpu.json.

No term of any loss knows the judge that measures: FD-judge and judged accuracy stay independent of what is trained on.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL

from benchmarks.report import RESULTS, processor
from core.config.load import load_config, read_site
from core.config.schema import Settings
from core.data.arrays import ImageSet, prepare
from core.data.batches import images_to_model
from core.device import set_threads
from core.evaluation.evaluate import evaluate
from core.evaluation.judge import Judge, load_or_train, split_features
from core.evaluation.metrics import frechet_distance, wilson_interval
from core.jobs.worker import work
from core.jobs.worker_stop import StopRequests
from core.latent.codec import to_uint8
from core.latent.inspection.psnr_ssim import picture_psnr, ssim_of
from core.latent.stored_vae import build_from_files
from core.runs.checkpoints import load_newest
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from core.sampling.load import load_model
from core.training.vae_objective import kl_by_site

MOST_PICTURES = 5_000  # held-out pictures of a ceiling
ACTIVE_VARIANCE = 0.01  # of the posterior mean over the pictures: a unit that tells them apart (arXiv 1509.00519)
QUIET = {"logging.num_previews": 0, "logging.validate_every_steps": 10_000, "logging.save_every_steps": 10_000}


VAE_STEPS, UNET_STEPS = 300, 400
FEWER_UNET_STEPS = {"4 x 16 x 16 latents": 100}  # four times the sites: as much arithmetic as the others
FLAT = {"train_vae.kl_weight": 1e-2}
EDGES = {"train_vae.edge_weight": 1.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "quick": {},
    "edge_weight 1": EDGES,
    "kl_weight 1e-4": {"train_vae.kl_weight": 1e-4},
    "kl_weight 1e-2": FLAT,
    "kl_weight 1e-2, free_bits 64": {**FLAT, "train_vae.free_bits": 64.0},
    "latent_channels 8": {"vae.latent_channels": 8},
    "latent_channels 2": {"vae.latent_channels": 2},
    "16 x 4 x 4 latents": {"vae.latent_channels": 16, "vae.block_out_channels": [8, 16, 32, 32]},
    "4 x 16 x 16 latents": {"vae.block_out_channels": [8, 16]},
    "reconstruction_loss l1": {"train_vae.reconstruction_loss": "l1"},
}
# (data set, variant, "vae" or "unet"): what tells most comes first, for a machine that has little time
PLAN = (
    ("mnist", "quick", "vae"),
    ("colour", "quick", "vae"),
    ("colour", "edge_weight 1", "vae"),
    ("colour", "latent_channels 8", "vae"),
    ("colour", "quick", "unet"),
    ("colour", "latent_channels 8", "unet"),
    ("mnist", "kl_weight 1e-2, free_bits 64", "vae"),
    ("mnist", "edge_weight 1", "vae"),
    ("mnist", "quick", "unet"),
    ("mnist", "kl_weight 1e-2, free_bits 64", "unet"),
    ("colour", "edge_weight 1", "unet"),
    ("mnist", "kl_weight 1e-2", "vae"),
    ("colour", "4 x 16 x 16 latents", "vae"),
    ("mnist", "16 x 4 x 4 latents", "vae"),
    ("mnist", "edge_weight 1", "unet"),
    ("colour", "4 x 16 x 16 latents", "unet"),
    ("mnist", "latent_channels 2", "vae"),
    ("colour", "kl_weight 1e-4", "vae"),
    ("mnist", "kl_weight 1e-4", "vae"),
    ("mnist", "latent_channels 8", "vae"),
    ("mnist", "reconstruction_loss l1", "vae"),
    ("mnist", "latent_channels 8", "unet"),
    ("mnist", "16 x 4 x 4 latents", "unet"),
    ("mnist", "kl_weight 1e-4", "unet"),
)


def settings_of(data: str, name: str, colour: Path | None, seed: int) -> Settings:
    """The preset quick with fewer steps and the variant's changes, on its data set."""
    where = {"data.name": "npz", "data.path": str(colour)} if data == "colour" else {"data.name": "mnist"}
    steps = {"train_vae.steps": VAE_STEPS, "train_unet.steps": FEWER_UNET_STEPS.get(name, UNET_STEPS), "seed": seed}
    return load_config(preset="quick", overrides={**where, **QUIET, **steps, **VARIANTS[name]})


def trained(
    store: RunStore, kind: str, settings: Settings, name: str, parents: tuple[str, ...] = ()
) -> tuple[Run, float]:
    """A new run, trained here, and the CPU-seconds it took, encoding included."""
    run = store.create(kind, settings, name=name, parents=parents)  # type: ignore[arg-type]
    before = time.process_time()
    state = work(store, run, StopRequests(run))
    if state is not RunState.FINISHED:
        raise SystemExit(f"{name}: {run.status().reason}")
    return run, time.process_time() - before


def averaged(run: Run) -> AutoencoderKL:
    """The VAE of a run's last checkpoint, with its averaged weights."""
    checkpoint = load_newest(run.checkpoints_dir)
    assert checkpoint is not None
    vae: AutoencoderKL = build_from_files(AutoencoderKL, checkpoint.files, "vae_ema").eval()
    return vae


@torch.no_grad()
def ceiling(run: Run, images: ImageSet, judge: Judge) -> dict[str, float]:
    """What real held-out picture → VAE → picture keeps, with the averaged weights and the posterior mean."""
    vae = averaged(run)
    psnr, ssim, nats, means, features, right = [], [], [], [], [], 0
    real, labels = images.heldout.images[:MOST_PICTURES], images.heldout.labels[:MOST_PICTURES]
    for start in range(0, len(labels), 250):
        part = np.array(real[start : start + 250])
        posterior = vae.encode(images_to_model(torch.from_numpy(part))).latent_dist
        drawn = to_uint8(vae.decode(posterior.mean).sample)
        psnr.append(picture_psnr(part, drawn))
        ssim.append(ssim_of(part, drawn))
        nats.append(kl_by_site(posterior.mean, posterior.logvar).sum(dim=(1, 2, 3)))
        means.append(posterior.mean.flatten(1))
        found, probabilities = judge.look(drawn)
        features.append(found)
        right += int((probabilities.argmax(axis=1) == labels[start : start + 250]).sum())
    low, high = wilson_interval(right, len(labels))
    units = torch.cat(means).var(dim=0)
    return {
        "pictures": len(labels),
        "psnr": float(np.concatenate(psnr).mean()),
        "ssim": float(np.concatenate(ssim).mean()),
        "fd_judge": frechet_distance(split_features(judge, images, "train"), torch.cat(features)),
        "class_accuracy": right / len(labels),
        "class_accuracy_low": low,
        "class_accuracy_high": high,
        "kl_nats": float(torch.cat(nats).mean()),
        "units": units.numel(),
        "active_units": int((units > ACTIVE_VARIANCE).sum()),
    }


def vae_row(store: RunStore, settings: Settings, key: str, images: ImageSet, judge: Judge) -> dict[str, Any]:
    """Train a VAE and measure its ceiling."""
    run, cpu_s = trained(store, "vae", settings, f"{key} (VAE)")
    return {
        "run": run.id,
        "vae_steps": settings.train_vae.steps,
        "vae_cpu_s": round(cpu_s, 1),
        "vae_parameters": sum(parameter.numel() for parameter in averaged(run).parameters()),
        "judge_accuracy": judge.accuracy,
        "judge_hash": judge.hash,
        "ceiling": ceiling(run, images, judge),
    }


def unet_row(
    store: RunStore, settings: Settings, key: str, images: ImageSet, parent: str, samples: int, cache: Path
) -> dict[str, Any]:
    """Train a U-Net on a VAE and measure its pictures."""
    run, cpu_s = trained(store, "unet", settings, key, (parent,))
    report = evaluate(
        load_model(run, device="cpu"),
        images,
        num_samples=samples,
        sampling=settings.sampling,
        evaluation=settings.evaluation,
        cache_dir=cache,
        seed=0,
    )
    names = (
        "num_samples",
        "class_accuracy",
        "class_accuracy_low",
        "class_accuracy_high",
        "fd_judge",
        "fd_floor",
        "precision",
        "recall",
        "sampler",
        "num_inference_steps",
        "guidance_scale",
    )
    return {
        "unet_steps": settings.train_unet.steps,
        "unet_cpu_s": round(cpu_s, 1),
        "unet": {name: getattr(report, name) for name in names},
    }


def line(key: str, row: dict[str, Any]) -> str:
    """A result as one line."""
    top = row["ceiling"]
    text = (
        f"{key}: PSNR {top['psnr']:.2f} SSIM {top['ssim']:.3f} FD {top['fd_judge']:.2f} "
        f"right {top['class_accuracy']:.2%} KL {top['kl_nats']:.0f} active {top['active_units']}/{top['units']} "
        f"({row['vae_cpu_s']:.0f} CPU-s)"
    )
    if "unet" in row:
        drawn = row["unet"]
        text += (
            f" | U-Net {row['unet_steps']}: right {drawn['class_accuracy']:.2%} FD {drawn['fd_judge']:.2f} "
            f"recall {drawn['recall']:.2f} ({row['unet_cpu_s']:.0f} CPU-s)"
        )
    return text


def main() -> None:
    """Train what is not done yet, and keep every result at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="runs and what is already measured")
    parser.add_argument("--colour", type=Path, help="the file of benchmarks.colour_digits; without it, MNIST only")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="as in 'colour: quick vae'")
    parser.add_argument("--samples", type=int, default=1000, help="pictures of a U-Net's evaluation")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    set_threads(1)
    store = RunStore(options.work / "runs")
    site, _ = read_site()
    cache = site.cache
    done_path = options.work / f"better_vaes-seed-{options.seed}.json"
    rows: dict[str, Any] = json.loads(done_path.read_text()) if done_path.exists() else {}
    for data, name, part in PLAN:
        key = f"{data}: {name}"
        row = rows.get(key, {"changes": VARIANTS[name], "seed": options.seed})
        if ("ceiling" if part == "vae" else "unet") in row or (data == "colour" and options.colour is None):
            continue
        if options.only and f"{key} {part}" not in options.only:
            continue
        settings = settings_of(data, name, options.colour, options.seed)
        images = prepare(settings.data, data_dir=site.data, cache_dir=cache)
        if part == "vae":
            judge = load_or_train(images, cache_dir=cache, epochs=settings.evaluation.judge_epochs, device="cpu")
            row = {**row, **vae_row(store, settings, key, images, judge)}
        else:
            row = {**row, **unet_row(store, settings, key, images, row["run"], options.samples, cache)}
        rows[key] = {**row, f"{part}_load_average": os.getloadavg()}
        done_path.parent.mkdir(parents=True, exist_ok=True)
        done_path.write_text(json.dumps(rows, indent=1) + "\n")
        print(line(key, row), flush=True)
    kept = sorted(options.work.glob("better_vaes-seed-*.json"))
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "device": "CPU, one thread",
        "seeds": {path.stem.rpartition("-")[2]: json.loads(path.read_text()) for path in kept},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"better_vaes-{datetime.now(UTC):%Y-%m-%d}-cpu.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
