"""What a visitor uploads, as files that an import can read, while it reads them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from core import leftovers

MOST_LETTERS = 100  # of a name, its end


@contextlib.contextmanager
def uploaded_files(files: Sequence[tuple[str, bytes]], root: Path) -> Iterator[Path]:
    """(name, content) of one or more, in a hidden folder of `root` until the block ends: the one file, or the folder.

    A root that was made for it goes too, when empty. Of a name the harmless letters stay: it says what the file is.
    """
    existed = root.is_dir()
    try:
        with leftovers.built_beside(root / "upload") as folder:
            for place, (name, data) in enumerate(files):
                path = folder / _harmless(name)
                if path.exists():
                    path = folder / f"{place}-{path.name}"
                path.write_bytes(data)
            yield path if len(files) == 1 else folder
    finally:
        if not existed and root.is_dir() and not any(root.iterdir()):
            root.rmdir()


def _harmless(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(name).name, flags=re.ASCII)[-MOST_LETTERS:].strip("-._") or "upload"
