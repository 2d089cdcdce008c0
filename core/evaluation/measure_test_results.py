"""Which measure sees which fault of images, on one dataset with its judge, as it lies beside the judge.

Never imports PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import LabError
from core.runs.results import ResultKind

FILE = "measure-test.json"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one measure says of the images with a fault. sees: its score is worse than what real images get."""

    title: str
    value: float
    sees: bool


@dataclass(frozen=True, kw_only=True)
class FaultTest:
    """A fault that was put into real images, and what each measure says. is_none: untouched images, which must pass."""

    name: str
    seen: tuple[Seen, ...]
    is_none: bool = False

    @property
    def is_right(self) -> bool:
        """A fault is seen by at least one measure, and untouched images by none."""
        return any(each.sees for each in self.seen) != self.is_none


@dataclass(frozen=True, kw_only=True)
class MeasureTest:
    """Held-out images of a dataset, once as they are and once per fault."""

    created_at: str
    data_set: str
    fingerprint: str
    judge_hash: str
    num_images: int
    seed: int
    faults: tuple[FaultTest, ...]
    elapsed_s: float


MEASURE_TESTS = ResultKind(title="test of the measures", record=MeasureTest)


def kept_test(judge_folder: Path, judge_hash: str) -> MeasureTest | None:
    """The test that lies beside that judge; None where there is none, or it is of another judge."""
    try:
        found = MEASURE_TESTS.find(judge_folder / FILE)
    except LabError:  # of a newer version
        return None
    return found if found is not None and found.judge_hash == judge_hash else None


def keep_test(judge_folder: Path, found: MeasureTest) -> None:
    """Keep it there, where that can be written."""
    MEASURE_TESTS.keep(judge_folder / FILE, found)


def in_words(found: MeasureTest) -> str:
    """'Every fault is seen by at least one measure; untouched images pass.', or what is not so."""
    missed = [each.name.lower() for each in found.faults if not each.is_none and not each.is_right]
    passed = all(each.is_right for each in found.faults if each.is_none)
    words = "Every fault is seen by at least one measure" if not missed else f"No measure sees: {', '.join(missed)}"
    return f"{words}; untouched images {'pass' if passed else 'do not pass'}."
