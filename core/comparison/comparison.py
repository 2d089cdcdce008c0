"""Sampler comparison: the same pictures drawn with every setting of a grid, and what each costs and is worth.

A generator of frozen results, a cell each. Every cell has the same labels and noise, so cells are compared in pairs:
a difference is that of the same pictures of both sides. All figures rest on features rounded to float16, as they are
kept, so that a comparison that was stopped and went on gives the same figures as one that was not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch

from core import leftovers
from core.comparison.comparison_results import (
    REFERENCE,
    CellResult,
    ComparisonFolder,
    Difference,
    Facts,
    cell_name,
)
from core.comparison.grid import (
    PATH_PICTURES,
    Cell,
    CellSettings,
    ComparisonRequest,
    cells_of,
    cost_of,
    expected_evaluations,
    follows_path,
    in_run_order,
    path_reference,
    quality_reference,
)
from core.data.npz_file import read_npz
from core.device import device_label, resolve_device
from core.errors import CheckpointError, NonFiniteError
from core.evaluation.differences import normal_interval, paired_difference
from core.evaluation.evaluate import check_counts, check_pictures
from core.evaluation.judge import Judge, load_or_train, split_features
from core.evaluation.labels import asked_labels
from core.evaluation.measures import fd_difference_error, fd_error, fd_floor, recall_of
from core.evaluation.metrics import (
    FrechetReference,
    wilson_interval,
)
from core.evaluation.verdict import accuracy_change, fd_change, judgement
from core.latent.inspection.psnr_ssim import picture_psnr
from core.runs.run import Run, now_iso
from core.sampling.load import LoadedModel, load_model
from core.sampling.request import SampleRequest, batches_of
from core.sampling.steps import sample_steps

if TYPE_CHECKING:
    from core.data.arrays import ImageSet

SHOWN_PICTURES, SHOWN_A_CLASS = 40, 4
PATH = "path"
OnProgress = Callable[[str, int, int], None]
logger = logging.getLogger(__name__)


class _Stopped(Exception):
    """Somebody asked to stop in the middle of a batch."""


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """N pictures as far as they are kept: features (N, 128) float16, guesses (N,), pictures of the first 100.

    evaluations: passes a picture, counted. seconds: drawing alone.
    """

    features: torch.Tensor
    guesses: np.ndarray
    pictures: np.ndarray
    evaluations: float
    seconds: float


def compare(
    run: Run,
    request: ComparisonRequest,
    files: ComparisonFolder,
    *,
    image_set: ImageSet,
    cache_dir: Path,
    device: str = "auto",
    should_stop: Callable[[], bool] = lambda: False,
    progress: OnProgress | None = None,
) -> Iterator[CellResult]:
    """Draw and measure every cell that is not kept in `files` yet, and yield all of them; each is kept when it is done.

    References come first. progress(what is done now, passes done, passes in all): passes of one picture through the
    U-Net. Ends early, after at most one more pass, once should_stop() says so; what is finished stays.
    Raises LabError for a run or dataset that does not fit.
    """
    session = _Session(run, request, files, image_set, cache_dir, device, should_stop, progress)
    files.open(request)
    for folder in (files.folder, files.folder / "cells", files.folder / "parts"):
        leftovers.sweep(folder, older_than_s=0.0)
    cells = in_run_order(cells_of(request, run.settings.diffusion))
    try:
        for cell in [*(cell for cell in cells if cell.problem), *(cell for cell in cells if not cell.problem)]:
            if should_stop():
                return
            yield session.result_of(cell)
    except _Stopped:
        return


class _Session:
    """One attempt: what is loaded once and used by many cells."""

    def __init__(
        self,
        run: Run,
        request: ComparisonRequest,
        files: ComparisonFolder,
        image_set: ImageSet,
        cache_dir: Path,
        device: str,
        should_stop: Callable[[], bool],
        progress: OnProgress | None,
    ) -> None:
        self.run, self.request, self.files, self.image_set = run, request, files, image_set
        self.cache_dir, self.device, self.should_stop = cache_dir, device, should_stop
        self.progress = progress
        self.diffusion = run.settings.diffusion
        self.labels = asked_labels(
            request.labels, image_set.train.labels, image_set.num_classes, request.num_samples, request.base.seed
        )
        self.compared = sum(not cell.problem for cell in cells_of(request, self.diffusion))
        self.passes, self.all_passes = 0, cost_of(request, self.diffusion).evaluations
        self.loaded: tuple[tuple[str, int], LoadedModel] | None = None
        check_counts(request.num_samples, request.recall_neighbours, image_set)

    def result_of(self, cell: Cell) -> CellResult:
        """The cell's result: the one that is kept, or a new one."""
        name, settings = cell_name(cell.index), cell.settings
        kept = self.files.read(name, settings)
        if kept is not None and kept[0].index == cell.index:
            self._skip(settings, kept[0].num_pictures)
            return kept[0]
        blank = CellResult(index=cell.index, settings=settings, created_at=now_iso())
        if cell.problem:
            result = replace(blank, problem=cell.problem)
            self.files.write(name, result, {})
            return result
        if self.request.with_reference:
            self.reference  # noqa: B018 - before the first cell
            if follows_path(settings, path_reference(self.request, self.diffusion)):
                self.path  # noqa: B018
        try:
            drawn = self._draw(name, settings, self.request.num_samples)
            result = self._measure(blank, drawn)
        except NonFiniteError as error:
            result = replace(blank, problem=f"it diverged: {error.message}")
        except CheckpointError as error:
            if "step" not in (self.request.rows.setting, self.request.columns.setting):
                raise
            result = replace(blank, problem=error.message)
        if result.problem:
            self.files.write(name, result, {})
        else:
            self.files.write(name, result, self._arrays(drawn, self._shown))
        self.files.forget_parts(name)
        return result

    @cached_property
    def reference(self) -> tuple[CellResult, _Drawn]:
        """N pictures with every training timestep."""
        settings = quality_reference(self.request, self.diffusion)
        count = self.request.num_samples
        kept = self._kept(REFERENCE, settings, count)
        if kept is not None:
            return kept
        drawn = self._draw(REFERENCE, settings, count)
        result = self._measure(CellResult(index=-1, settings=settings, created_at=now_iso()), drawn, alone=True)
        self.files.write(REFERENCE, result, self._arrays(drawn, PATH_PICTURES))
        self.files.forget_parts(REFERENCE)
        return result, drawn

    @cached_property
    def path(self) -> tuple[CellSettings, _Drawn]:
        """The first 100 pictures on the deterministic path with every training timestep."""
        settings = path_reference(self.request, self.diffusion)
        if settings == self.reference[0].settings:
            return settings, self.reference[1]
        count = min(self.request.num_samples, PATH_PICTURES)
        kept = self._kept(PATH, settings, count)
        if kept is not None:
            return settings, kept[1]
        drawn = self._draw(PATH, settings, count)
        result = CellResult(
            index=-2,
            settings=settings,
            num_pictures=count,
            evaluations=drawn.evaluations,
            seconds=drawn.seconds,
            created_at=now_iso(),
        )
        self.files.write(PATH, result, self._arrays(drawn, PATH_PICTURES))
        self.files.forget_parts(PATH)
        return settings, drawn

    @cached_property
    def judge(self) -> Judge:
        """The dataset's judge; the facts that rest on it are written down."""
        device = resolve_device(self.device)
        judge = load_or_train(
            self.image_set,
            cache_dir=self.cache_dir,
            epochs=self.request.judge_epochs,
            device=device,
            progress=self._say,
        )
        train = split_features(judge, self.image_set, "train", self._say)
        heldout = split_features(judge, self.image_set, "heldout", self._say)
        self.train_features = train
        self.real = FrechetReference(train)
        counts = np.bincount(self.labels, minlength=self.image_set.num_classes)
        floor = fd_floor(self.real, heldout, self.image_set.heldout.labels, counts, self.request.base.seed)
        self.floor = floor["fd_floor"]
        self.files.write_facts(
            Facts(
                judge_hash=judge.hash,
                judge_accuracy=judge.accuracy,
                fd_reference_count=len(train),
                **floor,
                device=device_label(device),
                data_set=self.image_set.name,
                fingerprint=self.image_set.fingerprint,
                class_names=tuple(self.image_set.class_names),
            )
        )
        return judge

    @property
    def _shown(self) -> int:
        return min(SHOWN_A_CLASS * self.image_set.num_classes, SHOWN_PICTURES)

    def _measure(self, blank: CellResult, drawn: _Drawn, *, alone: bool = False) -> CellResult:
        """The figures of what was drawn. alone: without the differences from the reference."""
        count = len(drawn.guesses)
        self._tell(f"{self._title(blank)}: measuring", 0)
        right = drawn.guesses == self.labels[:count]
        low, high = wilson_interval(int(right.sum()), count)
        fd = self.real.distance(drawn.features)
        fd_low, fd_high = normal_interval(fd, fd_error(self.real, drawn.features, self.labels[:count]))
        neighbours, seed = self.request.recall_neighbours, self.request.base.seed
        recall = recall_of(self.train_features, drawn.features.float(), neighbours, seed)
        result = replace(
            blank,
            num_pictures=count,
            evaluations=drawn.evaluations,
            seconds=drawn.seconds,
            class_accuracy=float(right.mean()),
            class_accuracy_low=low,
            class_accuracy_high=high,
            fd_judge=fd,
            fd_low=max(0.0, fd_low),
            fd_high=fd_high,
            recall=recall,
        )
        if alone or not self.request.with_reference:
            return result
        return self._along_path(self._against_reference(result, drawn, right), drawn)

    def _against_reference(self, result: CellResult, drawn: _Drawn, right: np.ndarray) -> CellResult:
        reference, its = self.reference
        observed = result.fd_judge - reference.fd_judge
        error = fd_difference_error(self.real, drawn.features, its.features, self.labels)
        low, high = normal_interval(observed, error)
        fd = Difference(value=observed, low=low, high=high)
        changed, accuracy_error = paired_difference(right, its.guesses == self.labels)
        low, high = normal_interval(changed, accuracy_error)
        accuracy = Difference(value=result.class_accuracy - reference.class_accuracy, low=low, high=high)
        count = len(right)
        changes = (
            fd_change(observed, error, reference=reference.fd_judge, floor=self.floor),
            accuracy_change(changed, accuracy_error, reference=reference.class_accuracy, num_images=count),
        )
        found = judgement(changes, count, cells=self.compared)
        return replace(
            result,
            fd_difference=fd,
            accuracy_difference=accuracy,
            verdict=found.word,
            more_images=found.more_images,
        )

    def _along_path(self, result: CellResult, drawn: _Drawn) -> CellResult:
        if not follows_path(result.settings, path_reference(self.request, self.diffusion)):
            return result
        _, path = self.path
        count = min(len(path.pictures), len(drawn.pictures))
        return replace(
            result,
            agreement=float((path.guesses[:count] == drawn.guesses[:count]).mean()),
            psnr_db=mean_psnr(path.pictures[:count], drawn.pictures[:count]),
            agreement_count=count,
        )

    def _draw(self, name: str, settings: CellSettings, count: int) -> _Drawn:
        """Draw `count` pictures in batches; batches that an earlier attempt kept are not drawn again."""
        model = self._model(settings.weights, settings.step)
        self.judge  # noqa: B018 - it may have to be trained, which must not count as drawing
        whole = SampleRequest(
            labels=tuple(int(label) for label in self.labels[:count]),
            sampler=settings.sampler,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            guidance_rescale=settings.guidance_rescale,
            guidance_interval=settings.guidance_interval,
            whole_timesteps=settings.whole_timesteps,
            seed=settings.seed,
            batch_size=self.request.batch_size,
            noise_rule=model.noise_rule,
        )
        found = []
        for part in batches_of(whole):
            arrays = read_npz(self.files.part(name, part.first_index))
            if arrays is not None and "passes" in arrays and _fits(arrays, len(part.labels)):
                self._skip(settings, len(part.labels))
            else:
                arrays = self._draw_batch(model, part, f"{self._name_of(name, settings)}, {{}} of {count:,} images")
                if part.first_index + len(part.labels) < count:
                    self.files.write_part(name, part.first_index, arrays)
            found.append(arrays)
        return _Drawn(
            features=torch.from_numpy(np.concatenate([part["features"] for part in found])),
            guesses=np.concatenate([part["guesses"] for part in found]),
            pictures=np.concatenate([part["pictures"] for part in found]),
            evaluations=sum(int(part["passes"]) for part in found) / count,
            seconds=sum(float(part["seconds"]) for part in found),
        )

    def _draw_batch(self, model: LoadedModel, part: SampleRequest, words: str) -> dict[str, np.ndarray]:
        """One batch: pictures, what the judge makes of them, passes through the U-Net and seconds."""
        passes = 0

        def count_passes(network: object, inputs: tuple[torch.Tensor, ...]) -> None:
            nonlocal passes
            passes += len(inputs[0])

        handle = model.unet.register_forward_pre_hook(count_passes)
        started = time.perf_counter()
        try:
            before = 0
            for step in sample_steps(model, part):
                self._tell(words.format(f"{part.first_index:,}"), passes - before)
                before = passes
                if self.should_stop():
                    raise _Stopped
                latents = step.next_latents
            pictures = model.codec.decode_to_uint8(latents)
        finally:
            handle.remove()
        seconds = time.perf_counter() - started
        if not latents.isfinite().all():
            raise NonFiniteError("its latents became NaN or infinite")
        features, probabilities = self.judge.look(pictures)
        return {
            "features": features.half().numpy(),
            "guesses": probabilities.argmax(axis=1).astype(np.int16),
            "pictures": pictures[: max(0, PATH_PICTURES - part.first_index)],
            "passes": np.int64(passes),
            "seconds": np.float64(seconds),
        }

    def _model(self, weights: str, step: int) -> LoadedModel:
        """A checkpoint's network; one is kept. Its first pass is not timed."""
        if self.loaded is None or self.loaded[0] != (weights, step):
            self.loaded = None
            model = load_model(self.run, device=self.device, weights=cast("Literal['ema', 'raw']", weights), step=step)
            check_pictures(model, self.image_set)
            labels = tuple(int(label) for label in self.labels[: self.request.batch_size])
            warm = SampleRequest(
                labels=labels,
                sampler="euler",
                num_inference_steps=1,
                guidance_scale=self.request.base.guidance_scale,
                seed=0,
            )
            for first in sample_steps(model, warm):
                model.codec.decode_to_uint8(first.next_latents)
            self.loaded = ((weights, step), model)
        return self.loaded[1]

    def _kept(self, name: str, settings: CellSettings, count: int) -> tuple[CellResult, _Drawn] | None:
        found = self.files.read(name, settings)
        if found is None or not _fits(found[1], count):
            return None
        result, arrays = found
        self.judge  # noqa: B018 - later cells are measured with it
        self._skip(settings, count)
        drawn = _Drawn(
            features=torch.from_numpy(arrays["features"]),
            guesses=arrays["guesses"],
            pictures=arrays["pictures"],
            evaluations=result.evaluations,
            seconds=result.seconds,
        )
        return result, drawn

    def _arrays(self, drawn: _Drawn, num_pictures: int) -> dict[str, np.ndarray]:
        return {
            "features": drawn.features.numpy(),
            "guesses": drawn.guesses,
            "labels": self.labels[: len(drawn.guesses)].astype(np.int16),
            "pictures": drawn.pictures[:num_pictures],
        }

    def _title(self, result: CellResult) -> str:
        return self._name_of({-1: REFERENCE, -2: PATH}.get(result.index, ""), result.settings)

    def _name_of(self, name: str, settings: CellSettings) -> str:
        what = "reference, " if name in (REFERENCE, PATH) else ""
        return f"{what}{settings.sampler}, {settings.num_inference_steps:,} steps"

    def _skip(self, settings: CellSettings, count: int) -> None:
        """Count passes that an earlier attempt has done."""
        self.passes += expected_evaluations(settings) * count

    def _say(self, text: str, fraction: float) -> None:
        if self.should_stop():
            raise _Stopped
        self._tell(f"{text[:1].lower()}{text[1:]} {fraction:.0%}", 0)

    def _tell(self, text: str, passes: int) -> None:
        self.passes += passes
        if self.progress:
            self.progress(text, min(self.passes, self.all_passes), self.all_passes)


def mean_psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Mean peak signal-to-noise ratio in dB of uint8 pictures (N, H, W, C) in pairs; 100 dB for equal ones."""
    return float(np.mean(picture_psnr(first, second)))


def _fits(arrays: dict[str, np.ndarray], count: int) -> bool:
    """True when these are the arrays of `count` pictures."""
    try:
        features, guesses, pictures = arrays["features"], arrays["guesses"], arrays["pictures"]
    except KeyError:
        return False
    shapes = features.ndim == 2 and features.shape[0] == count and guesses.shape == (count,) and pictures.ndim == 4
    seconds = float(arrays["seconds"]) if "seconds" in arrays else 0.0
    return bool(shapes and features.dtype == np.float16 and math.isfinite(seconds))
