"""The gallery: drawings that somebody kept on purpose, each one PNG with its recipe inside and a few facts beside it.

A folder an entry, made whole or not at all, so that two sessions never meet in one file; nothing is ever changed.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from core import atomic, leftovers, reading
from core.config.site import LONGEST_LOGIN
from core.errors import LabError, UsageError, quoted
from core.runs.lock import try_lock
from core.runs.rights import require_member, require_right
from core.runs.run import now_iso
from core.runs.store import storage_error
from core.sampling.recipe import Recipe, read_recipe

MOST_ENTRIES = 500
FORMAT = 1  # of the facts
MOST_PICTURE_BYTES = 8 * 2**20
MOST_FACT_BYTES = 16 * 1024
TITLE_LIMIT = 120
PICTURE, FACTS, LOCK = "picture.png", "entry.json", ".lock"
LOCK_PATIENCE_S = 10.0
ENTRY_ID = re.compile(r"^\d{8}-\d{6}-[0-9a-f]{6}$")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A kept drawing. title and owner as people typed them, not escaped; source_title: what the model was called."""

    id: str
    folder: Path
    title: str
    owner: str
    created_at: str
    source_title: str
    device: str

    def picture(self) -> bytes:
        """The PNG. Raises LabError when it is gone or too large."""
        try:
            return reading.read_bytes(self.folder / PICTURE, limit=MOST_PICTURE_BYTES)
        except reading.Unreadable as error:
            raise LabError(f"gallery: {self.id}: {error.message}", "remove it") from None
        except OSError:
            raise LabError(f"gallery: {self.id} is not there any more, or damaged", "choose another") from None

    def recipe(self) -> Recipe:
        """What draws it again. Raises LabError in one sentence."""
        return read_recipe(self.picture(), where=f"gallery: {self.id}")


def keep(folder: Path, picture: bytes, *, title: str, owner: str, source_title: str, device: str) -> str:
    """Keep a PNG that holds its recipe; the id of the entry. Raises UsageError when the gallery is full or the title
    cannot be printed, NotAllowed, StorageFull or LabError when it cannot be written."""
    require_member(owner, "add to the gallery")
    title = title.strip()
    if len(title) > TITLE_LIMIT or not title.isprintable():
        raise UsageError(f"title: needs at most {TITLE_LIMIT} printable characters, got {len(title)}")
    read_recipe(picture, where="gallery")
    if len(picture) > MOST_PICTURE_BYTES:
        raise UsageError(f"gallery: the image has more than {MOST_PICTURE_BYTES // 2**20} MB", "keep fewer images")
    entry = Entry(
        id=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}",
        folder=folder,
        title=title,
        owner=owner,
        created_at=now_iso(),
        source_title=source_title[:TITLE_LIMIT],
        device=device[:TITLE_LIMIT],
    )
    facts = {"format": FORMAT} | {name: value for name, value in asdict(entry).items() if name not in ("id", "folder")}
    try:
        atomic.make_folder(folder)
        lock = try_lock(folder / LOCK, patience_s=LOCK_PATIENCE_S)
        if lock is None:
            raise LabError("gallery: another person is adding an entry now", "try again")
        try:  # counted and kept in one go, whoever else keeps at the same moment
            if len(entry_ids(folder)) >= MOST_ENTRIES:
                raise UsageError(f"gallery: it has {MOST_ENTRIES} entries and is full", "remove some first")
            atomic.write_folder(folder / entry.id, {PICTURE: picture, FACTS: atomic.json_bytes(facts)})
        finally:
            lock.release()
    except OSError as error:
        raise storage_error(error, folder) from None
    return entry.id


def entries(folder: Path) -> tuple[list[Entry], list[str]]:
    """(kept drawings, newest first; ids of those that are damaged). No picture is read."""
    found: list[Entry] = []
    damaged: list[str] = []
    for name in entry_ids(folder)[:MOST_ENTRIES]:
        entry = _read(folder / name)
        if entry is None:
            damaged.append(name)
        else:
            found.append(entry)
    return found, damaged


def entry_of(folder: Path, entry_id: str) -> Entry:
    """One entry by id. Raises UsageError when there is none, or it is damaged."""
    entry = _read(folder / entry_id) if ENTRY_ID.fullmatch(entry_id) else None
    if entry is None:
        raise UsageError(f"gallery: there is no entry {quoted(entry_id, 60)}", "choose one of the gallery")
    return entry


def remove(folder: Path, entry_id: str, *, by: str) -> None:
    """Take one away for good, a damaged one too; one that is gone already is no error. Raises LabError."""
    if not ENTRY_ID.fullmatch(entry_id):
        raise UsageError(f"gallery: there is no entry {quoted(entry_id, 60)}")
    if (folder / entry_id).exists():
        entry = _read(folder / entry_id)
        require_right(entry.owner if entry else "", by, f"remove gallery entry {entry_id}")
    try:
        leftovers.remove_folder(folder / entry_id)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, folder) from None


def entry_ids(folder: Path) -> list[str]:
    """Ids of all that is kept, damaged ones too, newest first."""
    try:
        return sorted((path.name for path in folder.iterdir() if ENTRY_ID.fullmatch(path.name)), reverse=True)
    except OSError:
        return []


def _read(folder: Path) -> Entry | None:
    try:
        if not (folder / PICTURE).is_file():
            return None
        facts = reading.read_object(folder / FACTS, limit=MOST_FACT_BYTES)
        names = ("title", "owner", "created_at", "source_title", "device")
        if not all(isinstance(facts[name], str) for name in names):
            return None
        limits = {"owner": LONGEST_LOGIN}
        shown = {name: facts[name][: limits.get(name, TITLE_LIMIT)] for name in names}
        return Entry(id=folder.name, folder=folder, **shown)
    except (OSError, ValueError, KeyError):
        return None
