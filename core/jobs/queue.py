"""The queue: which runs wait, in which order, which live, and who holds which slot. SQLite, one file a runs folder.

Anybody may put a run in, ask for a stop or change the order; only the supervisor starts and ends. Every change that
must not happen twice is one transaction. The run folders stay the truth: a lost queue is built again from them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import sqlite3
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core import atomic, reading
from core.errors import LabError, StorageFull, is_full_disk
from core.jobs.queue_rows import Job as Job
from core.jobs.queue_rows import JobState as JobState
from core.jobs.queue_rows import fits, job_of, values_of
from core.jobs.queue_schema import NewerQueue, migrate
from core.jobs.serving import FOLDER
from core.jobs.shares import note_use
from core.jobs.start_supervisor import start_supervisor
from core.machine.attempts import number_after
from core.permissions import refusal
from core.runs.store import RunStore, storage_error

logger = logging.getLogger(__name__)
BUSY_TIMEOUT_S = 30.0
LONGEST_NOTICE_WAIT_S = 3600.0
LEASES = "select slot, run_id from leases where typeof(slot) = 'text' and typeof(run_id) = 'text'"


class DamagedQueue(LabError):
    """SQLite says that the file is damaged, or no database at all."""


class Queue:
    """The queue of one runs folder. Each thread has a connection of its own; nothing is opened before it is needed.

    clock: seconds since 1970.
    """

    def __init__(self, store_root: Path, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.folder = store_root / FOLDER
        self.path = self.folder / "queue.db"
        self._local = threading.local()

    def exists(self) -> bool:
        """False while nothing was ever queued here. Raises LabError for an account that may not look."""
        try:
            return self.path.exists()
        except OSError as error:
            raise storage_error(error, self.path) from None

    def now(self) -> str:
        """What its columns say of this moment: UTC, ISO 8601 with milliseconds."""
        return datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="milliseconds")

    # -- what anybody may do

    def put(self, *jobs: Job) -> bool:
        """Queue runs, all or none; False when one waits or lives already. A paused run goes on at its old place.

        Of many who put the same run in at once, exactly one gets True.
        """
        with self.transaction() as database:
            for job in jobs:
                row = database.execute(
                    """insert into jobs(run_id, place, state, priority, owner, device, num_processes, depends_on,
                                        environment, code, attempt, queued_at, uid, request)
                       values(:run_id, (select coalesce(max(place), 0) + 1 from jobs), 'queued', :priority, :owner,
                              :device, :num_processes, :depends_on, :environment, :code, :attempt, :now, :uid, :request)
                       on conflict(run_id) do update set
                         place = case when state = 'paused' then place else excluded.place end,
                         priority = case when state = 'paused' then priority else excluded.priority end,
                         state = 'queued', device = excluded.device, num_processes = excluded.num_processes,
                         depends_on = excluded.depends_on, environment = excluded.environment, code = excluded.code,
                         uid = excluded.uid, request = excluded.request,
                         stop_level = 0, stop_by = '', pauses = 0, fruitless = 0, last_step = -1, waits_for = '',
                         queued_at = excluded.queued_at, started_at = '', ended_at = ''
                       where state in ('ended', 'paused')
                       returning run_id""",
                    values_of(job, self.now()),
                ).fetchone()
                if row is None:
                    database.execute("rollback")
                    return False
        return True

    def job(self, run_id: str) -> Job | None:
        """The run's row, if it was ever queued."""
        if not self.exists():
            return None
        return next(iter(self._jobs("select * from jobs where run_id = ?", [run_id])), None)

    def jobs(self, *states: JobState) -> list[Job]:
        """Jobs in these states (all that are not over by default): live ones first, then in the order of their turn."""
        if not self.exists():
            return []
        wanted = states or (JobState.LIVE, JobState.QUEUED, JobState.PAUSED)
        marks = ",".join("?" * len(wanted))
        return self._jobs(
            f"select * from jobs where state in ({marks}) order by state != 'live', priority desc, place",  # noqa: S608
            [str(state) for state in wanted],
        )

    def leases(self) -> dict[str, str]:
        """Slot → run that holds it."""
        if not self.exists():
            return {}
        return {row["slot"]: row["run_id"] for row in self._rows(LEASES)}

    def take_out(self, run_id: str, *, state: JobState = JobState.ENDED) -> bool:
        """End or pause a job that only waits; False when it does not wait (any more)."""
        with self.transaction() as database:
            row = database.execute(
                """update jobs set state = ?, waits_for = '', ended_at = ?
                   where run_id = ? and state in ('queued', 'paused') and state != ? returning run_id""",
                (str(state), self.now() if state is JobState.ENDED else "", run_id, str(state)),
            ).fetchone()
        return row is not None

    def set_priority(self, run_id: str, priority: int) -> bool:
        """Change a waiting job's priority; False when it does not wait."""
        return self._change(
            "update jobs set priority = ? where run_id = ? and state in ('queued','paused')", priority, run_id
        )

    def move(self, run_id: str, to: str, *, among: Callable[[str], bool] = lambda owner: True) -> bool:
        """Move a waiting job among those of its priority: first, up, down, last. False when it does not wait.

        among: the owners whose runs are passed; the others keep their places.
        """
        with self.transaction() as database:
            row = database.execute(
                "select priority from jobs where run_id = ? and state in ('queued','paused')", (run_id,)
            ).fetchone()
            if row is None:
                return False
            order = [
                (other["run_id"], other["place"])
                for other in database.execute(
                    """select run_id, place, owner from jobs
                       where state in ('queued','paused') and priority = ? order by place""",
                    (row["priority"],),
                ).fetchall()
                if other["run_id"] == run_id or among(other["owner"])
            ]
            names = [name for name, _ in order]
            places = [place for _, place in order]
            here = names.index(run_id)
            there = {"first": 0, "up": max(0, here - 1), "down": min(len(names) - 1, here + 1), "last": len(names) - 1}[
                to
            ]
            names.insert(there, names.pop(here))
            database.executemany("update jobs set place = ? where run_id = ?", list(zip(places, names, strict=True)))
        return True

    def once(self, token: str) -> list[str] | None:
        """The first with a token gets None and calls `done`; the others get the run ids it made, [] until then."""
        with self.transaction() as database:
            database.execute("delete from tokens where at < datetime('now', '-1 day')")
            row = database.execute("select run_ids from tokens where token = ?", (token,)).fetchone()
            if row is None:
                database.execute("insert into tokens(token, at) values(?, datetime('now'))", (token,))
                return None
        return [run_id for run_id in row["run_ids"].split(",") if run_id]

    def done(self, token: str, run_ids: Sequence[str]) -> None:
        """What the first with this token has made; nothing made frees the token again."""
        with self.transaction() as database:
            if run_ids:
                database.execute("update tokens set run_ids = ? where token = ?", (",".join(run_ids), token))
            else:
                database.execute("delete from tokens where token = ?", (token,))

    def forget(self, run_id: str) -> None:
        """Remove the row of a run that was deleted."""
        if self.exists():
            self._change("delete from jobs where run_id = ? and state in ('ended','paused','queued')", run_id)

    def seconds_per_step(self, signature: str) -> float | None:
        """Median of the newest five runs of that signature; None when there was none."""
        if not self.exists():
            return None
        rows = self._rows(
            """select s_per_step from speeds where signature = ? and typeof(s_per_step) = 'real'
               and s_per_step between 0 and 1e9 order by at desc limit 5""",
            [signature],
        )
        known = sorted(row["s_per_step"] for row in rows)
        return known[len(known) // 2] if known else None

    # -- what the supervisor does

    def claim(self, run_id: str, slots: Sequence[str], *, after: int = 0) -> int | None:
        """Give a waiting job its slots and start its next attempt: the attempt's number, see `attempts.number_after`.

        after: the newest attempt that its folder knows, where the queue was lost or an older one was put back.
        None when it does not wait any more or one of the slots is taken; then nothing has changed.
        """
        with self.transaction() as database:
            row = database.execute(
                "select attempt from jobs where run_id = ? and state = 'queued'", (run_id,)
            ).fetchone()
            if row is None:
                return None
            attempt = number_after(max(row["attempt"], after))
            database.execute(
                """update jobs set state = 'live', attempt = ?, slots = ?, waits_for = '', started_at = ?
                   where run_id = ?""",
                (attempt, json.dumps(list(slots)), self.now(), run_id),
            )
            try:
                database.executemany("insert into leases values(?, ?)", [(slot, run_id) for slot in slots])
            except sqlite3.IntegrityError:
                database.execute("rollback")
                return None
            return attempt

    def release(self, run_id: str, attempt: int, state: JobState, **changes: Any) -> bool:
        """End an attempt and give its slots back, in one step. changes: other columns. False when it was not live."""
        columns = "".join(f", {name} = :{name}" for name in changes)
        with self.transaction() as database:
            before = database.execute("select * from jobs where run_id = ?", (run_id,)).fetchone()
            row = database.execute(
                f"""update jobs set state = :state, slots = '[]', stop_level = 0, stop_by = '', pauses = 0,
                           ended_at = :ended_at{columns}
                    where run_id = :run_id and attempt = :attempt and state = 'live' returning run_id""",  # noqa: S608
                {
                    "state": str(state),
                    "ended_at": self.now() if state is JobState.ENDED else "",
                    "run_id": run_id,
                    "attempt": attempt,
                    **changes,
                },
            ).fetchone()
            if row is not None:
                database.execute("delete from leases where run_id = ?", (run_id,))
                with contextlib.suppress(IndexError, ValueError):  # a row that is nobody's
                    note_use(database, job_of(before), self.clock())
        return row is not None

    def uses(self, since: float = 0.0) -> list[sqlite3.Row]:
        """Slots that ended attempts held: owner, slots, started_s, ended_s. since: seconds since 1970, of their end."""
        words = "select owner, slots, started_s, ended_s from uses where ended_s >= ?"
        return self._rows(words, (since,)) if self.exists() else []

    def restore_live(self, job: Job) -> None:
        """Put back a live attempt that a lost queue forgot."""
        with self.transaction() as database:
            database.execute(
                """insert or ignore into jobs(run_id, place, state, priority, owner, device, num_processes, depends_on,
                                              environment, code, attempt, slots, started_at, uid, request)
                   values(:run_id, (select coalesce(max(place), 0) + 1 from jobs), 'live', :priority, :owner, :device,
                          :num_processes, :depends_on, :environment, :code, :attempt, :slots, :now, :uid, :request)""",
                values_of(job, self.now()),
            )
            database.executemany(
                "insert or ignore into leases values(?, ?)", [(slot, job.run_id) for slot in job.slots]
            )

    def say_why(self, run_id: str, words: str) -> None:
        """Why a waiting job is not started."""
        self._change("update jobs set waits_for = ? where run_id = ? and waits_for != ?", words, run_id, words)

    def note_speed(self, signature: str, s_per_step: float) -> None:
        """Remember how fast a run of that signature was; the newest twenty are kept."""
        with self.transaction() as database:
            database.execute("insert into speeds values(?, ?, ?)", (signature, s_per_step, self.now()))
            database.execute(
                """delete from speeds where signature = ?1 and rowid not in
                   (select rowid from speeds where signature = ?1 order by at desc limit 20)""",
                (signature,),
            )

    def add_notice(self, body: Mapping[str, Any]) -> None:
        """A message to be sent; it is kept until it was."""
        self._change("insert into notices(body, next_at) values(?, 0)", json.dumps(dict(body)))

    def due_notices(self, now: float) -> list[tuple[int, dict[str, Any], int]]:
        """(id, message, tries so far) of messages whose time has come; now: seconds since 1970.

        Also of those that would wait longer than any does: the clock was put back.
        """
        statement = "select * from notices where next_at <= ?1 or next_at > ?1 + ?2 order by id limit 20"
        rows = self._database().execute(statement, (now, LONGEST_NOTICE_WAIT_S))
        found = []
        for row in rows.fetchall():
            try:
                tries = row["tries"] if fits(row["tries"], 0) else 0
                found.append((row["id"], reading.json_object(str(row["body"]), "a message"), tries))
            except reading.Unreadable as error:
                logger.warning("it is not delivered: %s", error)
                self.notice_done(row["id"])
        return found

    def notice_done(self, notice: int, *, again_at: float | None = None) -> None:
        """Forget a message, or try it again at that time."""
        if again_at is None:
            self._change("delete from notices where id = ?", notice)
        else:
            self._change("update notices set tries = tries + 1, next_at = ? where id = ?", again_at, notice)

    def is_sound(self) -> bool:
        """False when the file is damaged. Raises LabError for what is no damage: a newer or busy one, a full disk."""
        try:
            self.refuse_newer()
            return bool(self._database().execute("pragma quick_check").fetchone()[0] == "ok")
        except DamagedQueue:
            return False
        except sqlite3.DatabaseError as error:
            problem = _in_words(error, self.path)
            if isinstance(problem, DamagedQueue):
                return False
            raise problem from None

    def close(self) -> None:
        """Close this thread's connection."""
        database = getattr(self._local, "database", None)
        if database is not None:
            database.close()
            self._local.database = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Raises LabError when the queue cannot be written, or not by this account, NewerQueue for one
        of a newer lab."""
        self.refuse_newer()
        database = self._database()
        try:
            database.execute("begin immediate")
            try:
                yield database
            except BaseException:
                if database.in_transaction:
                    database.execute("rollback")
                raise
            if database.in_transaction:
                database.execute("commit")
        except sqlite3.OperationalError as error:
            if database.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("rollback")
            raise _in_words(error, self.path) from None

    @property
    def problem(self) -> str:
        """Why the queue can only be looked at, by this version or by this account; '' for nothing."""
        if not self.exists():
            return ""
        self._database()
        return str(self._local.denied or "")

    def refuse_newer(self) -> None:
        """Raises NewerQueue where a newer lab migrated the queue, LabError where it cannot be opened or written."""
        self._database()
        if self._local.denied is not None:
            raise self._local.denied

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """What is there to be shown; of a newer queue, what this version can read."""
        database = self._database()
        try:
            return database.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            if self._local.denied is None:
                raise _in_words(error, self.path) from None
            return []

    def _jobs(self, statement: str, values: Sequence[Any]) -> list[Job]:
        found = []
        for row in self._rows(statement, values):
            try:
                found.append(job_of(row))
            except (IndexError, ValueError) as error:  # a newer version's, or nobody's
                if self._local.denied is None:
                    logger.warning("a row of the queue is left out: %s", error)
        return found

    def _change(self, statement: str, *values: Any) -> bool:
        with self.transaction() as database:
            return database.execute(statement, values).rowcount > 0

    def _database(self) -> sqlite3.Connection:
        database: sqlite3.Connection | None = getattr(self._local, "database", None)
        if database is not None and _is_same_file(self.path, self._local.inode):
            return database
        self.close()
        try:
            atomic.private_folder(self.folder)
            if self.path.is_symlink():  # whoever may write into the folder must not choose the database
                raise LabError(f"{self.path}: is a link, and no queue is kept behind a link", "remove it")
            with contextlib.suppress(FileExistsError):  # only a new one: to close it would end SQLite's locks on it
                os.close(atomic.open_private(self.path, os.O_EXCL))  # its other files get the mode of this one
            opened = _opened if os.access(self.path, os.W_OK) else _opened_to_look
            database, self._local.denied = opened(self.path)
        except sqlite3.DatabaseError as error:
            raise _in_words(error, self.path) from None
        except OSError as error:
            raise storage_error(error, self.folder) from None
        self._local.database, self._local.inode = database, self.path.stat().st_ino
        return database


def _opened_to_look(path: Path) -> tuple[sqlite3.Connection, LabError]:
    """For an account that may read the queue and not change it: why not, and what it sees."""
    denied = refusal(PermissionError(errno.EACCES, "", str(path)), path) or LabError(f"{path}: cannot be written")
    place = urllib.parse.quote(str(path))
    for way in ("mode=ro", "immutable=1"):  # the second where nobody has it open, and nothing may be made beside it
        database = sqlite3.connect(f"file:{place}?{way}", timeout=BUSY_TIMEOUT_S, isolation_level=None, uri=True)
        try:
            database.row_factory = sqlite3.Row
            database.execute("select 1 from sqlite_master").fetchone()
            return database, denied
        except sqlite3.OperationalError:
            database.close()
    raise denied


def _opened(path: Path) -> tuple[sqlite3.Connection, LabError | None]:
    # while a new file is changed to WAL, SQLite says "locked" at once instead of waiting for others who open it too
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            database.row_factory = sqlite3.Row
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
            if migrate(database, path):  # its supervisor was ended for it, and somebody may wait for one
                start_supervisor(RunStore(path.parents[1]))
        except NewerQueue as error:
            return database, error
        except LabError:
            database.close()
            raise
        except sqlite3.DatabaseError as error:
            database.close()
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        else:
            return database, None
        time.sleep(0.02)


def _is_same_file(path: Path, inode: int) -> bool:
    try:
        return path.stat().st_ino == inode
    except OSError:
        return False


def _in_words(error: sqlite3.Error, path: Path) -> LabError:
    if "locked" in str(error):
        return LabError(f"{path}: the queue was busy for {BUSY_TIMEOUT_S:.0f} s", "try again")
    if is_full_disk(error) or (isinstance(error, sqlite3.OperationalError) and atomic.is_full(path.parent)):
        return StorageFull(f"{path}: the disk is full, so the queue cannot be changed", "free some space")
    kind = DamagedQueue if "malformed" in str(error) or "not a database" in str(error) else LabError
    return kind(f"{path}: the queue cannot be read: {error}", "its supervisor builds it again when it starts")
