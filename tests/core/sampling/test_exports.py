"""Exports that a run keeps: whole or not at all, packed so that an import takes them, pushed and removed on record."""

from __future__ import annotations

import errno
import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from core import atomic
from core.errors import CheckpointError, LabError, UsageError
from core.model_folders import exports as module
from core.model_folders.export import DEFAULTS, ExportOptions, files_of_run
from core.model_folders.exports import keep_export, list_exports, packed, push_export, remove_export, size_of
from core.model_folders.model_facts import ModelFolderInfo, model_folder_info
from core.runs.run import Run
from tests.core.sampling.fake_hub import TOKEN, hub_in_use


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy of its own."""
    shutil.copytree(trained.folder, tmp_path / "runs" / trained.id)
    return Run(tmp_path / "runs" / trained.id)


def events(run: Run, event: str) -> list[dict[str, Any]]:
    return [each for each in run.events() if each["event"] == event]


def kept(run: Run, name: str, options: ExportOptions, **others: Any) -> ModelFolderInfo:
    return keep_export(run, name, lambda progress: files_of_run(run, options, progress), **others)


def test_an_export_is_kept_with_its_run_and_on_record(run: Run) -> None:
    said: list[tuple[str, float]] = []
    info = kept(run, "digits", DEFAULTS, by="Ana", progress=lambda stage, share: said.append((stage, share)))
    assert info.path == (run.exports_dir / "digits").resolve()
    assert [each.name for each in list_exports(run)] == ["digits"]
    assert size_of(info) == sum(
        path.stat().st_size for path in info.path.rglob("*") if path.is_file() and path.name in str(info.facts.files)
    )
    assert list(dict(said)) == ["reading the checkpoint", "generating its example images", "writing it down"]
    shares = [share for _, share in said]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(0.97)
    (event,) = events(run, "exported")
    assert (event["by"], event["name"], event["step"], event["weights"]) == ("Ana", "digits", info.facts.step, "ema")


def test_packed_it_is_the_folder(run: Run, tmp_path: Path) -> None:
    info = kept(run, "digits", DEFAULTS, by="Ana")
    with zipfile.ZipFile(io.BytesIO(packed(info))) as found:
        assert all(name.startswith("digits/") for name in found.namelist())
        found.extractall(tmp_path)
    assert model_folder_info(tmp_path / "digits").facts == info.facts


@pytest.mark.parametrize("name", ["", "../up", "a b", ".hidden", "x" * 61])
def test_a_name_that_is_no_folders_leaves_nothing(run: Run, name: str) -> None:
    with pytest.raises(UsageError, match="is not made of letters"):
        kept(run, name, DEFAULTS, by="Ana")
    assert not run.exports_dir.exists()
    with pytest.raises(UsageError, match="is not made of letters"):
        remove_export(run, name, by="Ana")


def test_a_name_is_not_taken_twice_and_an_export_is_removed_once(run: Run) -> None:
    kept(run, "digits", DEFAULTS, by="Ana")
    with pytest.raises(UsageError, match="already an export 'digits'"):
        kept(run, "digits", DEFAULTS, by="Ben")
    remove_export(run, "digits", by="Ben")
    assert list_exports(run) == [] and list(run.exports_dir.iterdir()) == []
    assert [each["by"] for each in events(run, "export removed")] == ["Ben"]
    with pytest.raises(UsageError, match="has no export 'digits'"):
        remove_export(run, "digits", by="Ben")


@pytest.mark.parametrize("moment", ["reading the checkpoint", "generating its example images", "writing it down"])
def test_what_stops_an_export_leaves_nothing(run: Run, moment: str) -> None:
    def stop(stage: str, share: float) -> None:
        if stage == moment:
            raise LabError("the export was cancelled")

    with pytest.raises(LabError, match="cancelled"):
        kept(run, "digits", DEFAULTS, by="Ana", progress=stop)
    assert not run.exports_dir.exists() and events(run, "exported") == []


def test_a_run_that_is_deleted_meanwhile_does_not_come_back_as_a_ghost(run: Run) -> None:
    def delete(stage: str, share: float) -> None:
        if stage == "generating its example images" and run.folder.exists():
            run.folder.rename(run.folder.with_name("trash"))

    with pytest.raises(LabError, match="was deleted meanwhile"):
        kept(run, "digits", DEFAULTS, by="Ana", progress=delete)
    assert [path.name for path in run.folder.parent.iterdir()] == ["trash"]


def test_what_is_being_written_and_what_is_a_link_are_not_listed(run: Run) -> None:
    info = kept(run, "digits", DEFAULTS, by="Ana")
    shutil.copytree(info.path, run.exports_dir / ".tmp-other-1234")
    (run.exports_dir / "link").symlink_to(info.path)
    assert [each.name for each in list_exports(run)] == ["digits"]


def test_a_licence_that_cannot_be_printed_is_refused_in_a_sentence(run: Run) -> None:
    with pytest.raises(LabError, match="license"):
        kept(run, "digits", ExportOptions(licence="mit\x1b[2J"), by="Ana")
    assert not run.exports_dir.exists()


def test_a_run_without_checkpoints_has_nothing_to_export(run: Run) -> None:
    shutil.rmtree(run.checkpoints_dir)
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        kept(run, "digits", DEFAULTS, by="Ana")


@pytest.mark.slow
def test_a_push_is_on_record_and_one_that_fails_is_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    info = kept(run, "digits", DEFAULTS, by="Ana")
    with hub_in_use(monkeypatch):
        with pytest.raises(UsageError, match="repository: 'digits' is not a NAMESPACE/NAME"):
            push_export(run, info, "digits", private=True, by="Ana")
        assert events(run, "pushed to a hub") == []
        pushed = push_export(run, info, "ana/digits", private=True, by="Ana")
        with pytest.raises(LabError, match="has a repository of that name already"):
            push_export(run, info, "ana/digits", private=True, by="Ana")
    (event,) = events(run, "pushed to a hub")
    assert (event["url"], event["private"], event["by"]) == (pushed.url, True, "Ana")
    assert TOKEN not in run.events_path.read_text()


def test_what_was_done_is_done_also_where_it_cannot_be_written_down(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "append_line", full)
    info = kept(run, "digits", DEFAULTS, by="Ana")
    with hub_in_use(monkeypatch) as hub:
        assert push_export(run, info, "ana/digits", private=True, by="Ana").url == f"{hub.address}/ana/digits"
    remove_export(run, "digits", by="Ana")
    assert list_exports(run) == []
    assert [text.split("'")[1] for text in caplog.messages if "could not be written down" in text] == [
        "exported",
        "pushed to a hub",
        "export removed",
    ]


@pytest.mark.slow
def test_one_that_cannot_be_read_is_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("digits", "closed"):
        kept(run, name, DEFAULTS, by="Ana")

    def closed(folder: Path) -> Any:
        if folder.name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return model_folder_info(folder)

    monkeypatch.setattr(module, "model_folder_info", closed)
    assert [each.name for each in list_exports(run)] == ["digits"]
    monkeypatch.setattr(Run, "exports_dir", property(lambda run: run.folder / "run.json"))  # as if it went meanwhile
    assert list_exports(run) == []


@pytest.mark.slow
@pytest.mark.parametrize("what", ["an export", "a removal"])
def test_what_a_dead_process_left_a_day_ago_is_cleared_away(run: Run, what: str) -> None:
    kept(run, "digits", DEFAULTS, by="Ana")
    for name in (".tmp-dead", ".trash-dead", ".tmp-young"):
        (run.exports_dir / name).mkdir()
        if name != ".tmp-young":
            os.utime(run.exports_dir / name, (0, 0))
    if what == "an export":
        kept(run, "more", DEFAULTS, by="Ana")
    else:
        remove_export(run, "digits", by="Ana")
    assert [path.name for path in run.exports_dir.glob(".*")] == [".tmp-young"]
