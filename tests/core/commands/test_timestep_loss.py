"""`timestep-loss`: what it refuses; what it measures is tested in tests/core/evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.__main__ import main
from core.runs.store import RunStore
from tests.pages.run_folders import make_run, write_checkpoint


@pytest.mark.parametrize(
    ("kind", "words", "code", "sentence"),
    [
        ("vae", [], 2, "is a VAE run"),
        ("unet", ["--pictures", "1"], 2, "2 to 10,000 pictures, got 1"),
        ("unet", ["--points", "500"], 2, "2 to 100 timesteps, got 500"),
        ("unet", ["--step", "7"], 1, "7"),
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
    assert sentence in told.err and told.err.count("\n") == 1
    assert not told.out
    assert not (run.folder / "timestep_loss").exists()
