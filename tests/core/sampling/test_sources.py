"""What can generate is found in one way; what a link names never becomes a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.schema import Settings
from core.errors import CheckpointError, RunNotFound, UsageError
from core.model_folders.sources import RunSource, find_source, list_sources, source_named
from core.runs.store import RunStore


def test_a_path_is_for_the_command_line_only(tmp_path: Path) -> None:
    run = RunStore(tmp_path / "elsewhere").create("unet", Settings())
    store, models = RunStore(tmp_path / "runs"), tmp_path / "models"
    assert find_source(str(run.folder), lambda: store, models).id == run.id
    with pytest.raises(RunNotFound):
        source_named(str(run.folder), store, models)
    with pytest.raises(UsageError, match="is not in the models folder"):
        source_named("model:../elsewhere", store, models)


def test_only_what_has_weights_to_generate_with_is_listed(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    runs = [store.create(kind, Settings(), steps_total=1) for kind in ("vae", "unet", "comparison")]
    assert [source.id for source in list_sources(runs, tmp_path / "models")] == ["model:mnist-demo"]
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        RunSource(runs[1]).class_names  # noqa: B018
    for run in (runs[0], runs[2]):
        with pytest.raises(UsageError, match="pictures come from a U-Net run"):
            find_source(run.id, lambda: store, tmp_path / "models")
