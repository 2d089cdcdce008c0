"""What people add to a run afterwards: notes, tags, and whose favourite it is (notes.json in the run's folder)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from core import atomic, reading
from core.config.site import LONGEST_LOGIN
from core.errors import LabError, RunBusy, RunNotFound, UsageError
from core.runs.lock import FileLock, lock_in_run
from core.runs.run import Run
from core.runs.store import storage_error

MAX_NOTES_LENGTH = 10_000
MAX_TAGS = 20
MAX_TAG_LENGTH = 40
MAX_FAVOURITES = 200
FORMAT = 1
PATIENCE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Notes:
    """notes: free text. tags: in the order they were given. favourite_of: people who marked the run."""

    notes: str = ""
    tags: tuple[str, ...] = ()
    favourite_of: tuple[str, ...] = ()


def notes_path(run: Run) -> Path:
    """The file; it exists once somebody wrote something."""
    return run.folder / "notes.json"


def read_notes(run: Run) -> Notes:
    """The notes of a run; empty when there are none or the file is damaged. What is over the bounds is left out."""
    values = _read(run)
    text = values.get("notes")
    return Notes(
        notes=_printable(text)[:MAX_NOTES_LENGTH] if isinstance(text, str) else "",
        tags=_texts(values.get("tags"), MAX_TAG_LENGTH)[:MAX_TAGS],
        favourite_of=_texts(values.get("favourite_of"), LONGEST_LOGIN)[:MAX_FAVOURITES],
    )


def change_notes(
    run: Run,
    *,
    by: str,
    notes: str | None = None,
    instead_of: str | None = None,
    add_tags: Iterable[str] = (),
    remove_tags: Iterable[str] = (),
    favourite: bool | None = None,
) -> Notes:
    """Change only what is named, under a lock, and return all of it; None leaves a thing as it is.

    instead_of: the text that the person saw before writing; when it has changed since, nothing is written. favourite:
    of `by`. What was written or tagged is put on record in the run's events; a favourite is a private matter.
    Raises UsageError when a text is too long or a tag unusable, RunBusy when somebody else changed the text meanwhile,
    RunNotFound when the run was deleted, LabError when the folder cannot be written.
    """
    if notes is not None:
        notes = check_notes(notes)
    added, removed = [check_tag(tag) for tag in add_tags], {tag.strip() for tag in remove_tags}
    lock = _lock(run)
    try:
        before = read_notes(run)
        if notes is not None and instead_of is not None and before.notes not in (instead_of, notes):
            raise RunBusy(
                f"notes: another person changed the notes of run {run.id} while you wrote",
                "look at theirs and write again",
            )
        tags = tuple(dict.fromkeys(tag for tag in (*before.tags, *added) if tag not in removed))
        if len(tags) > MAX_TAGS:
            raise UsageError(f"tags: a run can have {MAX_TAGS}, got {len(tags)}", "take one away first")
        people = [person for person in before.favourite_of if favourite is None or person != by]
        if favourite:
            people.append(by[:LONGEST_LOGIN])
        after = replace(
            before,
            notes=before.notes if notes is None else notes,
            tags=tags,
            favourite_of=tuple(people)[-MAX_FAVOURITES:],
        )
        if after != before:
            _write(run, after)
    finally:
        lock.release()
    _record(run, before, after, by)
    return after


def check_notes(text: str) -> str:
    """The text without outer blanks. Raises UsageError when it is too long or has control characters."""
    text = text.replace("\r\n", "\n").strip()
    if len(text) > MAX_NOTES_LENGTH:
        raise UsageError(f"notes: longer than {MAX_NOTES_LENGTH:,} characters, got {len(text):,}")
    if text != _printable(text):
        raise UsageError("notes: have characters that cannot be printed")
    return text


def check_tag(text: str) -> str:
    """A tag without outer blanks. Raises UsageError when it is empty, too long or cannot be printed."""
    tag = text.strip()
    if not tag or len(tag) > MAX_TAG_LENGTH:
        raise UsageError(f"tag: needs 1 to {MAX_TAG_LENGTH} characters, got {len(tag)}")
    if not tag.isprintable():
        raise UsageError("tag: has characters that cannot be printed")
    return tag


def _lock(run: Run) -> FileLock:
    try:
        lock = lock_in_run(run.folder / "notes.lock", patience_s=PATIENCE_S)
    except FileNotFoundError:
        raise RunNotFound(f"run {run.id} was deleted meanwhile") from None
    except OSError as error:
        raise storage_error(error, run.folder) from None
    if lock is None:
        raise RunBusy(f"notes: another person is writing the notes of run {run.id}", "try again")
    return lock


def _read(run: Run) -> dict[str, Any]:
    try:
        return reading.read_object(notes_path(run))
    except (OSError, reading.Unreadable):
        return {}


def _write(run: Run, notes: Notes) -> None:
    before = _read(run)
    number = before.get("format", FORMAT)
    if words := reading.newer(number, FORMAT) if isinstance(number, int) else "their format is unknown":
        raise LabError(f"notes: of run {run.id} cannot be changed: {words}", "update this lab")
    try:
        atomic.write_json(notes_path(run), {**before, "format": FORMAT, **asdict(notes)})  # keys of others stay
    except FileNotFoundError:
        raise RunNotFound(f"run {run.id} was deleted meanwhile") from None
    except OSError as error:
        raise storage_error(error, run.folder) from None
    except ValueError as error:
        raise LabError(f"notes: cannot be written: {error}") from None


def _record(run: Run, before: Notes, after: Notes, by: str) -> None:
    changes: dict[str, Any] = {}
    if added := [tag for tag in after.tags if tag not in before.tags]:
        changes["tagged"] = ", ".join(added)
    if removed := [tag for tag in before.tags if tag not in after.tags]:
        changes["untagged"] = ", ".join(removed)
    if after.notes != before.notes:
        changes["characters"] = len(after.notes)
    if changes:
        run.put_on_record("notes changed", by=by, **changes)


def _texts(value: Any, longest: int) -> tuple[str, ...]:
    items = value if isinstance(value, list) else []
    good = (item.strip() for item in items if isinstance(item, str) and item.isprintable())
    return tuple(dict.fromkeys(item for item in good if 0 < len(item) <= longest))


def _printable(text: str) -> str:
    """Line breaks and tabs are kept, other control characters and halves of characters are not."""
    return "".join(character for character in text if character.isprintable() or character in "\n\t")
