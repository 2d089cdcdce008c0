"""Several Unix accounts and one runs folder: where each of them keeps what is its own.

A runs folder is shared when it hands its group down (setgid) and the group may write. Then every account has a
supervisor of its own, which starts what that account queued, as that account. Who serves is told in
`.queue/accounts/<uid>`, for all to read. What a process is started with lies where no other account can write, not
even by renaming a folder above it: below the account's home. Elsewhere the lab has one account, and both places are
`.queue`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from core import atomic
from core.errors import LabError
from core.permissions import account_name, is_private_group

ACCOUNTS = "accounts"
STATE_VARIABLE = "LAB_STATE"  # a folder instead of those below
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_shared(runs: Path) -> bool:
    """Whether other accounts work in this runs folder too."""
    try:
        mode = runs.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def service_folder(queue_folder: Path, uid: int | None = None) -> Path:
    """Where an account's supervisor keeps its lock, its facts and its log. uid: this process's by default."""
    if not is_shared(queue_folder.parent):
        return queue_folder
    return queue_folder / ACCOUNTS / str(os.geteuid() if uid is None else uid)


def open_service_folder(queue_folder: Path) -> Path:
    """`service_folder` of this account, which exists then. Raises OSError, and LabError when it is somebody else's."""
    atomic.private_folder(queue_folder)
    folder = service_folder(queue_folder)
    if folder == queue_folder:
        return folder
    with contextlib.suppress(FileExistsError):
        folder.parent.mkdir(mode=0o770)
        folder.parent.chmod(0o3770)  # sticky: nobody renames what another account made
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o750)
        folder.chmod(0o2750)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
        owner = account_name(found.st_uid)
        raise LabError(
            f"{folder}: should belong to {account_name(os.geteuid())} alone, and {owner} made it", "remove it"
        )
    return folder


def state_folder(queue_folder: Path) -> Path:
    """Where this account keeps orders and code, which exists then; see `private_places`. Raises LabError, OSError."""
    if not is_shared(queue_folder.parent):
        return queue_folder
    name = hashlib.sha256(os.fsencode(queue_folder.parent.resolve())).hexdigest()[:16]
    places = list(private_places())
    for place in places:
        with contextlib.suppress(OSError):
            for folder in (*reversed(place.parents), place, place / name):
                if not folder.is_dir():
                    folder.mkdir(mode=0o700, exist_ok=True)
            if is_own(place / name):
                return place / name
    words = " and ".join(map(str, places))
    raise LabError(
        f"{words}: other accounts may write there, or {account_name(os.geteuid())} may not, so nothing can be queued "
        "in a runs folder that several accounts share",
        f"name a private folder: {STATE_VARIABLE}",
    )


def private_places() -> Iterator[Path]:
    """LAB_STATE alone where it is set, else in the account's home, else in /var/tmp."""
    if named := os.environ.get(STATE_VARIABLE):
        yield Path(named).expanduser()
        return
    homes = [os.environ.get("HOME", "")]
    with contextlib.suppress(KeyError):
        homes.insert(0, pwd.getpwuid(os.geteuid()).pw_dir)  # first: every process of the account finds the same
    for home in homes:
        if home.startswith("/"):
            yield Path(home) / ".local" / "state" / "latent-diffusion-lab"
    yield Path("/var/tmp") / f"latent-diffusion-lab-{os.geteuid()}"  # noqa: S108 - believed only where `is_own` holds


def is_own(folder: Path) -> bool:
    """Whether no other account but root can change what a path into this folder leads to."""
    folder = folder.resolve()
    for place in (folder, *folder.parents):
        found = place.lstat()
        others = stat.S_IWOTH if is_private_group(found.st_gid) else _OTHERS_WRITE
        is_open = found.st_mode & others and (place == folder or not found.st_mode & stat.S_ISVTX)
        if is_open or found.st_uid not in (os.geteuid(), 0):
            return False
    return folder.stat().st_uid == os.geteuid()
