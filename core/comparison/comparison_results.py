"""What a sampler comparison found, as it lies in the run it belongs to, and what that says. Never imports torch.

`<U-Net run>/comparisons/<id>/`: request.json, facts.json, reference.json and .npz, cells/0007.json and .npz, each
written whole when it is done; parts/ holds the batches of what is being drawn, so that a stopped job loses little.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core import atomic, leftovers, reading
from core.comparison.grid import (
    Cell,
    CellSettings,
    ComparisonRequest,
    cells_of,
    check_request,
    cost_of,
    quality_reference,
    reference_in_words,
    settings_in_words,
)
from core.config.schema import DiffusionSettings
from core.data.npz_file import npz_bytes, read_npz
from core.errors import LabError, RunNotFound, UsageError, quoted
from core.evaluation.verdict import Verdict
from core.runs.results import NewerResult, Record, ResultKind
from core.runs.run import Run

FOLDER = "comparisons"
REFERENCE = "reference"
LEAST_FOR_95 = 512  # images: of fewer the interval of FD-judge is made wider, see `core.evaluation.measures`
ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,80}$")
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Cell minus reference, with its 95 % interval; of FD-judge and fewer than 512 images, one that is wider."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """A cell that is done. problem: why it was refused; all figures are then zero or None.

    evaluations: passes of one picture through the U-Net, counted. seconds: drawing all N pictures, judging not.
    agreement: share of the first agreement_count pictures that the judge takes for the class it sees in the picture of
    the same noise on the 1000-step deterministic path; psnr_db: their mean likeness to it. fd_low, fd_high: 95 %
    interval of the expectation at this N. Differences are against the quality reference; verdict: see
    `core.evaluation.verdict`, more_images: how many more per cell would tell.
    """

    index: int
    settings: CellSettings
    problem: str = ""
    num_pictures: int = 0
    evaluations: float = 0.0
    seconds: float = 0.0
    class_accuracy: float = 0.0
    class_accuracy_low: float = 0.0
    class_accuracy_high: float = 0.0
    fd_judge: float = 0.0
    fd_low: float = 0.0
    fd_high: float = 0.0
    recall: float = 0.0
    agreement: float | None = None
    psnr_db: float | None = None
    agreement_count: int = 0
    fd_difference: Difference | None = None
    accuracy_difference: Difference | None = None
    verdict: Verdict = ""
    more_images: int | None = None
    created_at: str = ""

    @property
    def pictures_per_s(self) -> float:
        """Speed of drawing."""
        return self.num_pictures / self.seconds if self.seconds else 0.0

    @property
    def is_as_good(self) -> bool:
        """True when it is at least as good as the reference, as far as can be told."""
        return self.verdict in ("better", "as good")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What all cells of a comparison share: judge, dataset, floor, device."""

    judge_hash: str
    judge_accuracy: float
    fd_reference_count: int
    fd_floor: float
    fd_floor_count: int
    device: str
    data_set: str
    fingerprint: str
    class_names: tuple[str, ...]
    fd_floor_sd: float | None = None
    fd_floor_draws: int = 1


CELLS = ResultKind(title="cell of a comparison", record=CellResult)
FACTS = ResultKind(title="comparison's facts", record=Facts)
REQUESTS = ResultKind(title="comparison", record=ComparisonRequest)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison as far as it has come.

    results: by the cell's index; a cell that is missing is not done. problems: a sentence for each part besides the
    cells that is there and cannot be shown.
    """

    id: str
    folder: Path
    request: ComparisonRequest
    cells: Sequence[Cell]
    results: Mapping[int, CellResult]
    facts: Facts | None = None
    reference: CellResult | None = None
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    problems: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """True when every cell is drawn or refused."""
        return len(self.results) == len(self.cells)

    @property
    def drawn(self) -> Sequence[CellResult]:
        """Results of cells that were drawn, in the order of the grid."""
        return [self.results[index] for index in sorted(self.results) if not self.results[index].problem]

    def words(self, result: CellResult) -> str:
        """What tells this cell from its neighbours."""
        return settings_in_words(result.settings, self.request)

    @property
    def reference_words(self) -> str:
        """The reference in words."""
        return reference_in_words(quality_reference(self.request, self.diffusion))


class ComparisonFolder:
    """The files of one comparison. Writing is durable: a file is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, request: ComparisonRequest) -> None:
        """Make the folder, or find it again. Raises LabError when it holds another comparison."""
        for part in (self.folder / "cells", self.folder / "parts"):
            atomic.make_folder(part)
        path = self.folder / "request.json"
        if not path.exists():
            REQUESTS.write(path, request)
        elif read_request(self.folder, for_acting=True) != request:
            raise LabError(f"{self.folder.name}: another comparison of that id is stored here", "start a new one")

    def write(self, name: str, result: CellResult, arrays: Arrays) -> None:
        """Keep a result: its arrays first, because the JSON says that it is done. name: 'cells/0003', 'reference'."""
        if not result.problem:
            atomic.write_bytes(self.folder / f"{name}.npz", npz_bytes(arrays))
        CELLS.write(self.folder / f"{name}.json", result)

    def read(self, name: str, settings: CellSettings) -> tuple[CellResult, dict[str, np.ndarray]] | None:
        """A result that was kept, or None when it is missing, damaged, or of other settings. Raises NewerResult."""
        result = CELLS.find(self.folder / f"{name}.json")
        if result is None:
            return None
        arrays = {} if result.problem else read_npz(self.folder / f"{name}.npz")
        return (result, arrays) if result.settings == settings and arrays is not None else None

    def write_facts(self, facts: Facts) -> None:
        """What all cells share."""
        FACTS.write(self.folder / "facts.json", facts)

    def part(self, name: str, first_index: int) -> Path:
        """Where a batch is kept until its cell is done."""
        return self.folder / "parts" / f"{name.replace('/', '-')}-{first_index:06d}.npz"

    def write_part(self, name: str, first_index: int, arrays: Arrays) -> None:
        """Keep a batch."""
        atomic.write_bytes(self.part(name, first_index), npz_bytes(arrays))

    def forget_parts(self, name: str) -> None:
        """Its cell is done."""
        for path in (self.folder / "parts").glob(f"{name.replace('/', '-')}-*.npz"):
            path.unlink(missing_ok=True)


