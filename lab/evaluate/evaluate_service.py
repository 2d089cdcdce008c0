"""What the Evaluate page knows of an evaluation beside its report: its images, and their nearest training images."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.compute.questions import FIND_NEAREST, TEST_MEASURES
from core.evaluation.drawn import Drawn, drawn_images
from core.evaluation.judge_facts import JUDGE_SEED, JudgeRecipe, judge_folder
from core.evaluation.measure_test_results import MeasureTest, kept_test
from core.evaluation.nearest_results import Nearest
from core.evaluation.report import Report
from core.model_folders.sources import RunSource
from core.runs.run import Run
from lab.services import background, judges
from lab.services.background import Work
from lab.services.computing import asked
from lab.services.settings import current_site

MOST_SEARCHED = 1000  # images whose nearest training image is looked for


def images_of(report: Report) -> Drawn | None:
    """The images of an evaluation; None where they were not kept or were cleaned up."""
    if not report.drawn_key:
        return None
    found = _images(str(current_site().cache), report.drawn_key, report.num_samples)
    if found is None:
        _images.clear()  # they may be generated again
    return found


@st.cache_resource(max_entries=4, show_spinner=False)
def _images(cache: str, key: str, count: int) -> Drawn | None:
    return drawn_images(current_site().cache, key, count)


def can_search(run: Run) -> bool:
    """Whether the training images are here."""
    return judges.pictures_are_here(RunSource(run))


def search(run: Run, report: Report, drawn: Drawn) -> Work:
    """Look for the nearest training images in the background, once for everyone who looks."""
    labels = tuple(int(label) for label in drawn.labels[:MOST_SEARCHED])
    return background.begin(
        _key(report), asked(FIND_NEAREST, RunSource(run).id, drawn.pictures[:MOST_SEARCHED], labels, current_site())
    )


def searched(report: Report) -> Work | None:
    """The search of this evaluation, running or done."""
    return background.find(_key(report)) if report.drawn_key else None


def kept_measure_test(run: Run) -> MeasureTest | None:
    """The test of the measures on the run's dataset, as it lies beside the judge; None where there is none."""
    source = RunSource(run)
    judge = judges.find(source)
    if judge is None:
        return None
    recipe = JudgeRecipe(seed=JUDGE_SEED, epochs=source.settings.evaluation.judge_epochs)
    return kept_test(judge_folder(current_site().cache, source.fingerprint, recipe), judge.sha256)


def test_measures(run: Run) -> Work:
    """Test them in the background, once per dataset for everyone who looks."""
    return background.begin(_test_key(run), asked(TEST_MEASURES, RunSource(run).id, current_site()))


def measure_test(run: Run) -> Work | None:
    """The test that runs, or has just ended."""
    return background.find(_test_key(run))


def _test_key(run: Run) -> str:
    source = RunSource(run)
    return f"evaluate-test-{source.fingerprint[:16]}-{source.settings.evaluation.judge_epochs}"


def most_suspicious(found: Nearest, most: int) -> np.ndarray:
    """Places of the images that lie nearest to a training image, against held-out images of their class; (≤ most,)."""
    share = np.where(np.isfinite(found.closer), found.closer, 1.0)
    return np.lexsort((found.distances, share))[:most]


def _key(report: Report) -> str:
    return f"evaluate-nearest-{report.drawn_key}"
