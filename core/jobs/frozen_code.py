"""The code a run was queued with, kept until it ends: an update of the checkout changes no run that waits or trains.

A snapshot is a copy of core/ in `<runs>/.queue/code/<hash>/core`, named by the hash of its contents.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from core import leftovers
from core.home import code_root

KINDS = ("*.py", "*.yaml")


def freeze(queue_folder: Path) -> str:
    """Keep the code of this checkout; its name. Code that was kept already is not copied again.

    Raises OSError when it cannot be written.
    """
    source = code_root() / "core"
    contents = {path.relative_to(source): path.read_bytes() for kind in KINDS for path in sorted(source.rglob(kind))}
    digest = hashlib.sha256()
    for path in sorted(contents):
        digest.update(str(path).encode() + b"\0" + hashlib.sha256(contents[path]).digest())
    name = digest.hexdigest()[:16]
    target = queue_folder / "code" / name
    if (target / "core").is_dir():
        os.utime(target)
        return name
    with leftovers.built_beside(target) as temporary:
        for path, data in contents.items():
            (temporary / "core" / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / "core" / path).write_bytes(data)
        leftovers.publish(temporary, target)
    return name


def frozen_root(queue_folder: Path, name: str) -> Path:
    """The folder to import core from: the snapshot's, or this checkout where it is gone."""
    kept = queue_folder / "code" / name
    return kept if name and (kept / "core").is_dir() else code_root()


def sweep(queue_folder: Path, needed: Collection[str], *, older_than: float) -> None:
    """Remove snapshots that no job needs and that were last asked for before `older_than` (seconds since 1970)."""
    try:
        kept = list((queue_folder / "code").iterdir())
    except OSError:
        return
    for folder in kept:
        if folder.name not in needed and folder.stat().st_mtime < older_than:
            with contextlib.suppress(OSError):  # it stays until the next time
                leftovers.remove_folder(folder)
