"""Exports of runs that a screen asks for."""

from __future__ import annotations

from core.compute.question import Tell
from core.config.site import SiteSettings
from core.evaluation.folder_judge import judge_for_export
from core.evaluation.report import figures_for_card
from core.model_folders.export import ExportOptions, files_of_run
from core.model_folders.exports import ExportWish, check_free, keep_export
from core.model_folders.model_facts import ModelFolderInfo
from core.runs.rights import require_right
from core.runs.store import RunStore

JUDGE_SHARE = 0.6  # of the progress, where the judge comes along


def export(tell: Tell, run_id: str, wish: ExportWish, by: str, site: SiteSettings) -> ModelFolderInfo:
    """The folder in the run's exports, whole or not at all. Raises a LabError; cancelled, it leaves nothing."""
    run = RunStore(site.runs).get(run_id)
    require_right(run.info.owner, by, f"export run {run.id}")
    check_free(run, wish.name)  # before a judge is trained for nothing
    judge, first = {}, 0.0
    if wish.with_judge:
        first = JUDGE_SHARE
        judge = judge_for_export(
            run, data_dir=site.data, cache_dir=site.cache, progress=lambda stage, share: tell(stage, first * share)
        )
    options = ExportOptions(
        step=wish.step,
        weights=wish.weights,
        licence=wish.licence,
        sampler=wish.sampler,
        report=figures_for_card(run, wish.step, wish.weights),
        judge=judge,
    )
    return keep_export(
        run,
        wish.name,
        lambda progress: files_of_run(run, options, progress),
        by=by,
        progress=lambda stage, share: tell(stage, first + (1 - first) * share),
    )
