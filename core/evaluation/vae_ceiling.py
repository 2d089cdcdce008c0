"""The VAE ceiling: real pictures through the VAE and back, measured with the same functions as generated ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from core.config.schema import EvaluationSettings
from core.data.arrays import ImageSet
from core.data.batches import images_to_model
from core.device import device_label
from core.diffusers_parts import AutoencoderKL
from core.errors import CheckpointError
from core.evaluation.ceiling_results import (
    Ceiling,
    CeilingSubject,
    ProbeScore,
    check_count,
    keep,
    key_of,
    list_ceilings,
    subject_of,
)
from core.evaluation.evaluate import check_counts
from core.evaluation.judge import load_or_train
from core.evaluation.labels import asked_labels, drawn_rows
from core.evaluation.measures import measure
from core.evaluation.metrics import wilson_interval
from core.evaluation.timestep_loss import fixed_noise
from core.latent.codec import LatentCodec, LatentScaling
from core.latent.inspection.probe import linear_probe
from core.latent.inspection.psnr_ssim import picture_psnr, ssim_of
from core.latent.stored_vae import build_from_files, load_codec
from core.runs.checkpoints import load_newest
from core.runs.facts import fingerprint_of
from core.runs.run import Run, now_iso
from core.seeding import derive, generator

OnProgress = Callable[[str, float], None]
SEED = 0
PROBE_TRAIN, PROBE_TEST = 4000, 4000
BATCH = 250


def vae_ceiling(
    run: Run,
    image_set: ImageSet,
    *,
    num_pictures: int,
    evaluation: EvaluationSettings,
    cache_dir: Path,
    device: torch.device,
    step: int | None = None,
    progress: OnProgress | None = None,
) -> Ceiling:
    """The ceiling of a run's VAE: what is kept in the run, or measured now and kept there.

    num_pictures: at most so many held-out pictures, always the same ones, with the labels that an evaluation of as many
    asks for (`evaluation.labels`); where a class has too few of them, all of it. Of a VAE run the averaged
    weights of `step` (newest by default), of a U-Net run its own copy. progress(text, fraction 0 to 1). Raises
    UsageError for too few pictures, CheckpointError where the VAE cannot be read or was trained on other pictures.
    """
    check_count(num_pictures)
    subject = subject_of(run, step)
    count = min(num_pictures, len(image_set.heldout.labels))
    check_counts(count, evaluation.recall_neighbours, image_set)
    key = key_of(
        vae_hash=subject.vae_hash,
        fingerprint=image_set.fingerprint,
        num_pictures=count,
        labels=evaluation.labels,
        judge_epochs=evaluation.judge_epochs,
        neighbours=evaluation.recall_neighbours,
    )
    kept = next((each for each in list_ceilings(run) if each.key == key), None)
    if kept is not None:
        return kept
    check_same_pictures(run, image_set)
    codec = open_codec(run, subject, device)
    if codec.vae.config.in_channels != image_set.channels:
        raise CheckpointError(
            f"{run.id}: its VAE is for {codec.vae.config.in_channels}-channel images, '{image_set.name}' has "
            f"{image_set.channels}"
        )
    started = time.monotonic()
    report = progress or (lambda text, fraction: None)
    judge = load_or_train(
        image_set,
        cache_dir=cache_dir,
        epochs=evaluation.judge_epochs,
        device=device,
        progress=lambda text, fraction: report(text, 0.4 * fraction),
    )
    classes, heldout = image_set.num_classes, np.asarray(image_set.heldout.labels)
    asked = asked_labels(evaluation.labels, image_set.train.labels, classes, count, SEED)
    chosen = np.sort(drawn_rows(heldout, np.bincount(asked, minlength=classes), SEED, "ceiling"))
    labels, num_asked, count = heldout[chosen], count, len(chosen)
    psnr, ssim, real_right = [], [], 0

    def through() -> Iterator[np.ndarray]:
        nonlocal real_right
        for start in range(0, count, BATCH):
            places = chosen[start : start + BATCH]
            real = image_set.heldout.images[places]
            of_means, of_samples = reconstruct(codec, real, places, device)
            psnr.append(picture_psnr(real, of_means))
            ssim.append(ssim_of(real, of_means))
            real_right += int((judge.classify(real).argmax(axis=1) == labels[start : start + BATCH]).sum())
            report(f"Images through the VAE, {start + len(places):,} of {count:,}", 0.4 + 0.3 * start / count)
            yield of_samples

    measures = measure(
        through(),
        labels,
        judge=judge,
        image_set=image_set,
        neighbours=evaluation.recall_neighbours,
        seed=SEED,
        progress=lambda text, fraction: report(text, 0.7 + 0.15 * fraction),
    )
    report("Linear probes", 0.85)
    probes = probe_scores(codec, image_set, device)
    values, likeness = np.concatenate(psnr), np.concatenate(ssim)
    found = Ceiling(
        key=key,
        created_at=now_iso(),
        run_id=run.id,
        step=subject.step,
        vae_hash=subject.vae_hash,
        data_set=image_set.name,
        fingerprint=image_set.fingerprint,
        num_pictures=count,
        labels=evaluation.labels,
        num_asked=num_asked,
        num_classes=image_set.num_classes,
        judge_hash=judge.hash,
        judge_accuracy=judge.accuracy,
        judge_epochs=judge.epochs,
        class_accuracy=measures.class_accuracy,
        class_accuracy_low=measures.class_accuracy_low,
        class_accuracy_high=measures.class_accuracy_high,
        real_accuracy=real_right / count,
        fd_judge=measures.fd_judge,
        fd_reference_count=measures.fd_reference_count,
        fd_floor=measures.fd_floor,
        fd_floor_count=measures.fd_floor_count,
        precision=measures.precision,
        recall=measures.recall,
        neighbours=measures.neighbours,
        precision_recall_count=measures.precision_recall_count,
        psnr=float(values.mean()),
        psnr_error=_standard_error(values),
        ssim=None if np.isnan(likeness).any() else float(likeness.mean()),
        ssim_error=None if np.isnan(likeness).any() else _standard_error(likeness),
        probe_samples=probes["samples"],
        probe_means=probes["means"],
        probe_pixels=probes["pixels"],
        elapsed_s=time.monotonic() - started,
        device=device_label(device),
    )
    keep(run, found)
    report("done", 1.0)
    return found


def check_same_pictures(run: Run, image_set: ImageSet) -> None:
    """Raises CheckpointError when the run was trained on other pictures, or does not say on which."""
    try:
        before = fingerprint_of(run)
    except (OSError, ValueError):
        raise CheckpointError(f"{run.id}: its data.json cannot be read", "choose another run") from None
    if before != image_set.fingerprint:
        raise CheckpointError(
            f"{run.id}: was trained on other images ({before[:12]}) than this {image_set.name} "
            f"({image_set.fingerprint[:12]})",
            "use the data settings it was trained with",
        )


def open_codec(run: Run, subject: CeilingSubject, device: torch.device) -> LatentCodec:
    """The VAE that `subject_of` named; the scaling of a VAE run is none, as reconstructions do not depend on it."""
    if run.kind.vae == "copy":
        return load_codec(run.vae_dir, device)
    checkpoint = load_newest(run.checkpoints_dir, step=subject.step)
    if checkpoint is None:
        raise CheckpointError(f"{run.id}: has no checkpoint yet", "let it train until its first save")
    vae: AutoencoderKL = build_from_files(AutoencoderKL, checkpoint.files, "vae_ema").to(device).eval()
    channels = int(vae.config.latent_channels)
    scaling = LatentScaling(shift=(0.0,) * channels, scale=(1.0,) * channels)
    return LatentCodec(vae=vae.requires_grad_(False), scaling=scaling)


@torch.no_grad()
def reconstruct(
    codec: LatentCodec, images: np.ndarray, places: np.ndarray, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N, H, W, C) → decoded from the posterior means, and from a sample each, as a U-Net learns; same shape.

    places (N,): of the pictures in their split; they decide the samples.
    """
    posterior = codec.vae.encode(images_to_model(torch.from_numpy(np.array(images)).to(device))).latent_dist
    mean, std = posterior.mean.float(), posterior.std.float()
    sample = mean + std * fixed_noise("ceiling posterior", places, mean)
    of_means, of_samples = (codec.decode_to_uint8(codec.scaling.normalize(raw)) for raw in (mean, sample))
    return of_means, of_samples


