"""What the screens read of runs: incremental, and never stopped by a damaged file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import streamlit as st

from core.config.load import load_config
from core.runs.metrics import MetricsWriter, read_metrics
from core.runs.run import RunState
from core.runs.store import RunStore
from lab.services import evaluations, run_actions, runs
from lab.services.settings import current_site
from lab.train import training_service
from tests.pages.run_folders import make_run, write_checkpoint


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    st.cache_data.clear()
    st.cache_resource.clear()
    return RunStore(tmp_path / "runs")


def test_of_a_huge_log_the_end_is_given(store: RunStore) -> None:
    run = make_run(store, "vae")
    run.log_path.write_bytes(b"first\nlast")
    for most, seen in ((4, b"last"), (10, b"first\nlast"), (1000, b"first\nlast")):
        with run_actions.log_end(run, most) as file:
            assert file.read() == seen


def test_curves_read_in_pieces_are_the_curves_read_at_once(store: RunStore) -> None:
    run = make_run(store, logged=7)
    runs.curves(run)
    writer = MetricsWriter(run.metrics_path)
    writer.append({"step": 200, "loss": 0.5})
    runs.curves(run)
    writer.append({"step": 300, "loss": 0.4, "new_metric": 1.0})
    pieces, whole = runs.curves(run), read_metrics(run.metrics_path)
    assert pieces.keys() == whole.keys()
    for name in whole:
        np.testing.assert_array_equal(pieces[name], whole[name])


def test_curves_start_over_when_a_resume_cut_the_file(store: RunStore) -> None:
    run = make_run(store, logged=20)
    assert runs.curves(run)["step"][-1] == 100
    MetricsWriter(run.metrics_path).truncate_after(50)
    assert runs.curves(run)["step"][-1] == 50


def test_curves_of_an_unchanged_run_are_the_same_object(store: RunStore) -> None:
    run = make_run(store)
    assert runs.curves(run) is runs.curves(run)


def test_curves_kept_in_memory_are_bounded(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = runs.columns_read()
    monkeypatch.setattr(kept, "max_bytes", 40_000)
    for _ in range(6):
        assert "loss" in runs.curves(make_run(store))
    assert 1 <= len(kept.kept()) < 6
    assert sum(columns.size_bytes for path in kept.kept() if (columns := kept.get(path))) <= 40_000


def test_a_small_line_needs_no_whole_file_and_follows_the_run(store: RunStore) -> None:
    run = make_run(store, logged=20)
    line = runs.loss_sample(run)
    assert line == [float(value) for value in runs.curves(run)["loss"]]
    MetricsWriter(run.metrics_path).append({"step": 101, "loss": 0.01})
    assert runs.loss_sample(run) == [*line, 0.01]
    assert runs.loss_sample(make_run(store, logged=0)) == []


def test_every_logged_line_is_in_the_csv(store: RunStore) -> None:
    lines = runs.as_csv(make_run(store, logged=20)).decode().splitlines()
    assert lines[0].startswith("step,images_seen,elapsed_s,loss")
    assert len(lines) == 21


def test_a_run_without_metrics_has_no_curves(store: RunStore) -> None:
    assert runs.curves(make_run(store, logged=0)) == {}


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((4, 8, 8, 1), dtype=np.float32)},
        {"images": np.zeros((8, 8), dtype=np.uint8)},
        {"images": np.zeros((0, 8, 8, 1), dtype=np.uint8)},
        {"nothing": np.zeros(3)},
        {"images": np.array([{"a": "pickle"}], dtype=object)},
    ],
)
def test_a_preview_of_the_wrong_shape_is_none(arrays: dict[str, np.ndarray], store: RunStore) -> None:
    run = make_run(store)
    np.savez(run.previews_dir / "step-00000777.npz", step=np.int64(777), **arrays)
    assert 777 in runs.preview_steps(run)
    assert runs.read_preview(run, 777) is None
    assert runs.newest_preview(run) is not None


def test_files_that_only_look_like_previews_are_left_out(store: RunStore) -> None:
    run = make_run(store)
    (run.previews_dir / "step-tmp.npz").write_bytes(b"")
    (run.previews_dir / ".step-00000100.npz.tmp").write_bytes(b"")
    assert runs.preview_steps(run) == [0, 50, 100]


def test_the_log_tail_is_bounded_and_shows_the_end(store: RunStore) -> None:
    run = make_run(store)
    run.log_path.write_bytes(b"x" * 10**6 + b"\rlast \xff line")
    assert len(runs.log_tail(run)) <= runs.TAIL_BYTES
    assert runs.log_tail(run).endswith("last � line")


def test_a_title_says_what_an_unnamed_run_is(store: RunStore) -> None:
    run = make_run(store, "vae")
    assert runs.view_of(run.id).title == f"VAE on digits, {run.id[-4:]}"


def test_a_list_does_not_read_every_configuration(store: RunStore) -> None:
    run = make_run(store)
    run.config_path.unlink()
    assert [view.data_name for view in runs.list_views()] == ["digits"]


def test_only_unets_with_a_checkpoint_can_draw(store: RunStore) -> None:
    make_run(store, "vae")
    make_run(store, "unet")
    able = make_run(store, "unet", state=RunState.STOPPED)
    write_checkpoint(able, 40)
    assert [view.id for view in runs.trained_unets()] == [able.id]


def test_marks_tell_where_a_run_was_resumed(store: RunStore) -> None:
    run = make_run(store)
    for from_step in (40, 70):
        run.add_event("resumed", from_step=from_step)
    run.add_event("resumed", from_step="x")
    assert runs.resumed_at(run) == [40, 70]


def test_the_site_follows_the_environment(store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert current_site().runs == tmp_path / "runs"
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "other"))
    assert current_site().runs == tmp_path / "other"


@pytest.mark.parametrize("preset", training_service.presets())
@pytest.mark.parametrize("part", ["vae", "unet"])
def test_every_preset_says_what_it_gives_and_takes(preset: str, part: str) -> None:
    settings = training_service.settings_for(preset, {})
    planned = training_service.Cost.planned(settings, part)
    assert preset in training_service.PRESET_WORDS
    assert planned.pictures == planned.steps * (settings.train_vae if part == "vae" else settings.train_unet).batch_size
    assert planned.seconds is None


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, 0.0),
        ({"during": 1000, "during_samples": 600}, 12 * 600 * 40 / (3 * 12_000 * 256)),
        ({"during": 7000, "during_samples": 600}, 2 * 600 * 40 / (3 * 12_000 * 256)),  # the end counts
    ],
)
def test_the_cost_of_measuring_during_a_training_is_counted_in_passes(changes: dict[str, int], share: float) -> None:
    asked = {f"evaluation.{name}": value for name, value in changes.items()}
    found = evaluations.share_of_training(load_config(preset="standard", overrides=asked))
    assert found == pytest.approx(share, rel=0.06)  # a multistep sampler may take a pass less


def test_a_hostile_data_set_name_stays_short(store: RunStore) -> None:
    run = make_run(store)
    values = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**values, "dataset": {"name": ["x" * 500]}}))
    assert len(runs.view_of(run.id).data_name) == 40
