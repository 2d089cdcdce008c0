"""How much of a stranger's data is read at an import, and with what: docs/data.md gives the reasons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImportLimits:
    """entries: files and directories. ratio: unpacked over packed, of an entry above one MiB. pictures: of an .npz.

    memory_bytes, cpu_s and file_bytes bind the child process by the kernel, wall_s by its parent.
    """

    entries: int = 80_000
    ratio: int = 300
    file_bytes: int = 64_000_000
    total_bytes: int = 4_000_000_000
    picture_pixels: int = 25_000_000
    pictures: int = 1_000_000
    classes: int = 1000
    depth: int = 16
    name_length: int = 400
    memory_bytes: int = 550 * 2**20
    cpu_s: int = 900
    wall_s: float = 1800.0


LIMITS = ImportLimits()
KEPT_SIDE = 512  # short side, pixels: the largest data.image_size; larger pictures are kept reduced to it
EXEMPT_BYTES = 2**20  # entries up to this may have any ratio
