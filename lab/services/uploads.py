"""What a visitor uploads, as a file that an import can read, while it reads it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from core import leftovers


@contextlib.contextmanager
def uploaded_file(name: str, data: bytes, root: Path) -> Iterator[Path]:
    """A file in a hidden folder of `root` until the block ends; a root that was made for it goes too, when empty.

    It keeps the stem's harmless letters and the kind: .npz, or else .zip.
    """
    stem = re.sub(r"[^\w.-]+", "-", Path(name).stem, flags=re.ASCII).strip("-._")[:60] or "upload"
    existed = root.is_dir()
    try:
        with leftovers.built_beside(root / "upload") as folder:
            path = folder / f"{stem}{'.npz' if name.lower().endswith('.npz') else '.zip'}"
            path.write_bytes(data)
            yield path
    finally:
        if not existed and root.is_dir() and not any(root.iterdir()):
            root.rmdir()
