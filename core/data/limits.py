"""How much of somebody's pictures is read, and with what: docs/data.md gives the reasons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ReadLimits:
    """entries: files and directories. ratio: unpacked over packed, of entries above exempt_bytes. pictures: of an .npz.

    memory_bytes, cpu_s and file_bytes bind the child process by the kernel, wall_s by its parent. roots: where links
    may lead, none for anywhere.
    """

    entries: int = 80_000
    ratio: int = 300
    exempt_bytes: int = 2**20
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
    roots: tuple[str, ...] = ()


LIMITS = ReadLimits()  # of what is kept by an import
OWN_LIMITS = ReadLimits(  # of data.path: what somebody trains on is theirs, so it may be large, but not without end
    entries=5_000_000,
    exempt_bytes=200_000_000,  # a million sorted labels pack to a thousandth
    total_bytes=256_000_000_000,
    picture_pixels=64_000_000,
    pictures=20_000_000,
    memory_bytes=2 * 2**30,
    cpu_s=12 * 3600,
    wall_s=12 * 3600.0,
)
KEPT_SIDE = 512  # short side, pixels: the largest data.image_size; larger pictures are kept reduced to it