def probe_scores(codec: LatentCodec, image_set: ImageSet, device: torch.device) -> dict[str, ProbeScore]:
    """Linear probes on posterior samples, posterior means and pixels, all with the same pictures."""
    train = _choose(len(image_set.train.labels), PROBE_TRAIN, "probe-train")
    test = _choose(len(image_set.heldout.labels), PROBE_TEST, "probe-test")
    first = _posterior(codec, image_set.train.images, train, "train", device)
    second = _posterior(codec, image_set.heldout.images, test, "test", device)
    pixels = (image_set.train.images[train], image_set.heldout.images[test])
    inputs = {name: (first[name], second[name]) for name in ("samples", "means")} | {"pixels": pixels}
    labels = np.asarray(image_set.train.labels[train]), np.asarray(image_set.heldout.labels[test])
    scores = {}
    for name, (learned, tested) in inputs.items():
        found = linear_probe(learned, labels[0], tested, labels[1])
        low, high = wilson_interval(found.correct, found.num_test)
        scores[name] = ProbeScore(
            num_train=found.num_train,
            num_test=found.num_test,
            num_inputs=found.num_inputs,
            correct=found.correct,
            accuracy=found.accuracy,
            low=low,
            high=high,
        )
    return scores


@torch.no_grad()
def _posterior(
    codec: LatentCodec, images: np.ndarray, places: np.ndarray, purpose: str, device: torch.device
) -> dict[str, np.ndarray]:
    """Means and seeded samples (N, c, h, w) of the posterior of some pictures."""
    source = generator(SEED, f"probe-posterior-{purpose}", rule=1)
    means, samples = [], []
    for start in range(0, len(places), BATCH):
        pixels = torch.from_numpy(np.array(images[places[start : start + BATCH]])).to(device)
        posterior = codec.vae.encode(images_to_model(pixels)).latent_dist
        mean, std = posterior.mean.float().cpu(), posterior.std.float().cpu()
        means.append(mean.numpy())
        samples.append((mean + std * torch.randn(mean.shape, generator=source)).numpy())
    return {"means": np.concatenate(means), "samples": np.concatenate(samples)}


def _choose(total: int, count: int, purpose: str) -> np.ndarray:
    """Sorted indices of at most `count` of `total` pictures, the same whenever asked."""
    return np.sort(np.random.default_rng(derive(SEED, purpose)).permutation(total)[:count])


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
