"""Sampling settings that are found instead of guessed: what is tried, what stays in the race, and what is stated.

Candidates differ in guidance and its interval. After each stage the better ones go on with more images (successive
halving, arXiv 1502.07943). The winner is stated on images of another seed, because the best of many looks better than
it is on the images that chose it. Never imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from core.comparison.comparison_results import Difference
from core.comparison.grid import CellSettings
from core.config.interval import interval_as_setting, interval_in_words
from core.config.schema import SamplingSettings
from core.evaluation.verdict import Verdict
from core.runs.results import ResultKind
from core.runs.run import Run

FOLDER = "tunings"  # in the U-Net's run
SCALES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
INTERVALS = ((0.0, 1.0), (0.1, 0.95), (0.2, 0.85), (0.3, 0.75))  # noise levels t / T
IMAGES = 1000  # of a candidate in the second of three stages, unless somebody says otherwise
GO_ON = (10, 4)  # candidates after the first and after the second stage
SLACK = (0.04, 0.03, 0.02)  # by stage: what a candidate may lose of recall, which few images measure badly
ENDINGS = {"cannot tell": "cannot tell which is better"}
ROWS = ("guidance scale", "guidance interval, t / T", "FD-judge", "class accuracy", "recall", "network evaluations")
MOST_LOST = (0.006, 0.004, 0.002)  # of class accuracy (0 to 1), by stage
FOUND_ON, STATED_ON = 1000, 1001  # added to sampling.seed: no evaluation has these


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many images. stages: of a candidate, those of earlier stages included; stated: of the run's own settings and
    of the winner; part: generated at once."""

    stages: tuple[int, int, int]
    stated: int
    part: int


def sizes_of(images: int) -> Sizes:
    """Of a search with so many images per candidate in its second stage; at least 10."""
    part = max(5, images // 4)
    return Sizes(stages=(2 * part, 4 * part, 8 * part), stated=20 * part, part=part)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A candidate after a stage (from 0 on): measures of its first `count` images; shares are 0 to 1."""

    settings: CellSettings
    stage: int
    count: int
    fd_judge: float
    class_accuracy: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a search found. tried: every candidate of every stage, the run's own settings among them.

    own, found: both on images of a seed that chose nothing; the same settings where none was better. Differences are
    found minus own over the same noise, with 95 % intervals; verdict: of `found` against `own`, see
    core.evaluation.verdict. evaluations: passes of one image through the U-Net, own and found.
    """

    created_at: str
    job_id: str
    run_id: str
    step: int
    data_set: str
    fingerprint: str
    judge_hash: str
    tried: tuple[Tried, ...]
    own: Tried
    found: Tried
    fd_difference: Difference
    accuracy_difference: Difference
    verdict: Verdict
    fd_floor: float
    evaluations: tuple[int, int]
    seconds: float = 0.0
    labels: str = "proportions"

    @property
    def is_new(self) -> bool:
        """Whether other settings than the run's own were found."""
        return self.own.settings != self.found.settings


TUNINGS = ResultKind(title="search of sampling settings", record=Tuning)


def candidates_of(own: SamplingSettings) -> list[SamplingSettings]:
    """The run's own settings first, then every pair of a scale and an interval that differs from them."""
    found = [own]
    for scale, interval in product(SCALES, INTERVALS):
        if scale == 1.0 and interval != INTERVALS[0]:
            continue  # without guidance there is no interval
        made = own.model_copy(update={"guidance_scale": scale, "guidance_interval": interval})
        if made not in found:
            found.append(made)
    return found


def going_on(tried: Sequence[Tried], own: Tried, most: int) -> list[Tried]:
    """At most `most` candidates of a stage, those with the lowest FD-judge first; of those that lose, against the run's
    own settings on the same noise, at most SLACK of recall and MOST_LOST of accuracy."""
    able = [
        each
        for each in tried
        if each.recall >= own.recall - SLACK[own.stage]
        and each.class_accuracy >= own.class_accuracy - MOST_LOST[own.stage]
    ]
    return sorted(able, key=lambda each: each.fd_judge)[:most]


def passes_of(sampling: SamplingSettings, sizes: Sizes) -> int:
    """Passes of an image through the U-Net that a search takes at most, all of them guided."""
    first, *later = sizes.stages
    images = len(candidates_of(sampling)) * first
    for most, stage, before in zip(GO_ON, later, sizes.stages, strict=False):
        images += (most + 1) * (stage - before)
    return (images + 2 * sizes.stated) * 2 * sampling.num_inference_steps


def tuning_path(unet_run: Run, job_id: str) -> Path:
    """Where the search of a job is kept."""
    return unet_run.folder / FOLDER / f"{job_id}.json"


def list_tunings(unet_run: Run) -> tuple[list[Tuning], list[str]]:
    """What was found for a run, newest first, and a sentence for each file that cannot be shown."""
    paths = sorted((unet_run.folder / FOLDER).glob("*.json"))
    found, problems = TUNINGS.read_all(paths)
    return sorted(found, key=lambda each: each.created_at, reverse=True), problems


def rows_of(found: Tuning) -> list[list[str]]:
    """(what, the run's own, what was found) in words, for a table."""
    own, new = found.own, found.found
    columns = [
        [
            f"{each.settings.guidance_scale:g}",
            interval_in_words(each.settings.guidance_interval),
            f"{each.fd_judge:.4g}",
            f"{each.class_accuracy:.2%}",
            f"{each.recall:.3f}",
            f"{evaluations:,}",
        ]
        for each, evaluations in zip((own, new), found.evaluations, strict=True)
    ]
    return [[name, *values] for name, *values in zip(ROWS, *columns, strict=True)]


def in_words(found: Tuning) -> str:
    """One sentence on what was found."""
    if not found.is_new:
        return (
            f"None of {len({each.settings for each in found.tried}) - 1} other settings is better than the run's own."
        )
    own, change = found.own, found.fd_difference
    share = 100 * change.value / own.fd_judge if own.fd_judge else 0.0
    points = 100 * found.accuracy_difference.value
    return (
        f"FD-judge {abs(share):.0f} % {'lower' if share < 0 else 'higher'} (95 % interval {change.low:+.2g} to "
        f"{change.high:+.2g}), class accuracy {abs(points):.2f} points {'lower' if points < 0 else 'higher'}, on "
        f"{found.found.count:,} images that chose nothing: {ENDINGS.get(found.verdict, found.verdict)}."
    )


def as_settings(found: Tuning) -> list[str]:
    """SECTION.KEY=VALUE of what was found, as --set takes it."""
    chosen = found.found.settings
    return [
        f"sampling.guidance_scale={chosen.guidance_scale:g}",
        f"sampling.guidance_interval={interval_as_setting(chosen.guidance_interval)}",
    ]
