"""What keeps the accounts of a group from working in one runs folder: looked at with the eyes of another member."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from core.errors import LabError
from core.jobs.accounts import is_shared, state_folder
from core.jobs.confinement import FEWEST, version
from core.jobs.serving import FOLDER
from core.permissions import account_name, group_name, is_private_group

MOST_LOOKED_AT = 20_000  # files and folders
_FOLDER, _FILE = stat.S_IRWXG | stat.S_ISGID, stat.S_IRGRP | stat.S_IWGRP
Finding = tuple[bool | None, str]  # (whether it works, None for information; in words)


def findings(runs: Path, group: str = "") -> Iterator[Finding]:
    """Whether several accounts may work here, and what is in their way. group: `site.group`."""
    if not runs.is_dir():
        return
    found = runs.stat()
    name = group_name(found.st_gid)
    if not is_shared(runs):
        if group:
            yield False, f"site.group is {group}, and {runs} is not handed down to it: {_command(runs, group)}"
        elif found.st_mode & stat.S_IWGRP and not is_private_group(found.st_gid):
            words = f"accounts of {name} may write into {runs}, and not what others make there"
            yield None, f"{words}: share it with chmod g+s, or close it with chmod g-w"
        return
    yield True, f"accounts of {name} share {runs}; each has a supervisor and starts its own runs"
    if version() < FEWEST:
        words = "this kernel has no Landlock (Linux 6.2 or newer)"
        yield None, f"{words}: a link in the place of a run at work can lead its process out of {runs}"
    if group and group != name:
        yield False, f"site.group is {group}, and {runs} belongs to {name}: {_command(runs, group)}"
    if os.geteuid() and found.st_gid not in {os.getegid(), *os.getgroups()}:
        yield False, f"{account_name(os.geteuid())} is not in {name}: an administrator can add it"
    try:
        state_folder(runs / FOLDER)
    except (LabError, OSError) as error:
        yield False, str(error)
    closed, owners = [], Counter[int]()
    for path in islice(_all_in(runs), MOST_LOOKED_AT):
        with contextlib.suppress(OSError):
            owners[path.lstat().st_uid] += 1
            if _is_closed(path, found.st_gid) and not _is_an_accounts_own(path, runs):
                closed.append(path)
    closed = [path for path in closed if _is_closed(path, found.st_gid)]  # what was being made then is done, or gone
    if closed:
        words = f"{len(closed):,} files and folders, such as {closed[0]}, cannot be changed by the others"
        yield False, f"{words}: {_command(runs, name, everything=True)}"
    if owners[0] and os.geteuid():
        yield None, f"{owners[0]:,} files and folders belong to root: someone ran the lab as root"
    for uid in sorted(owners):
        if not _exists(uid):
            yield None, f"{owners[uid]:,} files and folders belong to {account_name(uid)}: others can resume its runs"


def _all_in(runs: Path) -> Iterator[Path]:
    """What lies in the folder, level by level for each run; links are not followed."""
    for folder, names, files in os.walk(runs):
        yield from (Path(folder, name) for name in (*names, *files))


def _is_closed(path: Path, gid: int) -> bool:
    """Whether members of the group cannot change what lies there; False for a link, and where nothing does."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    if stat.S_ISLNK(facts.st_mode):
        return False
    wanted = _FOLDER if stat.S_ISDIR(facts.st_mode) else _FILE
    return facts.st_gid != gid or facts.st_mode & wanted != wanted


def _is_an_accounts_own(path: Path, runs: Path) -> bool:
    """Whether it is meant to be changed by one account alone: what its supervisor says, and code of older versions."""
    parts = path.relative_to(runs).parts
    return parts[0] == FOLDER and len(parts) > 1 and parts[1] in ("accounts", "code")


def _exists(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _command(runs: Path, group: str, *, everything: bool = False) -> str:
    """What whoever owns it, or root, types."""
    if not everything:
        return f"chgrp {group} {runs} && chmod g+rwxs {runs}"
    tail = f"chmod -R g+rwX {runs} && find {runs} -type d -exec chmod g+s {{}} +"
    return f"chgrp -R {group} {runs} && {tail}"
