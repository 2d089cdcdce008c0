"""Checkpoints: previous or next, never neither, never mixed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from core import atomic
from core.errors import CheckpointError
from core.runs.checkpoints import load_newest, save_checkpoint
from tests import forked

FILES = {"unet/model.safetensors": b"w" * 1000, "state.json": b"{}"}


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_newest_is_loaded_with_its_bytes(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"a.safetensors": b"1", "state.json": b"{}"}, keep=3)
    save_checkpoint(tmp_path, 2, {"a.safetensors": b"2", "state.json": b"{}"}, keep=3)
    found = load_newest(tmp_path)
    assert found and (found.step, found.files["a.safetensors"], found.skipped) == (2, b"2", ())


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in range(1, 5):
        save_checkpoint(tmp_path, step, FILES, keep=2)
    assert names(tmp_path) == ["step-00000003", "step-00000004"]


DAMAGE = {
    "truncated": lambda path: os.truncate(path / "unet/model.safetensors", 10),
    "one bit flipped": lambda path: (path / "unet/model.safetensors").write_bytes(b"w" * 999 + b"v"),
    "zero-filled": lambda path: (path / "unet/model.safetensors").write_bytes(bytes(1000)),
    "file missing": lambda path: (path / "state.json").unlink(),
    "manifest missing": lambda path: (path / "manifest.json").unlink(),
    "manifest torn": lambda path: os.truncate(path / "manifest.json", 20),
    "manifest of another kind": lambda path: (path / "manifest.json").write_text("[]"),
    "manifest without files": lambda path: (path / "manifest.json").write_text('{"step": 2, "files": 3}'),
    "another step inside": lambda path: os.rename(path, path.with_name("step-00000009")),
}


@pytest.mark.parametrize("damage", DAMAGE, ids=str)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, 1, FILES, keep=3)
    DAMAGE[damage](save_checkpoint(tmp_path, 2, FILES, keep=3))
    found = load_newest(tmp_path)
    assert found and found.step == 1
    assert len(found.skipped) == 1 and "is damaged" in found.skipped[0]


def test_a_step_saved_again_replaces_what_is_damaged_and_keeps_what_is_not(tmp_path: Path) -> None:
    target = save_checkpoint(tmp_path, 1, FILES, keep=3)
    save_checkpoint(tmp_path, 1, {**FILES, "state.json": b"[1]"}, keep=3)
    found = load_newest(tmp_path)
    assert found and found.files["state.json"] == b"{}"
    os.truncate(target / "unet/model.safetensors", 10)
    save_checkpoint(tmp_path, 1, FILES, keep=3)
    found = load_newest(tmp_path)
    assert found and (found.step, found.files, found.skipped) == (1, FILES, ())


def test_nothing_good_left_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    os.truncate(save_checkpoint(tmp_path, 1, FILES, keep=3) / "unet/model.safetensors", 0)
    with pytest.raises(CheckpointError, match="no checkpoint can be used"):
        load_newest(tmp_path)


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "absent") is None


def test_pruning_never_removes_the_only_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, 1, FILES, keep=1)
    real = atomic.write_folder

    def lying_disk(target: Path, files: dict[str, bytes]) -> None:
        real(target, {**files, "state.json": b"x"})

    monkeypatch.setattr(atomic, "write_folder", lying_disk)
    save_checkpoint(tmp_path, 2, FILES, keep=1)
    found = load_newest(tmp_path)
    assert found and found.step == 1


def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, FILES, keep=2)
    folder = save_checkpoint(tmp_path, 2, FILES, keep=2)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("state.json", "../../outside"))
    (tmp_path.parent / "outside").write_bytes(b"{}")
    found = load_newest(tmp_path)
    assert found and found.step == 1


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename"])
def test_a_full_disk_leaves_the_old_checkpoint_and_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    save_checkpoint(tmp_path, 1, FILES, keep=2)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "mkdir" else os, call, full)
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(tmp_path, 2, FILES, keep=2)
    assert names(tmp_path) == ["step-00000001"]
    found = load_newest(tmp_path)
    assert found and found.step == 1


SAVER = """
import sys
from pathlib import Path
from core.runs.checkpoints import load_newest, save_checkpoint
root = Path(sys.argv[1])
found = load_newest(root)
step = found.step if found else 0
print("ready", flush=True)
while True:
    step += 1
    data = str(step).encode() * 50_000
    save_checkpoint(root, step, {"a.safetensors": data, "state.json": data}, keep=2)
    print(step, flush=True)
"""


def test_killed_while_saving_the_newest_is_whole_and_unmixed(tmp_path: Path, forks: None) -> None:
    kills = int(os.environ.get("LAB_KILLS", "6"))
    reached = 0
    for number in range(kills):
        process = subprocess.Popen(forked.command("-c", SAVER, str(tmp_path)), stdout=subprocess.PIPE)
        assert process.stdout and process.stdout.readline() == b"ready\n"
        process.stdout.readline()  # it has saved once more, and goes on
        time.sleep(0.013 * number)
        process.send_signal(signal.SIGKILL)
        process.stdout.read()  # until it is gone
        process.stdout.close()
        process.wait()
        found = load_newest(tmp_path)
        if found:
            expected = str(found.step).encode() * 50_000
            assert found.files["a.safetensors"] == found.files["state.json"] == expected
            assert found.step >= reached
            reached = found.step
    assert reached > 0


def test_a_manifest_that_names_nothing_is_no_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, FILES, keep=3)
    empty = tmp_path / "step-00000002"
    empty.mkdir()
    (empty / "manifest.json").write_text('{"step": 2, "files": {}}')
    found = load_newest(tmp_path)
    assert found
    assert found.step == 1
    assert "names no weights" in found.skipped[0]
