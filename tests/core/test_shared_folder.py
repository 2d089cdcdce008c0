"""What lies in a folder that hands its group down (setgid) is the group's to write, whatever the umask of its maker."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import atomic, leftovers
from core.config.load import settings_from
from core.machine import attempts
from core.runs.checkpoints import save_checkpoint
from core.runs.lock import try_lock
from core.runs.notes import change_notes
from core.runs.store import RunStore


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0o002, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def fill(root: Path) -> None:
    """Something of every way in which the lab makes files: whole runs, lines, locks, checkpoints, built folders."""
    store = RunStore(root)
    run = store.create("vae", settings_from({}), name="first", owner="ana")
    change_notes(run, by="ana", notes="text", add_tags=["tag"])
    save_checkpoint(run.checkpoints_dir, 5, {"unet/model.safetensors": b"x"}, keep=2)
    attempts.reserve_exit(run.folder)
    attempts.ask_to_stop(run.folder, 1, level=1, by="ben")
    with leftovers.built_beside(run.folder / "built" / "entry") as temporary:
        (temporary / "inner").mkdir(mode=0o700)
        (temporary / "inner" / "array.npy").write_bytes(b"x")
        leftovers.publish(temporary, run.folder / "built" / "entry")
    store.delete(store.create("vae", settings_from({}), owner="ana").id, by="ana", is_active=lambda run: False)


@pytest.mark.parametrize("shared", [0o2770, 0o2775], ids=oct)
def test_the_group_may_write_all_of_a_shared_folder(tmp_path: Path, umask: int, shared: int) -> None:
    root = tmp_path / "runs"
    root.mkdir()
    root.chmod(shared)
    fill(root)
    found = {path.relative_to(root).as_posix(): mode(path) for path in root.rglob("*")}
    folders = {name for name in found if (root / name).is_dir()}
    assert {name for name in folders if found[name] & 0o2070 != 0o2070} == set()
    assert {name for name in found.keys() - folders if found[name] & 0o060 != 0o060} == set()
    others = 0o007 & ~umask
    assert {found[name] & 0o007 & ~others for name in found} == {0}, "nobody beyond the group gets more"


def test_elsewhere_the_umask_decides(tmp_path: Path, umask: int) -> None:
    root = tmp_path / "runs"
    root.mkdir()
    root.chmod(0o755)
    fill(root)
    locks = {path for path in root.rglob("*") if path.name in ("lock", "notes.lock")}
    assert {mode(path) for path in root.rglob("*") if path.is_file() and path not in locks} == {0o666 & ~umask}
    assert {mode(path) for path in locks} == {0o660 if umask == 0o002 else 0o600}


def test_what_lies_beside_that_of_others_stays_ones_own(tmp_path: Path, umask: int) -> None:
    tmp_path.chmod(0o3775)
    atomic.write_text(tmp_path / "file", "x")
    assert mode(tmp_path / "file") & 0o070 == (0o060 if umask == 0o002 else 0o040)


def test_an_attempt_ends_in_its_own_folder_whatever_lies_in_the_reserved_place(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    attempts.reserve_exit(folder)
    (reserved,) = folder.iterdir()
    reserved.unlink()
    reserved.symlink_to(tmp_path / "mine")
    attempts.write_exit(folder, {"attempt": 1, "exit_code": 0})
    assert attempts.read_file(folder, attempts.EXIT_FILE, 1) == {"attempt": 1, "exit_code": 0}
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["lock", "events.jsonl"])
def test_a_link_in_the_place_of_a_file_leads_nowhere(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("mine")
    secret.chmod(0o600)
    folder = tmp_path / "runs"
    folder.mkdir()
    folder.chmod(0o2770)
    (folder / name).symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        try_lock(folder / name) if name == "lock" else atomic.append_line(folder / name, "theirs")
    assert (secret.read_text(), mode(secret)) == ("mine", 0o600)
