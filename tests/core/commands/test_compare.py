"""`compare` as a person meets it: what it refuses, what it queues, and the table it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.__main__ import main
from core.commands.compare import as_json, cost_in_words, in_full
from core.comparison.comparison_results import CellResult, Difference, cell_name, read_comparison, results_folder
from core.comparison.grid import Axis, CellSettings, ComparisonRequest, Cost, cells_of
from core.config.load import load_config
from core.runs.run import Run
from core.runs.store import RunStore
from tests.endings import nobody_serves

SETTINGS = {"data.name": "digits", "data.image_size": 16, "machine.device": "cpu"}


@pytest.fixture
def unet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A U-Net run with a checkpoint that lists show; nobody serves the queue, nothing is drawn."""
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    run = RunStore(tmp_path / "runs").create("unet", load_config(overrides=SETTINGS), name="drawer")
    folder = run.checkpoints_dir / "step-00000100"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    (folder / "manifest.json").write_text(json.dumps({"files": {"state.json": {"size": 2, "sha256": "0"}}}))
    with nobody_serves(RunStore(tmp_path / "runs")):
        yield run


def comparisons(unet: Run) -> list[Run]:
    return [run for run in RunStore(unet.folder.parent).list() if run.info.kind == "comparison"]


def test_it_queues_a_job_prints_its_id_and_what_it_costs(unet: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "compare",
        "drawer",
        "--rows",
        "sampler=all",
        "--columns",
        "num_inference_steps=5-20(5)",
        "--samples",
        "100",
        "--name",
        "all five",
        "--detach",
    ]
    assert main(words) == 0
    told = capsys.readouterr()
    (job,) = comparisons(unet)
    assert told.out == f"{job.id}\n"
    assert (job.info.name, job.info.parents, job.status().steps_total) == ("all five", (unet.id,), 20)
    passes = 100 * 2 * (4 * (5 + 10 + 15 + 20) + (9 + 19 + 29 + 39))
    assert told.err == (f"20 cells; {passes + 200_000:,} network evaluations, 200,000 of them for the reference\n")


def test_settings_of_sampling_can_be_changed_and_the_reference_left_out(unet: Run) -> None:
    words = [
        "compare",
        "drawer",
        "--rows",
        "seed=0,1",
        "--columns",
        "guidance_scale=1-2",
        "--no-reference",
        "--set",
        "sampling.num_inference_steps=7",
        "--detach",
    ]
    assert main(words) == 0
    request = json.loads((comparisons(unet)[0].folder / "request.json").read_text())
    assert request["base"]["num_inference_steps"] == 7
    assert request["base"]["step"] == 100
    assert request["with_reference"] is False
    assert request["num_samples"] == 1000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rows", "sampler=unipcc"], "did you mean unipc?"),
        (["--rows", "colour=red"], "cannot be compared"),
        (["--rows", "sampler"], "expected SETTING=VALUES"),
        (["--columns", "num_inference_steps=50-5"], "runs backwards"),
        (["--columns", "seed=0-300"], "more than 200 values"),
        (["--columns", "sampler=euler"], "both are sampler"),
        (["--columns", "step=99"], "has no checkpoint of step 99"),
        (["--samples", "1"], "num_samples"),
        (["--rows", "sampler=ddpm"], "every cell of the grid is refused"),
        (["--set", "unet.dropout=0.5"], "belongs to what run"),
        (["--priority", "99"], "must be from -10 to 10"),
    ],
)
def test_bad_usage_is_one_sentence_and_creates_nothing(
    unet: Run, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "drawer", *words, "--detach"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert sentence in told.err.splitlines()[-1]
    assert comparisons(unet) == []


def test_an_unknown_run_is_one_sentence(unet: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "nobody", "--detach"]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_runs_and_queue_name_the_kind(unet: Run, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "drawer", "--detach"])
    capsys.readouterr()
    main(["runs", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["kind"] for row in rows] == ["comparison", "unet"]
    assert main(["runs"]) == 0
    assert "comparison  queued  0/20" in capsys.readouterr().out
    assert main(["show", comparisons(unet)[0].id]) == 0
    assert "cells" not in capsys.readouterr().err


def test_what_it_costs_in_words() -> None:
    cost = Cost(cells=20, refused=4, cell_evaluations=1000, reference_evaluations=0)
    assert cost_in_words(cost) == "20 cells, 4 of them refused; 1,000 network evaluations"


@pytest.fixture
def done(unet: Run) -> str:
    """The id of a comparison with planted results: a reference, three cells, one of them refused, one not drawn."""
    base = CellSettings(sampler="unipc", num_inference_steps=5, guidance_scale=1.5, seed=0, weights="ema", step=100)
    request = ComparisonRequest(
        run_id=unet.id,
        rows=Axis(setting="sampler", values=("unipc", "deis")),
        columns=Axis(setting="num_inference_steps", values=(5, 10)),
        base=base,
        num_samples=100,
    )
    files = results_folder(unet, "planted")
    files.open(request)
    cells = cells_of(request, unet.settings.diffusion)
    figures = {"num_pictures": 100, "class_accuracy": 0.95, "fd_judge": 0.3, "evaluations": 10.0, "seconds": 1.5}
    same = Difference(value=0.01, low=-0.05, high=0.07)
    results = [
        CellResult(index=0, settings=cells[0].settings, **{**figures, "fd_judge": 0.9}, verdict="worse"),
        CellResult(
            index=1,
            settings=cells[1].settings,
            **{**figures, "evaluations": 20.0},
            fd_difference=same,
            verdict="as good",
        ),
        CellResult(index=2, settings=cells[2].settings, problem=cells[2].problem),
    ]
    for result in results:
        files.write(cell_name(result.index), result, {})
    reference = replace(
        results[0],
        index=-1,
        fd_judge=0.29,
        evaluations=2000.0,
        verdict="",
        settings=replace(base, sampler="euler", num_inference_steps=1000),
    )
    files.write("reference", reference, {})
    return "planted"


def test_the_table_has_four_figures_a_cell_and_marks(unet: Run, done: str) -> None:
    text = in_full(read_comparison(unet, done))
    lines = text.splitlines()
    assert lines[0].split() == ["5", "steps", "10", "steps"]
    assert lines[1].split() == ["unipc", "FD-judge", "0.9", "+", "0.3", "*+="]
    assert lines[2].split() == ["accuracy", "95.00%", "95.00%"]
    assert lines[3].split() == ["evaluations", "10", "20"]
    assert lines[4].split() == ["seconds", "1.5", "1.5"]
    assert lines[5].split() == ["deis", "FD-judge", "refused", "-"]
    assert "reference: 1,000-step Euler sampling, FD-judge 0.29" in text
    assert "refused: sampling.sampler: 'deis' on flow matching is never better" in text
    assert "So far: unipc with 10 steps (20 network evaluations per image) is as good as" in lines[-1]


def test_the_json_holds_every_cell_that_is_done(unet: Run, done: str) -> None:
    values = json.loads(json.dumps(as_json(read_comparison(unet, done))))
    assert [cell["index"] for cell in values["cells"]] == [0, 1, 2]
    assert [cell["on_pareto_front"] for cell in values["cells"]] == [True, True, False]
    assert values["reference"]["evaluations"] == 2000
    assert values["finding"].startswith("So far: ")
