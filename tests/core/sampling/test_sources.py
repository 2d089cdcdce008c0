"""What can generate is found in one way; what a link names never becomes a path."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core.config.load import settings_from
from core.config.schema import Settings
from core.config.strict_yaml import parse_yaml
from core.data import catalog
from core.errors import CheckpointError, DataUnavailable, RunNotFound, UsageError
from core.home import code_root
from core.model_folders.model_facts import DEMO, SETTINGS_FILE
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
        with pytest.raises(UsageError, match="images come from a U-Net run"):
            find_source(run.id, lambda: store, tmp_path / "models")


@pytest.mark.parametrize("name", ["image_folder", "npz"])
@pytest.mark.parametrize("path", ["{private}", "models", "/", "..", "/dev/null/..", "~"])
def test_a_model_folder_never_leads_to_pictures_of_this_machine(tmp_path: Path, name: str, path: str) -> None:
    """Before, the data.path that a stranger had written was read, site.data_roots or not."""
    private = tmp_path / "private"
    (private / "letters").mkdir(parents=True)
    folder = Path(shutil.copytree(code_root() / DEMO, tmp_path / "models" / "theirs"))
    values = parse_yaml((folder / SETTINGS_FILE).read_text(), SETTINGS_FILE)
    values["data"] = {**values["data"], "name": name, "path": path.format(private=private)}
    (folder / SETTINGS_FILE).write_text(json.dumps(values))
    source = source_named("model:theirs", RunStore(tmp_path / "runs"), tmp_path / "models")
    data = source.settings.data
    assert not catalog.is_present(name, tmp_path, path=data.path)
    assert catalog.is_present(name, tmp_path, path=str(private))
    with pytest.raises(DataUnavailable, match="lies where the model was trained; its images cannot be read here"):
        catalog.entry(name).loader.files(data, tmp_path)
    assert settings_from(source.settings.model_dump(mode="json")) == source.settings  # `sample --set` makes them anew
