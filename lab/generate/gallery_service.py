"""The gallery of kept drawings as the screens see it. Never imports PyTorch."""

from __future__ import annotations

from core.sampling import gallery as core_gallery
from core.sampling.gallery import Entry
from lab.services.settings import current_site


def keep(picture: bytes, *, title: str, owner: str, source_title: str, device: str) -> str:
    """Keep a PNG with its recipe inside; its id. Raises a LabError."""
    folder = current_site().gallery
    return core_gallery.keep(folder, picture, title=title, owner=owner, source_title=source_title, device=device)


def entries() -> tuple[list[Entry], list[str]]:
    """(kept drawings, newest first; ids of damaged ones)."""
    return core_gallery.entries(current_site().gallery)


def entry_of(entry_id: str) -> Entry:
    """One by id. Raises a LabError."""
    return core_gallery.entry_of(current_site().gallery, entry_id)


def remove(entry_id: str, by: str) -> None:
    """Take one away for good. Raises a LabError."""
    core_gallery.remove(current_site().gallery, entry_id, by=by)
