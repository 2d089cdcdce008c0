"""`doctor` and old runs that froze the address of a webhook: it is never shown, named, and taken out when asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from core.__main__ import main
from core.commands.doctor import runs_with_webhook
from core.config.load import settings_from
from core.runs.lock import try_lock
from core.runs.run import Run, RunState
from core.runs.store import RunStore, lock_path
from core.runs.trash import FOLDER

SECRET = "https://hooks.example/T0/planted-secret"


def freeze_webhook(run: Run) -> None:
    """As labs of version 0.1 wrote config.yaml."""
    values = yaml.safe_load(run.config_path.read_text())
    values["machine"] |= {"cpu_slots": 2, "webhook_url": SECRET}
    run.config_path.write_text(yaml.safe_dump({**values, "paths": {"runs": "/old/runs"}}))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    for name in ("runs", "data", "cache"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(tmp_path / name))
    return RunStore(tmp_path / "runs")


@pytest.fixture
def old(store: RunStore) -> Run:
    """A finished run with an address, beside one that never had one."""
    store.create("vae", settings_from({}))
    run = store.create("vae", settings_from({"seed": 7}))
    run.write_status(replace(run.status(), state=RunState.FINISHED))
    freeze_webhook(run)
    return Run(run.folder)


@pytest.mark.parametrize("words", [["show", "RUN"], ["show", "RUN", "--json"], ["runs", "--json"], ["doctor"]])
def test_the_address_in_an_old_run_is_never_shown(
    words: list[str], old: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([old.id if word == "RUN" else word for word in words]) in (0, 1)
    printed = capsys.readouterr()
    assert "planted" not in printed.out + printed.err
    assert "/old/runs" not in printed.out
    assert old.id in printed.out


def test_doctor_takes_the_address_out_and_leaves_all_else(
    store: RunStore, old: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, before = old.settings, yaml.safe_load(old.config_path.read_text())
    store.delete(old.id, by="ana")
    trashed = Run(store.root / FOLDER / old.id)
    assert [run.id for run in runs_with_webhook(store)] == [old.id]
    assert main(["doctor", "--clean-webhooks"]) == 0
    assert old.id in capsys.readouterr().out
    assert "planted" not in trashed.config_path.read_text()
    after = yaml.safe_load(trashed.config_path.read_text())
    del before["machine"]["webhook_url"]
    assert after == before
    assert Run(trashed.folder).settings == settings
    assert main(["doctor", "--clean-webhooks"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("why", ["queued", "locked"])
def test_the_settings_of_an_active_run_are_left_alone(
    why: str, store: RunStore, old: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    if why == "queued":
        old.write_status(replace(old.status(), state=RunState.QUEUED))
    lock = try_lock(lock_path(old)) if why == "locked" else None
    assert main(["doctor", "--clean-webhooks"]) == 1
    assert f"{old.id}: run {old.id} is active" in capsys.readouterr().err
    assert "planted" in old.config_path.read_text()
    if lock is not None:
        lock.release()


def test_a_run_that_cannot_be_locked_does_not_keep_others_from_being_cleaned(
    store: RunStore, old: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    other = store.create("vae", settings_from({"seed": 8}))
    other.write_status(replace(other.status(), state=RunState.FINISHED))
    freeze_webhook(other)
    first, second = sorted([old, other], key=lambda run: run.id)
    lock_path(first).unlink(missing_ok=True)
    lock_path(first).mkdir()
    assert main(["doctor", "--clean-webhooks"]) == 1
    assert first.id in capsys.readouterr().err
    assert "planted" in first.config_path.read_text() and "planted" not in second.config_path.read_text()


def test_a_wrong_address_in_config_yaml_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    (tmp_path / "config.yaml").write_text("site: {webhook_url: 'htp://planted secret'}\n")
    main(["runs"])
    error = capsys.readouterr().err
    assert "site.webhook_url: string should match" in error
    assert "planted" not in error
