"""The one resolver of paths that somebody names: what a path is called, what it is, and whether it may be read.

It looks with `stat` alone and opens nothing, so a pipe, a device or a circle of links costs one sentence at once.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from core.errors import DataUnavailable, LabError, quoted

FOLDER, FILE = "folder", "file"
SHOWN = 200  # characters of a path that a sentence repeats
ELSEWHERE = Path("/dev/null")  # no kernel lets anything lie below it
_STRANGE = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_UNREAL = ("/proc", "/sys")  # their files are made by the kernel while they are read


def elsewhere(path: str) -> str:
    """What stands for a path that somebody on another machine wrote: its last name, leading nowhere on this one."""
    return str(ELSEWHERE / (Path(path).name.strip(".") or "unnamed"))


def is_elsewhere(path: str) -> bool:
    """Whether `elsewhere` made it."""
    return ELSEWHERE in Path(path).parents


def kind_of(
    path: Path,
    *,
    wants: Sequence[str] = (FOLDER, FILE),
    where: str = "",
    hint: str = "",
    refused: type[LabError] = DataUnavailable,
) -> str:
    """FOLDER or FILE, of a path that this process may read; links are followed.

    wants: the kinds that will do. where: begins a refusal, such as 'data.path: '. hint: what to give instead.
    Raises `refused` for anything else: what is not there, a pipe, a device, a circle of links, a file without bytes
    or of the kernel, and what this account may not read.
    """
    shown, kinds = quoted(path, SHOWN), " or ".join(wants)
    try:
        facts = path.stat()
    except (OSError, ValueError) as error:
        raise refused(f"{where}{_absence(error, kinds, shown)}", hint) from None
    if stat.S_ISDIR(facts.st_mode):
        found, needed = FOLDER, os.R_OK | os.X_OK
    elif stat.S_ISREG(facts.st_mode):
        found, needed = FILE, os.R_OK
    else:
        raise refused(f"{where}{shown} is {_STRANGE.get(stat.S_IFMT(facts.st_mode), 'no ordinary file')}", hint)
    if found not in wants:
        raise refused(f"{where}there is no {kinds} {shown}, it is a {found}", hint)
    if facts.st_dev in _unreal_devices():
        raise refused(f"{where}{shown} is a {found} of the kernel, not of a disk", hint)
    if not os.access(path, needed):
        raise refused(f"{where}{shown} may not be read by this account", hint)
    if found == FILE and not facts.st_size:
        raise refused(f"{where}{shown} is empty", hint)
    return found


def inside(path: Path, roots: Sequence[Path], *, where: str = "") -> Path:
    """The path without links, when it lies in one of the roots as it is written and as its links lead; no roots: any.

    Outside of the roots nothing is looked at, so a refusal does not say what is there. Raises DataUnavailable.
    """
    if not roots:
        return path
    written = Path(os.path.normpath(Path.cwd() / path))
    hint = f"use a path in {' or '.join(quoted(root, SHOWN) for root in roots)}"
    real_roots = [Path(os.path.realpath(root)) for root in roots]
    if not any(written.is_relative_to(root) for root in (*roots, *real_roots)):
        raise DataUnavailable(f"{where}{quoted(path, SHOWN)} is outside of site.data_roots", hint)
    try:
        real = Path(os.path.realpath(path))
    except (OSError, ValueError):
        real = Path()
    if not any(real.is_relative_to(root) for root in real_roots):
        raise DataUnavailable(f"{where}{quoted(path, SHOWN)} leads out of site.data_roots", hint)
    return real


def _absence(error: OSError | ValueError, kinds: str, shown: str) -> str:
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    if number == errno.ELOOP:
        return f"the links of {shown} lead in a circle"
    if number in (errno.EACCES, errno.EPERM):
        return f"{shown} may not be read by this account"
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return f"there is no {kinds} {shown}"
    return f"{shown} cannot be read ({error.strerror if isinstance(error, OSError) else error})"


def _unreal_devices() -> set[int]:
    found = set()
    for place in _UNREAL:
        try:
            found.add(Path(place).stat().st_dev)
        except OSError:
            continue
    return found
