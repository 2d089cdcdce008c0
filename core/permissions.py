"""Whose a file is, and why this account may not do with it what it wanted: the cause in words, and what helps."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from pathlib import Path

from core.errors import ConfigError, LabError, quoted

SHOWN = 200
_HANDED_DOWN = stat.S_ISGID | stat.S_IRWXG
SHARING = "docs/deployment.md says how several accounts share a runs folder"


def account_name(uid: int) -> str:
    """'ana (1001)'; 'account 1001' where nobody has that number any more."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"account {uid}"


def group_name(gid: int) -> str:
    """'lab'; 'group 1001' where no group has that number."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"group {gid}"


def is_private_group(gid: int) -> bool:
    """Whether a group is this account's alone, as many systems give to each: of the same name, without members."""
    try:
        group, account = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return gid == account.pw_gid and group.gr_name == account.pw_name and set(group.gr_mem) <= {account.pw_name}


def refusal(error: OSError, where: Path) -> LabError | None:
    """One sentence for what the system refused to this account, and what helps; None for any other error.

    where: what was acted on, where the error names nothing.
    """
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else where
    if error.errno == errno.EROFS:
        return LabError(f"{_shown(path)}: lies on a file system that can only be read", "name another folder")
    if error.errno not in (errno.EACCES, errno.EPERM):
        return None
    place, verb, bit = _what_refuses(path)
    try:
        found = place.lstat()
    except OSError:
        return None
    me, group = account_name(os.geteuid()), group_name(found.st_gid)
    owner, mode = account_name(found.st_uid), stat.filemode(found.st_mode)
    words = f"{_shown(place)}: {me} may not {verb}: it belongs to {owner} and to {group} ({mode})"
    if found.st_uid == os.geteuid():
        return LabError(words, f"chmod u+{'rwx' if place.is_dir() else 'rw'} {_shown(place)}")
    if found.st_gid not in {os.getegid(), *os.getgroups()} and found.st_mode & bit:
        return LabError(words, f"ask an administrator to add {me} to {group}")
    return LabError(words, f"ask {owner}; {SHARING}")


def share_with(folder: Path, group: str) -> None:
    """Hand a folder down to a group, which may then write all that is made in it (`site.group`); '' does nothing.

    Raises ConfigError for a group that is not there, LabError where this account may not share the folder.
    """
    if not group:
        return
    try:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"site.group: there is no group '{quoted(group)}' on this machine", "create it") from None
    found = folder.stat()
    if found.st_gid == gid and found.st_mode & _HANDED_DOWN == _HANDED_DOWN:
        return
    command = f"chgrp {quoted(group)} {_shown(folder)} && chmod g+rwxs {_shown(folder)}"
    try:
        os.chown(folder, -1, gid)
        folder.chmod(stat.S_IMODE(found.st_mode) | _HANDED_DOWN)
    except PermissionError:
        owner, me = account_name(found.st_uid), account_name(os.geteuid())
        raise LabError(
            f"site.group: {me} cannot share {_shown(folder)} of {owner} with {quoted(group)}", f"as root: {command}"
        ) from None


def _what_refuses(path: Path) -> tuple[Path, str, int]:
    """(the file or folder on the way to `path` that this account may not use, what it may not do, the group's bit)."""
    for place in reversed(path.parents):
        if os.path.lexists(place) and not os.access(place, os.X_OK):
            return place, "look into it", stat.S_IXGRP
        if not os.path.lexists(place):
            break
    nearest = next(place for place in (path, *path.parents) if os.path.lexists(place) or place == place.parent)
    if nearest == path and not os.access(path, os.R_OK):
        return path, "read it", stat.S_IRGRP
    if nearest == path and os.access(path, os.W_OK):
        nearest = path.parent  # to replace or remove a file is to write into its folder
    return nearest, "write there" if nearest.is_dir() else "write it", stat.S_IWGRP


def _shown(path: Path) -> str:
    return quoted(path, SHOWN)