def cell_name(index: int) -> str:
    """The stem of a cell's files."""
    return f"cells/{index:04d}"


def results_folder(run: Run, comparison_id: str) -> ComparisonFolder:
    """Where a comparison of this U-Net run is kept. Raises UsageError for an id that is no name of a folder."""
    if not ID.fullmatch(comparison_id):
        raise UsageError(f"comparison '{quoted(comparison_id)}' is not an id")
    return ComparisonFolder(run.folder / FOLDER / comparison_id)


def list_comparisons(run: Run) -> list[str]:
    """Ids of the comparisons that are kept with this run, newest first."""
    try:
        names = [entry.name for entry in os.scandir(run.folder / FOLDER) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted((name for name in names if ID.fullmatch(name)), reverse=True)


def read_comparison(run: Run, comparison_id: str) -> Comparison:
    """A comparison as it is now; damaged cells are left out.

    Raises RunNotFound when it is not there, UsageError when its request.json is damaged.
    """
    files = results_folder(run, comparison_id)
    if not files.folder.is_dir():
        raise RunNotFound(f"comparison '{quoted(comparison_id)}' is not stored with run {run.id}")
    request = read_request(files.folder)
    diffusion = run.settings.diffusion
    cells = cells_of(request, diffusion)
    results = {}
    for cell in cells:
        path = files.folder / f"{cell_name(cell.index)}.json"
        try:
            found = CELLS.find(path)
        except NewerResult as error:
            found = CellResult(index=cell.index, settings=cell.settings, problem=error.message)
        if found is not None and (found.settings, found.index) == (cell.settings, cell.index):
            results[cell.index] = found
    facts, no_facts = _shown(FACTS, files.folder / "facts.json")
    reference, no_reference = _shown(CELLS, files.folder / f"{REFERENCE}.json")
    return Comparison(
        id=comparison_id,
        folder=files.folder,
        request=request,
        cells=cells,
        results=results,
        facts=next(iter(facts), None),
        reference=next(iter(reference), None),
        diffusion=diffusion,
        problems=(*no_facts, *no_reference),
    )


def read_request(folder: Path, *, for_acting: bool = False) -> ComparisonRequest:
    """request.json of a comparison or of its job. for_acting: unknown keys are refused.

    Raises UsageError when it cannot be read, or asks for what no job could carry out.
    """
    try:
        request = REQUESTS.parse(reading.read_bytes(folder / "request.json"), "request.json", for_acting=for_acting)
        check_request(request)
        return request
    except NewerResult as error:
        raise UsageError(f"{folder.name}: {error.message}", "use that version of the lab") from None
    except (OSError, ValueError, UsageError) as error:
        raise UsageError(f"{folder.name}: request.json cannot be read: {quoted(error, 200)}") from None


def evaluations_of(run: Run) -> int:
    """Passes of one picture through the U-Net that a comparison's job takes. Raises UsageError, LabError."""
    return cost_of(read_request(run.folder), run.settings.diffusion).evaluations


def request_bytes(request: ComparisonRequest) -> bytes:
    """request.json, as the job's folder gets it."""
    return atomic.json_bytes(REQUESTS.as_json(request))


def read_arrays(comparison: Comparison, index: int) -> dict[str, np.ndarray] | None:
    """Arrays of a cell, or of the reference (-1): pictures (≤ 40, H, W, C) uint8, features (N, 128) float16 and
    guesses (N,) int16; None when they are missing or damaged."""
    name = cell_name(index) if index >= 0 else REFERENCE
    return read_npz(comparison.folder / f"{name}.npz")


def delete_comparison(run: Run, comparison_id: str) -> None:
    """Remove the results of a comparison: out of sight in one step. Raises RunNotFound, LabError."""
    folder = results_folder(run, comparison_id).folder
    if folder.is_symlink() or not folder.is_dir():
        raise RunNotFound(f"comparison '{quoted(comparison_id)}' is not stored with run {run.id}")
    try:
        leftovers.remove_folder(folder, within=run.folder)
    except OSError as error:
        raise LabError(f"{comparison_id}: cannot be removed: {error.strerror}") from None


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points (cost, badness) that no other one beats in both, cheapest first; equal ones once."""
    front: list[int] = []
    best = math.inf
    for place in sorted(range(len(points)), key=lambda place: points[place]):
        if points[place][1] < best:
            front.append(place)
            best = points[place][1]
    return front


def on_front(comparison: Comparison) -> set[int]:
    """Indices of the cells that no other cell beats in network evaluations and in FD-judge."""
    drawn = comparison.drawn
    return {drawn[place].index for place in pareto_front([(each.evaluations, each.fd_judge) for each in drawn])}


def best_of(comparison: Comparison) -> CellResult | None:
    """The cell with the lowest FD-judge."""
    return min(comparison.drawn, key=lambda each: (each.fd_judge, each.evaluations), default=None)


def cheapest_as_good(comparison: Comparison) -> CellResult | None:
    """Of the cells that are as good as the reference the one with the fewest network evaluations."""
    good = [each for each in comparison.drawn if each.is_as_good]
    return min(good, key=lambda each: (each.evaluations, each.fd_judge), default=None)


def seconds_per_evaluation(comparison: Comparison) -> float | None:
    """How long one picture took for one pass, over all that was drawn; None before the first cell."""
    done = [each for each in (*comparison.drawn, comparison.reference) if each is not None and each.seconds > 0]
    passes = sum(each.evaluations * each.num_pictures for each in done)
    return sum(each.seconds for each in done) / passes if passes else None


def finding(comparison: Comparison) -> str:
    """The answer in one sentence: how few network evaluations are as good as the reference. '' while nothing is."""
    best, reference = best_of(comparison), comparison.reference
    if best is None:
        return ""
    begin = "" if comparison.is_done else "So far: "
    if reference is None:
        front = [each for each in comparison.drawn if each.index in on_front(comparison) and each is not best]
        cheap = front[-1] if front else None
        more = f"; {_words(comparison, cheap)} reaches {cheap.fd_judge:.3g}" if cheap else ""
        return f"{begin}{_words(comparison, best)} has the lowest FD-judge, {best.fd_judge:.3g}{more}."
    good = cheapest_as_good(comparison)
    what = comparison.reference_words
    if good is not None:
        verb = "better than" if good.verdict == "better" else "as good as"
        return f"{begin}{_words(comparison, good)} is {verb} {what}: {_against(good, reference)}."
    unclear = [each for each in comparison.drawn if each.verdict == "cannot tell"]
    if unclear:
        each = min(unclear, key=lambda each: (each.evaluations, each.fd_judge))
        more = f" About {each.more_images:,} more would tell." if each.more_images else ""
        return (
            f"{begin}{comparison.request.num_samples:,} images per cell cannot tell "
            f"{_words(comparison, each)} from {what}: {_against(each, reference)}.{more}"
        )
    return f"{begin}No cell reaches {what}; closest is {_words(comparison, best)}: {_against(best, reference)}."


def _shown(kind: ResultKind[Record], path: Path) -> tuple[list[Record], list[str]]:
    """What is kept there, or, where something is that cannot be shown, a sentence."""
    return kind.read_all([path] if path.exists() else [])


def _words(comparison: Comparison, result: CellResult) -> str:
    return f"{comparison.words(result)} ({result.evaluations:g} network evaluations per image)"


def _against(result: CellResult, reference: CellResult) -> str:
    words = f"FD-judge {result.fd_judge:.3g} against {reference.fd_judge:.3g}"
    difference = result.fd_difference
    if difference is None:
        return words
    span = f"{difference.low:+.2g} to {difference.high:+.2g}"
    if result.num_pictures < LEAST_FOR_95:
        return f"{words}, difference {span} (an interval wider than 95 %, for few images)"
    return f"{words}, 95 % interval of the difference {span}"
