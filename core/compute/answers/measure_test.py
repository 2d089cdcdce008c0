"""Which measure sees which fault of a dataset's images, for a screen."""

from __future__ import annotations

from core.compute.answers.judges import images_of, trained_judge
from core.compute.question import Tell
from core.config.site import SiteSettings
from core.evaluation.corruptions import measure_faults
from core.evaluation.measure_test_results import MeasureTest, keep_test
from core.model_folders.sources import source_named
from core.runs.store import RunStore

JUDGE_SHARE = 0.3  # of the progress, where it has to be trained


def test_measures(tell: Tell, name: str, site: SiteSettings) -> MeasureTest:
    """Put faults into real images of that model's dataset and measure them; kept beside the judge, which is trained
    where it never was. Raises a LabError."""
    source = source_named(name, RunStore(site.runs), site.models)
    images = images_of(source, site)
    judge = trained_judge(lambda stage, share: tell(stage, JUDGE_SHARE * share), source, site)
    found = measure_faults(
        judge,
        images,
        neighbours=source.settings.evaluation.recall_neighbours,
        progress=lambda stage, share: tell(stage, JUDGE_SHARE + (1 - JUDGE_SHARE) * share),
    )
    if judge.folder is not None:
        keep_test(judge.folder, found)
    return found
