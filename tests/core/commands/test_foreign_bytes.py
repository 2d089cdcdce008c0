"""A path whose bytes are no UTF-8 works where files may have any name, and costs one sentence where text is needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.__main__ import main

NAME = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize(
    "words",
    [
        ["train", "vae", "--detach", "--set", "data.name=image_folder", "--set", "data.path={}"],
        ["runs", "--set", "site.runs={}"],
        ["config", "show", "--config", "{}"],
        ["show", "{}"],
        ["data", "{}/nothing"],
    ],
    ids=lambda words: words[0],
)
def test_it_costs_one_sentence_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    assert main([word.format(tmp_path / NAME) for word in words]) in (1, 2)
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and "caf?" in told
    assert "unexpected" not in told and not (tmp_path / "runs").exists()


def test_a_runs_folder_of_that_name_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / NAME))
    (tmp_path / NAME).mkdir()
    assert main(["runs", "--json"]) == 0
    assert capsys.readouterr().out.strip() == "[]"
