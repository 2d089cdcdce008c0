"""A damaged run folder is said in words; it never takes a list of runs down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.config.schema import Settings
from core.errors import RunBusy, RunNotFound
from core.runs.run import Run, RunState
from core.runs.store import RunStore

DEEP = "[" * 100_000


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return RunStore(tmp_path / "runs").create("vae", Settings())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "[]",
        "null",
        DEEP,
        "{}",
        '{"state": 7}',
        '{"state": ""}',
        '{"state": "running", "step": null}',
        '{"state": "running", "step": 1.5}',
        '{"state": "running", "step": true}',
        '{"state": "running", "eta_s": "soon"}',
        '{"state": "running", "elapsed_s": Infinity}',
        '{"state": "running", "reason": 7}',
        '{"state": "running", "process": {"pid": 1}}',
    ],
)
def test_a_damaged_status_reads_as_interrupted_with_the_reason(run: Run, text: str) -> None:
    run.status_path.write_text(text)
    status = run.status()
    assert status.state is RunState.INTERRUPTED
    assert status.reason.startswith("status.json ")


@pytest.mark.parametrize("text", ["", "3", "[]", DEEP, '{"id": 1}'])
def test_a_damaged_run_json_is_one_error(run: Run, text: str) -> None:
    (run.folder / "run.json").write_text(text)
    with pytest.raises(RunNotFound, match=r": run\.json (cannot be read|is not|is nested|holds)"):
        _ = run.info


def test_torn_and_foreign_event_lines_are_left_out(run: Run) -> None:
    run.add_event("stopped", by="ana")
    with run.events_path.open("a") as file:
        file.write(f'3\n{DEEP}\n"text"\n{{"event": "torn')
    assert [event["event"] for event in run.events()] == ["created", "stopped"]


def test_a_vae_that_an_unfinished_unet_still_needs_is_kept(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    vae = store.create("vae", Settings())
    vae.write_status(replace(vae.status(), state=RunState.FINISHED))
    unet = store.create("unet", Settings(), parents=(vae.id,))
    unet.write_status(replace(unet.status(), state=RunState.STOPPED))
    with pytest.raises(RunBusy, match="has no copy of its VAE yet"):
        store.delete(vae.id)
    unet.vae_dir.mkdir()
    (unet.vae_dir / "codec.json").write_text("{}")
    store.delete(vae.id)
    assert [each.id for each in store.list()] == [unet.id]
