"""Run folders of 57d6eac go on working: listed, shown, generated with, evaluated, and resumed with the same losses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.__main__ import main
from core.comparison.comparison_results import list_comparisons, read_comparison
from core.errors import CheckpointError
from core.evaluation.report import list_reports
from core.evaluation.timestep_loss_results import key_of, read_kept
from core.jobs.job_row import signature_of
from core.model_folders.sources import RunSource
from core.runs.run import Run, RunState
from core.sampling.recipe import read_recipe_file
from tests.models import Lab, brief_judges

OLD = Path(__file__).resolve().parents[1] / "fixtures" / "runs-57d6eac"
EXPECTED = json.loads((OLD / "expected.json").read_text())
TOLERANCE = 1e-3


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab with a copy of the old runs, which the command line looks at too."""
    shutil.copytree(OLD / "runs", tmp_path / "runs")
    for name in ("runs", "data", "cache"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(tmp_path / name))
    return Lab(tmp_path)


def finished_unet(lab: Lab) -> Run:
    return next(run for run in lab.store.list() if run.info.kind == "unet" and run.info.name == "digits")


def test_old_runs_are_listed_with_what_they_said(old: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    told = sorted((row["kind"], row["state"], row["owner"], row["step"]) for row in rows)
    assert told == [
        ("comparison", "finished", "teammate", 4),
        ("unet", "finished", "teammate", 40),
        ("unet", "stopped", "teammate", 21),
        ("vae", "finished", "teammate", 24),
        ("vae", "stopped", "teammate", 21),
    ]


def test_a_speed_that_an_older_lab_noted_is_still_that_of_such_runs(old: Lab) -> None:
    assert signature_of(finished_unet(old)) == (
        "unet|digits|16|16|2|cpu|1|1|no|True|attention_levels=[]|block_out_channels=[8, 8]|dropout=0.0|"
        "latent_channels=4|layers_per_block=1|mid_block_add_attention=False|norm_num_groups=8"
    )


def test_an_old_run_is_shown_with_its_notes_settings_and_results(old: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "digits", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["notes"], shown["tags"], shown["favourite_of"]) == ("kept from an older lab", ["old"], [])
    assert shown["settings"]["unet"]["block_out_channels"] == [8, 8]
    assert shown["metrics"]["step"] == shown["checkpoints"][0]["step"] == 40
    run = finished_unet(old)
    (report,) = list_reports(run)
    assert (report.num_samples, report.step) == (40, 40)
    loss = read_kept(run, 40, key_of(run, 40, weights="ema", num_pictures=512, num_points=25))
    assert loss is not None and loss.num_pictures == 179
    comparison = read_comparison(run, *list_comparisons(run))
    assert [cell.index for cell in comparison.cells] == [0, 1, 2, 3]
    assert [index for index, cell in comparison.results.items() if not cell.problem] == [2, 3]
    assert comparison.results[3].fd_judge > 1


def test_a_part_of_a_comparison_that_a_newer_lab_wrote_is_named(old: Lab) -> None:
    run = finished_unet(old)
    (comparison_id,) = list_comparisons(run)
    assert read_comparison(run, comparison_id).problems == ()
    path = next(run.folder.rglob("facts.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    found = read_comparison(run, comparison_id)
    (problem,) = found.problems
    assert found.facts is None and "newer version of the lab" in problem


@pytest.mark.parametrize("channels", [None, "x", 2])
def test_damaged_channels_are_one_sentence(old: Lab, channels: object) -> None:
    run = finished_unet(old)
    run.data_path.write_text(json.dumps({**json.loads(run.data_path.read_text()), "channels": channels}))
    with pytest.raises(CheckpointError, match=r"data\.json cannot be read: .*channels"):
        RunSource(run).channels  # noqa: B018


def test_an_old_run_generates_the_same_images_from_old_and_new_requests(old: Lab, tmp_path: Path) -> None:
    run = finished_unet(old)
    for name in ("first", "second"):
        out = str(tmp_path / name)
        assert (
            main(["sample", run.id, "--labels", "0-9", "--per-label", "2", "--out", out, "--set", "sampling.seed=3"])
            == 0
        )
    first, second = (np.load(tmp_path / name / "samples.npz") for name in ("first", "second"))
    assert first["images"].shape == (20, 16, 16, 1) and first["images"].std() > 10
    np.testing.assert_array_equal(first["images"], second["images"])
    assert read_recipe_file(tmp_path / "first" / "recipe.json").rules.noise == run.rules.noise == 1
    np.testing.assert_array_equal(first["labels"], np.repeat(np.arange(10), 2))


@pytest.mark.slow
def test_an_old_run_is_evaluated_again(old: Lab, session_folder: Path) -> None:
    run = finished_unet(old)
    with brief_judges(min_steps=30, kept=session_folder):
        assert main(["evaluate", run.id, "--samples", "40"]) == 0
    assert [report.num_samples for report in list_reports(run)] == [40, 40]


def test_an_old_model_is_exported_without_the_address_that_its_vae_held(old: Lab, tmp_path: Path) -> None:
    assert main(["export", finished_unet(old).id, str(tmp_path / "folder")]) == 0
    assert not [path for path in (tmp_path / "folder").rglob("*") if path.is_file() and b"hooks." in path.read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize("run_id", EXPECTED)
def test_a_stopped_old_run_goes_on_with_the_losses_of_its_time(old: Lab, run_id: str) -> None:
    run = old.store.get(run_id)
    first = run.status().step + 1
    steps = [run.status().step]
    assert run.status().state is RunState.STOPPED

    def on_step(*_: Any, **__: Any) -> None:
        steps[0] += 1

    old.train(run, should_stop=lambda: steps[0] >= first + len(EXPECTED[run_id]), on_step=on_step)
    lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["step"] >= first and "loss" in line]
    np.testing.assert_allclose(losses[: len(EXPECTED[run_id])], EXPECTED[run_id], rtol=TOLERANCE)


@pytest.mark.slow
def test_a_planted_change_of_the_training_is_seen(old: Lab) -> None:
    run = old.store.get(next(iter(EXPECTED)))
    text = run.config_path.read_text()
    assert "adam_beta2: 0.99\n" in text
    run.config_path.write_text(text.replace("adam_beta2: 0.99\n", "adam_beta2: 0.9\n"))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        test_a_stopped_old_run_goes_on_with_the_losses_of_its_time(Lab(old.root), run.id)
