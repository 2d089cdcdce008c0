"""`timestep-loss` as a person meets it: what it prints, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core.__main__ import main
from core.runs.run import Run
from core.runs.store import RunStore
from tests.pages.run_folders import make_run, write_checkpoint


@pytest.fixture
def unet(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The trained run in a lab of its own."""
    for name in ("runs", "cache", "data"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(tmp_path / name))
    return Run(shutil.copytree(trained.folder, tmp_path / "runs" / trained.id))


FEW = ["--pictures", "8", "--points", "5"]


@pytest.mark.slow
def test_the_table_has_a_row_a_timestep_and_says_what_it_means(unet: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timestep-loss", unet.id, *FEW]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["t", "alpha_bar", "flow", "±", "2"]
    assert [line.split()[0] for line in lines[1:6]] == ["0", "250", "500", "749", "999"]
    assert "8 held-out images; step 30, averaged weights" in lines[7]
    assert lines[8].startswith("It knows most at t = ")


def test_the_json_is_what_is_kept_in_the_run(unet: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timestep-loss", unet.id, *FEW, "--step", "24", "--weights", "raw", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["step"], told["weights"], len(told["target"])) == (24, "raw", 5)
    (kept,) = (unet.folder / "timestep_loss").iterdir()
    assert json.loads(kept.read_text()) == told


@pytest.mark.parametrize(
    ("kind", "words", "code", "sentence"),
    [
        ("vae", [], 2, "is a VAE run"),
        ("unet", ["--pictures", "1"], 2, "2 to 10,000 images, got 1"),
        ("unet", ["--points", "500"], 2, "5 to 100 timesteps, got 500"),
        ("unet", ["--points", "4"], 2, "5 to 100 timesteps, got 4"),
        ("unet", ["--step", "7"], 1, "no checkpoint of step 7"),
        ("unet", ["--set", "unet.dropout=0.5"], 2, "belongs to what run"),
        ("unet", [], 1, "no checkpoint can be used"),
    ],
)
def test_bad_input_is_one_sentence(
    kind: str,
    words: list[str],
    code: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    run = make_run(RunStore(tmp_path / "runs"), kind)
    write_checkpoint(run, 100)
    assert main(["timestep-loss", run.id, *words]) == code
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.err.count("\n") == 1
    assert not told.out
    assert not (run.folder / "timestep_loss").exists()


def test_no_checkpoint_yet_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    assert main(["timestep-loss", make_run(RunStore(tmp_path / "runs")).id]) == 1
    assert "has no checkpoint yet" in capsys.readouterr().err


def test_a_data_set_that_is_gone_is_one_sentence(unet: Run, capsys: pytest.CaptureFixture[str]) -> None:
    text = unet.config_path.read_text()
    unet.config_path.write_text(
        text.replace("name: digits", "name: mnist").replace("download: true", "download: false")
    )
    assert main(["timestep-loss", unet.id]) == 1
    assert "'mnist' is not in" in capsys.readouterr().err.splitlines()[-1]


def test_other_pictures_than_those_of_training_are_refused(unet: Run, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(unet.data_path.read_text())
    unet.data_path.write_text(json.dumps({**facts, "fingerprint": "f" * 64}))
    assert main(["timestep-loss", unet.id]) == 2
    assert "was trained on other images (ffffffffffff) than this digits" in capsys.readouterr().err
