"""The diagnostic zip: what helps is in it, secrets and names are not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from core.__main__ import main
from core.runs.notes import change_notes
from core.runs.run import RunState
from core.runs.store import RunStore
from tests.pages.run_folders import make_run

HOOK = "https://hooks.slack.com/services/T0/B0/planted"
TOKEN = "hf_plantedplantedplanted"


def test_it_holds_what_helps_and_neither_secrets_nor_names_nor_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("runs", "data", "cache"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("LAB_USER", "zelda@lab.example")
    store = RunStore(tmp_path / "runs")
    failed = make_run(store, state=RunState.FAILED, owner="ottokar", name="ottokar's idea", reason=f"see {HOOK}")
    failed.log_path.write_text(
        f"step 3: loss nan\nHF_TOKEN={TOKEN}\nopen /home/ottokar/lab/x.npz failed\nby Ottokar and zelda, {HOOK}\n"
    )
    failed.add_event("resume requested", by="ottokar", webhook_url=HOOK)
    change_notes(failed, by="zelda@lab.example", notes="a private note", add_tags=["private-tag"])
    failed.config_path.write_text(failed.config_path.read_text() + f"webhook_url: {HOOK}\n")
    out = tmp_path / "problem.zip"
    assert main(["diagnose", failed.id, "--out", str(out)]) == 0
    assert "look through it first" in capsys.readouterr().out
    with zipfile.ZipFile(out) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    whole = "\n".join([*files, *files.values()]).lower()
    for private in ("planted", "ottokar", "zelda", "hooks.slack", "private", str(tmp_path), "/home/"):
        assert private not in whole, private
    assert "step 3: loss nan" in files["run/log.txt"] and "<folder>/x.npz failed" in files["run/log.txt"]
    assert json.loads(files["run/run.json"])["id"] == failed.id
    assert json.loads(files["versions.json"])["torch"]
    assert json.loads(files["machine.json"])["cpu_count"] > 0
    assert {"doctor.json", "queue.json", "runs.json", "run/events.jsonl", "run/config.yaml"} <= set(files)
    assert main(["diagnose", "--out", str(tmp_path / "lab.zip"), "--json"]) == 0
    assert main(["diagnose", "--out", str(tmp_path / "lab.txt")]) == 2


def test_a_run_is_handed_over_when_nobody_works_on_it_and_that_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LAB_USER", "ana")
    store = RunStore(tmp_path / "runs")
    run, active = make_run(store), make_run(store, state=RunState.RUNNING)
    assert main(["hand-over", run.id, "ben"]) == 0
    assert capsys.readouterr().out == f"{run.id} belongs to ben now\n"
    again = store.get(run.id)
    assert (again.info.owner, again.settings) == ("ben", run.settings)
    event = again.events()[-1]
    assert [event[key] for key in ("event", "by", "to", "before")] == ["handed over", "ana", "ben", "ana"]
    assert main(["hand-over", active.id, "ben"]) == 1
    assert main(["hand-over", run.id, " "]) == 2
    assert store.get(active.id).info.owner == "ana"
