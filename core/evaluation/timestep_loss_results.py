"""The loss against t as it is kept in a run, what a guess without a network would get, and what that says.

`<U-Net run>/timestep_loss/<step>-<hash of what decides it>.json`. Never imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from core import reading
from core.errors import CheckpointError, UsageError
from core.runs.facts import codec_facts, fingerprint_of
from core.runs.results import ResultKind
from core.runs.run import Run

FORMAT_VERSION = 2
SEED = 0  # one choice of pictures and noise for all runs, so that runs on one dataset compare
FOLDER = "timestep_loss"
MIN_POINTS, MAX_POINTS = 5, 100
MIN_PICTURES, MAX_PICTURES = 2, 10_000
LEAST_SCALE = 1e-6  # of signal or noise, where a division needs one
LOG_SNR_LIMIT = 50.0
STANDARD_ERRORS = 2.0
LEAST_GAIN = 0.02  # over the best linear guess: less is none

ErrorOf = Literal["original", "epsilon", "target"]
ErrorWeights = Literal["ema", "raw"]


@dataclass(frozen=True, kw_only=True)
class TimestepLoss:
    """Means over N pictures at P timesteps, and their standard errors; every tuple has length P.

    target: mean squared error of what the network predicts, unweighted. epsilon, original: of the noise and of the
    clean latents that follow from it. linear: error of the clean latents when they are guessed by the best linear rule
    (Wiener) that knows mean and variance of each channel. variance: error when that mean itself is the guess.
    log_snr: natural logarithm, cut at ±50. latents: names the VAE and its scaling.
    """

    key: str
    run_id: str
    step: int
    weights: str
    data_set: str
    fingerprint: str
    latents: str
    schedule: str
    prediction_type: str
    num_pictures: int
    num_train_timesteps: int
    variance: float
    t: tuple[int, ...]
    signal_scale: tuple[float, ...]
    noise_scale: tuple[float, ...]
    alpha_bar: tuple[float, ...]
    log_snr: tuple[float, ...]
    target: tuple[float, ...]
    target_error: tuple[float, ...]
    epsilon: tuple[float, ...]
    epsilon_error: tuple[float, ...]
    original: tuple[float, ...]
    original_error: tuple[float, ...]
    linear: tuple[float, ...]

    def mean(self, error_of: ErrorOf) -> np.ndarray:
        """The mean squared error (P,)."""
        return np.array(getattr(self, error_of), dtype=np.float64)

    def standard_error(self, error_of: ErrorOf) -> np.ndarray:
        """Its standard error over the pictures (P,)."""
        return np.array(getattr(self, f"{error_of}_error"), dtype=np.float64)

    def linear_guess(self, error_of: ErrorOf) -> np.ndarray:
        """What the best linear guess gets (P,)."""
        return np.array(self.linear) / np.maximum(self._unit("original"), LEAST_SCALE**2) * self._unit(error_of)

    def average_guess(self, error_of: ErrorOf) -> np.ndarray:
        """What answering the average of the asked quantity gets (P,): its variance, as nothing is known."""
        signal, noise = np.array(self.signal_scale), np.array(self.noise_scale)
        asked = {"original": "sample", "epsilon": "epsilon"}.get(error_of, self.prediction_type)
        if asked == "sample":
            return np.full(len(signal), self.variance)
        if asked == "v_prediction":
            return np.asarray(signal**2 + noise**2 * self.variance)
        return np.full(len(signal), 1.0 if asked == "epsilon" else 1.0 + self.variance)

    def _unit(self, error_of: ErrorOf) -> np.ndarray:
        scales = zip(self.signal_scale, self.noise_scale, strict=True)
        units = [units_of(self.prediction_type, *pair) for pair in scales]
        return np.array([unit[error_of] for unit in units])


LOSSES = ResultKind(title="loss by timestep", record=TimestepLoss, format=FORMAT_VERSION)


def units_of(prediction_type: str, signal_scale: float, noise_scale: float) -> dict[ErrorOf, float]:
    """What a squared error of the network's answer is worth in clean latents and in noise, at one timestep.

    The noisy latents are known, so that one answer fixes both: an error of the clean latents is signal / noise times as
    large as one of the noise (arXiv 2202.00512, section 4 and appendix D). The same conversions as `to_pred_original`
    and `to_pred_epsilon`.
    """
    signal, noise = max(signal_scale, LEAST_SCALE), max(noise_scale, LEAST_SCALE)
    if prediction_type == "epsilon":
        return {"target": 1.0, "original": (noise_scale / signal) ** 2, "epsilon": 1.0}
    if prediction_type == "sample":
        return {"target": 1.0, "original": 1.0, "epsilon": (signal_scale / noise) ** 2}
    return {"target": 1.0, "original": noise_scale**2, "epsilon": signal_scale**2}  # v_prediction and flow


def check_counts(num_pictures: int, num_points: int) -> None:
    """Raises UsageError for counts outside the bounds."""
    if not MIN_PICTURES <= num_pictures <= MAX_PICTURES:
        raise UsageError(f"timestep-loss: {MIN_PICTURES} to {MAX_PICTURES:,} images, got {num_pictures}")
    if not MIN_POINTS <= num_points <= MAX_POINTS:
        raise UsageError(f"timestep-loss: {MIN_POINTS} to {MAX_POINTS} timesteps, got {num_points}")


OF_TRAINING = ("timestep_distribution", "timestep_mean", "stratified_timesteps")  # decide no error of given weights


def key_of(run: Run, step: int, *, weights: ErrorWeights, num_pictures: int, num_points: int) -> str:
    """Hash of what decides a measurement: weights, VAE and scaling, dataset, schedule, counts, and the seed.

    Raises CheckpointError when a file that names one of them cannot be read, LabError for damaged settings.
    """
    network = "unet_ema" if weights == "ema" else "unet"
    try:
        manifest = reading.read_object(run.checkpoints_dir / f"step-{step:08d}" / "manifest.json")
        files = {name: facts["sha256"] for name, facts in manifest["files"].items() if name.startswith(f"{network}/")}
        fingerprint = fingerprint_of(run)
        codec = latents_of(run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{run.id}: the checkpoint of step {step:,} cannot be read ({reason})") from None
    decides = {
        "format": FORMAT_VERSION,
        "seed": SEED,
        "network": files,
        "latents": codec,
        "fingerprint": fingerprint,
        "diffusion": run.settings.diffusion.model_dump(mode="json", exclude=set(OF_TRAINING)),
        "counts": [num_pictures, num_points],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def latents_of(run: Run) -> str:
    """Names the run's own VAE and scaling: errors of two runs compare only where this is the same.

    Raises OSError or Unreadable when codec.json cannot be read.
    """
    facts = codec_facts(run)
    decides = [facts.sha256, facts.shift, facts.scale]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]


def read_kept(run: Run, step: int, key: str) -> TimestepLoss | None:
    """The measurement of that key; None when there is none or it is damaged."""
    found = LOSSES.find(_path(run, step, key))
    return found if found is not None and found.key == key and _is_whole(found) else None


def keep(run: Run, found: TimestepLoss) -> None:
    """Keep a measurement durably. Where the run folder cannot be written, the log says so and nothing is lost."""
    LOSSES.keep(_path(run, found.step, found.key), found)


def in_words(first: TimestepLoss, second: TimestepLoss | None = None, names: Sequence[str] = ("A", "B")) -> str:
    """What one measurement says about the network, or how two compare, in a sentence or two."""
    if second is None:
        gain = 1.0 - first.mean("original") / np.maximum(first.linear, LEAST_SCALE**2)
        best = int(gain.argmax())
        words = f"It knows most at t = {first.t[best]:,}: {gain[best]:.0%} less error than the best linear guess."
        blind = _spans(first.t, gain < LEAST_GAIN)
        return f"{words} At t = {' and '.join(blind)} it does no better than that guess." if blind else words
    if first.fingerprint != second.fingerprint:
        return "They were trained on different images, so their errors do not compare."
    if first.latents != second.latents:
        return "Each lives in the latents of its own VAE, so their errors do not compare."
    lower, higher, compared = _compared(first, second)
    if not compared:
        return "They have no noise level in common."
    where = "timesteps" if first.log_snr == second.log_snr else "noise levels (log-SNR) that both know"
    return (
        f"Of {compared} {where}, {names[0]} has the lower error of the clean latents at {lower}, {names[1]} at "
        f"{higher}; at {compared - lower - higher} they cannot be told apart."
    )


def _compared(first: TimestepLoss, second: TimestepLoss) -> tuple[int, int, int]:
    """At how many of the first one's noise levels its error is lower, higher, and how many compare: two errors apart.

    The second one's error is interpolated over log-SNR as a share of the best linear guess, which is the same function
    of log-SNR for both and bends far more than the share does.
    """
    order = np.argsort(second.log_snr)
    x, at = np.array(second.log_snr)[order], np.array(first.log_snr)
    inside = (at >= x[0]) & (at <= x[-1])
    guess = np.maximum(second.linear, LEAST_SCALE**2)
    mean, spread = (
        np.interp(at, x, (values / guess)[order]) * first.linear
        for values in (second.mean("original"), second.standard_error("original"))
    )
    apart = STANDARD_ERRORS * np.hypot(spread, first.standard_error("original"))
    difference = first.mean("original") - mean
    return int((difference < -apart)[inside].sum()), int((difference > apart)[inside].sum()), int(inside.sum())


def _spans(times: Sequence[int], chosen: np.ndarray) -> list[str]:
    """The chosen ones of `times`, neighbours together: ['0', '916 to 999']."""
    spans: list[list[int]] = []
    for index in np.flatnonzero(chosen):
        if spans and spans[-1][-1] == index - 1:
            spans[-1].append(int(index))
        else:
            spans.append([int(index)])
    ends = [(f"{times[span[0]]:,}", f"{times[span[-1]]:,}") for span in spans]
    return [first if first == last else f"{first} to {last}" for first, last in ends]


def _path(run: Run, step: int, key: str) -> Path:
    return run.folder / FOLDER / f"{step:08d}-{key}.json"


def _is_whole(found: TimestepLoss) -> bool:
    """True when every list has a number for each timestep, of which there is one."""
    return {len(value) for value in vars(found).values() if isinstance(value, tuple)} == {len(found.t) or 1}
