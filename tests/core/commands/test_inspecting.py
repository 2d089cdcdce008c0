"""What can be looked at without a run: settings, presets, folders; and what a run printed and how it ended."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from core.__main__ import main
from core.commands.serve import check_port
from core.config.load import preset_names, settings_from
from core.errors import LabError
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    return RunStore(tmp_path / "runs")


def ended(store: RunStore, state: RunState) -> Run:
    run = store.create("vae", settings_from({}))
    run.write_status(Status(state=state, reason="why"))
    return run


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([RunState.FINISHED], 0),
        ([RunState.STOPPED, RunState.FINISHED], 130),
        ([RunState.FAILED], 1),
        ([RunState.STOPPED, RunState.INTERRUPTED], 1),
    ],
)
def test_waiting_ends_with_a_code_by_how_the_runs_ended(
    store: RunStore, states: list[RunState], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [ended(store, state) for state in states]
    assert main(["wait", "--json", *(run.id for run in runs)]) == code
    assert [(row["id"], row["state"]) for row in json.loads(capsys.readouterr().out)] == [
        (run.id, str(state)) for run, state in zip(runs, states, strict=True)
    ]


@pytest.mark.parametrize("options", [[], ["-f"]])
def test_a_log_is_printed_to_its_end_without_control_characters(
    store: RunStore, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = ended(store, RunState.FINISHED)
    run.log_path.write_bytes(b"one\n\x1b[2Jtwo\nno end")
    assert main(["logs", run.id, *options]) == 0
    assert capsys.readouterr().out.splitlines() == ["one", "?[2Jtwo", "no end"]


def test_a_run_without_a_log_prints_nothing(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", ended(store, RunState.FAILED).id]) == 0
    assert capsys.readouterr().out == ""


def test_config_shows_what_a_preset_changes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--json", "--changed", "--preset", "reference", "--set", "train_vae.steps=7"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["train_vae.steps"] == 7
    assert found["unet.block_out_channels"] == [128, 256]
    assert "data.image_size" not in found


def test_presets_are_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == preset_names()
    assert main(["presets", "quick"]) == 0
    assert "train_unet.steps" in capsys.readouterr().out


def test_paths_follow_the_options(store: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paths", "--json", "--set", f"site.cache={tmp_path / 'c'}"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["cache"]) == (str(store.root), str(tmp_path / "c"))


def test_a_port_in_use_is_one_sentence_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LabError, match=r"cannot be served .*--port"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)
    with pytest.raises(LabError, match="cannot be served"):
        check_port("127.0.0.1", 70000)
