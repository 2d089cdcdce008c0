from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from core.config.schema import Settings
from core.errors import UsageError
from core.evaluation.report import (
    ClassScore,
    Figure,
    Report,
    SecondJudge,
    list_reports,
    report_for_card,
    report_rows,
    write_report,
)
from core.model_folders.model_card import figures_of
from core.runs.run import Run
from core.runs.store import RunStore
from core.words import guidance_in_words

REPORT = Report(
    created_at="2026-01-01T00:00:00.000+00:00",
    run_id="20260101-000000-unet-abcd",
    step=1400,
    data_set="mnist",
    fingerprint="a" * 64,
    num_samples=1000,
    sampler="unipc",
    num_inference_steps=10,
    guidance_scale=1.5,
    seed=0,
    judge_accuracy=0.9948,
    judge_heldout_count=10_000,
    judge_hash="b" * 64,
    judge_seed=0,
    judge_epochs=3,
    class_accuracy=0.99,
    class_accuracy_low=0.982,
    class_accuracy_high=0.995,
    per_class=(ClassScore(name="zero", count=500, correct=495, accuracy=0.99, low=0.977, high=0.996),),
    fd_judge=1.25,
    fd_reference_count=60_000,
    fd_floor=0.25,
    fd_floor_count=1000,
    precision=0.9,
    recall=0.75,
    neighbours=3,
    precision_recall_count=1000,
    real_precision=0.93,
    real_recall=0.94,
    copy_ratio=0.95,
    elapsed_s=12.3,
    device="CPU, 1 threads",
    guidance_rescale=0.0,
    guidance_interval=(0.0, 1.0),
    whole_timesteps=False,
    labels="proportions",
    labels_rule=2,
    fd_floor_sd=0.02,
    fd_floor_draws=10,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return RunStore(tmp_path).create("unet", Settings())


def test_a_report_comes_back_as_it_was_written(run: Run) -> None:
    path = write_report(run, REPORT)
    assert path.parent == run.evaluations_dir
    assert path.name.endswith("-1000.json")
    assert list_reports(run) == [REPORT]


def test_reports_are_listed_newest_first_and_broken_ones_left_out(run: Run) -> None:
    write_report(run, REPORT)
    write_report(run, replace(REPORT, num_samples=20))
    (run.evaluations_dir / "99999999-000000-1.json").write_text("{")
    (run.evaluations_dir / "99999999-000001-1.json").write_text(json.dumps({"per_class": []}))
    assert [report.num_samples for report in list_reports(run)] == [20, 1000]


@pytest.mark.parametrize(
    ("guidance", "words"),
    [
        ((1.0, 0.7, (0.2, 0.8)), "no guidance"),
        ((2.1,), "guidance 2.1"),
        ((2.0, 0.0, (0.0, 1.0)), "guidance 2"),
        ((2.1, None, [0.25, 0.8]), "guidance 2.1 at noise levels 0.25 to 0.8"),
        ((0.5, 0.7), "guidance 0.5, rescale 0.7"),
    ],
)
def test_guidance_is_worded_without_what_does_nothing(guidance: tuple[Any, ...], words: str) -> None:
    assert guidance_in_words(*guidance) == words


def test_a_report_says_everything_that_decided_its_images(run: Run) -> None:
    drawn = replace(REPORT, guidance_rescale=0.7, guidance_interval=(0.25, 0.8), whole_timesteps=True)
    words = "unipc, 10 steps, guidance 1.5 at noise levels 0.25 to 0.8, rescale 0.7, seed 0, whole timesteps"
    assert drawn.sampling_in_words() == words
    write_report(run, drawn)
    assert list_reports(run) == [drawn]
    sigma = replace(drawn, guidance_interval=(0.28, 2.9, "sigma"))
    assert sigma.sampling_in_words() == words.replace("noise levels 0.25 to 0.8", "σ 0.28 to 2.9")
    write_report(run, sigma)
    assert sigma in list_reports(run)
    old = replace(REPORT, guidance_rescale=None, guidance_interval=None, whole_timesteps=None)
    assert old.sampling_in_words() == "unipc, 10 steps, guidance 1.5, rescale and interval not recorded, seed 0"


def test_a_report_says_which_judge_gave_which_accuracy(run: Run) -> None:
    second = SecondJudge(
        class_accuracy=0.985, low=0.975, high=0.991, judge_accuracy=0.9949, judge_hash="c" * 64, judge_seed=1
    )
    report = replace(REPORT, second_judge=second)
    write_report(run, report)
    assert list_reports(run) == [report]
    (row,) = [row for row in report_rows(report) if row[0] == "second judge"]
    assert row[1] == "98.50%"
    assert row[2].startswith("judge cccccccccccc of another shape, seed 1; 95 % interval 97.50% to 99.10%")
    assert "second judge, `cccccccccccc` | 98.50%" in figures_of(json.loads(json.dumps(asdict(report))), 0)
    assert not [row for row in report_rows(REPORT) if row[0] == "second judge"]


def test_a_report_of_an_older_lab_is_shown_and_marked_as_measured_the_old_way(run: Run) -> None:
    path = write_report(run, REPORT)
    values = json.loads(path.read_text())
    for name in ("labels", "labels_rule", "fd_floor_sd", "fd_floor_draws"):
        del values[name]
    path.write_text(json.dumps({**values, "num_samples": 5000}))
    [old] = list_reports(run)
    assert old.is_old and not REPORT.is_old
    assert "measured the old way" in {name: note for name, _, note in report_rows(old)}["images (N)"]
    write_report(run, replace(REPORT, num_samples=100))
    card = report_for_card(run, REPORT.step)
    assert card is not None and card.num_samples == 100


def test_a_run_that_was_never_evaluated_has_no_reports(run: Run) -> None:
    assert list_reports(run) == []


def test_a_vae_run_has_nothing_to_evaluate(tmp_path: Path) -> None:
    vae_run = RunStore(tmp_path).create("vae", Settings())
    with pytest.raises(UsageError, match="VAE run and generates no images"):
        write_report(vae_run, REPORT)
    assert not vae_run.evaluations_dir.exists()


@pytest.mark.parametrize(
    ("metric", "value", "note"),
    [
        ("class accuracy", "99.00%", "98.20% to 99.50%"),
        ("FD-judge", "1.25", "60,000 training images"),
        ("images (N)", "1,000", "classes as often as in the training images"),
        ("FD-judge floor", "0.25", "± 0.02 (standard deviation over 10 choices); 1,000 held-out real images"),
        ("recall", "0.750", "k = 3"),
        ("class zero", "99.00%", "495 of 500"),
        ("sampling", "unipc", "10 steps, guidance 1.5, seed 0"),
        ("judge", "b" * 12, "99.48% of 10,000"),
    ],
)
def test_the_table_states_each_figure_with_what_it_rests_on(metric: str, value: str, note: str) -> None:
    rows = {name: (text, remark) for name, text, remark in report_rows(REPORT)}
    assert rows[metric][0] == value
    assert note in rows[metric][1]


def test_what_a_newer_measure_found_stands_in_the_table_with_interval_floor_and_number(run: Run) -> None:
    figure = Figure(value=0.5, low=0.4, high=0.6, floor=0.1, floor_sd=0.02, count=1000)
    found = replace(
        REPORT,
        fd_low=1.2,
        fd_high=1.3,
        fd_infinite=figure,
        kid=figure,
        clipped_density=replace(figure, low=None, high=None, floor_sd=None),
        confusion=((495, 4, 1), (0, 500, 0), (2, 7, 491)),
        per_class=tuple(replace(REPORT.per_class[0], name=name, fd=1.0, fd_floor=0.5) for name in "abc"),
    )
    write_report(run, found)
    assert list_reports(run) == [found]
    rows = {name: (value, note) for name, value, note in report_rows(found)}
    assert "95 % interval 1.2 to 1.3 at this N" in rows["FD-judge"][1]
    assert rows["KID"][0] == "0.5"
    assert "95 % interval 0.4 to 0.6; held-out real images 0.1 ± 0.02; N = 1,000" in rows["KID"][1]
    assert rows["clipped density"][1].endswith("held-out real images 0.100; N = 1,000")
    assert "FD 1, real 0.5" in rows["class a"][1]
    assert "clipped coverage" not in rows


def test_a_class_of_which_no_picture_was_asked_has_no_accuracy() -> None:
    empty = ClassScore(name="one", count=0, correct=0, accuracy=0.0, low=0.0, high=1.0)
    rows = {name: (text, remark) for name, text, remark in report_rows(replace(REPORT, per_class=(empty,)))}
    assert rows["class one"] == ("–", "no images asked")


def test_a_floor_of_fewer_pictures_says_so() -> None:
    rows = {name: remark for name, _, remark in report_rows(replace(REPORT, fd_floor_count=180))}
    assert "180 held-out real images (fewer than N" in rows["FD-judge floor"]


def test_reports_are_read_without_torch() -> None:
    program = "import core.evaluation.report, sys; assert 'torch' not in sys.modules"
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)
