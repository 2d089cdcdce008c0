"""The tables of the queue and how they came to be: `pragma user_version` counts the migrations a file has been through.

Of many that open an old queue at once exactly one migrates it, in one transaction. The supervisor of the older lab is
ended before, so that no code works on tables that it does not know; its runs live on, each under a shim of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from pathlib import Path

from core import reading
from core.errors import LabError
from core.jobs.accounts import is_shared
from core.jobs.serving import FACTS_NAME, LOCK_NAME, facts_of
from core.machine import attempts
from core.machine.processes import is_alive
from core.runs.lock import is_locked
from core.runs.run import ProcessIdentity

FORMAT = 4
END_S = 30.0
_JOBS = {  # column → what it is; older tables get what they lack. Only 57d6eac writes boot_id, stop_… and pauses
    "run_id": "text primary key",
    "place": "real not null",
    "state": "text not null",
    "priority": "integer not null default 0",
    "owner": "text not null default ''",
    "device": "text not null default 'auto'",
    "num_processes": "integer not null default 1",
    "depends_on": "text not null default '[]'",
    "environment": "text not null default '{}'",
    "code": "text not null default ''",
    "attempt": "integer not null default 0",
    "slots": "text not null default '[]'",
    "boot_id": "text not null default ''",
    "stop_level": "integer not null default 0",
    "stop_by": "text not null default ''",
    "pauses": "integer not null default 0",
    "fruitless": "integer not null default 0",
    "last_step": "integer not null default -1",
    "waits_for": "text not null default ''",
    "queued_at": "text not null default ''",
    "started_at": "text not null default ''",
    "ended_at": "text not null default ''",
    "uid": "integer not null default -1",
    "request": "text not null default '{}'",
}
_TABLES = (
    f"create table if not exists jobs({', '.join(f'{name} {kind}' for name, kind in _JOBS.items())})",
    "create index if not exists jobs_order on jobs(state, priority desc, place)",
    "create table if not exists leases(slot text primary key, run_id text not null)",
    "create table if not exists tokens(token text primary key, run_ids text not null default '', at text not null)",
    "create table if not exists speeds(signature text not null, s_per_step real not null, at text not null)",
    "create table if not exists notices(id integer primary key autoincrement, body text not null,"
    " tries integer not null default 0, next_at real not null)",
)


class NewerQueue(LabError):
    """The queue was migrated by a newer version of the lab."""


def migrate(database: sqlite3.Connection, path: Path) -> bool:
    """Bring the tables to FORMAT, all of it or nothing. Returns whether a supervisor was ended for it.

    database: in autocommit mode. path: the file, beside which the supervisor keeps its lock and its facts. Raises
    NewerQueue, and LabError when the older supervisor does not end.
    """
    if _format_of(database, path) == FORMAT:
        return False
    is_new = not database.execute("select 1 from sqlite_master").fetchone()
    ended = not is_new and end_older_supervisor(path.parent)
    database.execute("begin immediate")
    try:
        before = _format_of(database, path)
        if before == 0:
            _to_1(database, path.parents[1])
        if before < 2:
            _to_2(database, path.parents[1])
        _to_3(database)
        _add_columns(database)  # 4: what belongs to the request for a run
        database.execute(f"pragma user_version = {FORMAT}")
        database.execute("commit")
    except BaseException:
        if database.in_transaction:
            database.execute("rollback")
        raise
    return ended


def _format_of(database: sqlite3.Connection, path: Path) -> int:
    found = int(database.execute("pragma user_version").fetchone()[0])
    if words := reading.newer(found, FORMAT):
        raise NewerQueue(f"{path}: {words}", "use that version here, or another runs folder: LAB_RUNS")
    return found


def _to_1(database: sqlite3.Connection, runs: Path) -> None:
    """The tables of 57d6eac, and of what came before: columns that are missing get their defaults.

    What it was asked in the table goes into the stop.json of live runs; waiting ones lose what an earlier attempt was
    asked. A run folder that cannot be written keeps its columns.
    """
    database.execute(_TABLES[0])
    _add_columns(database)
    for statement in _TABLES[1:]:
        database.execute(statement)
    for (run_id,) in database.execute("select run_id from jobs where state = 'queued'").fetchall():
        with contextlib.suppress(OSError):
            attempts.withdraw_stop(runs / run_id)
    asked = "select run_id, attempt, stop_level, stop_by, pauses from jobs where state = 'live' and stop_level > 0"
    for run_id, attempt, level, by, pauses in database.execute(asked).fetchall():
        before = attempts.stop_of(runs / run_id, attempt)
        at = before.at if before else time.time()
        with contextlib.suppress(OSError):
            request = attempts.StopRequest(level=level, by=by, at=at, pauses=bool(pauses))
            attempts.write_stop(runs / run_id, attempt, request)
            database.execute("update jobs set stop_level = 0, stop_by = '', pauses = 0 where run_id = ?", (run_id,))


def _to_2(database: sqlite3.Connection, runs: Path) -> None:
    """Rows belong to accounts: those of before to whoever owns the run's folder."""
    if "uid" not in {row[1] for row in database.execute("pragma table_info(jobs)").fetchall()}:
        database.execute(f"alter table jobs add column uid {_JOBS['uid']}")
    for (run_id,) in database.execute("select run_id from jobs").fetchall():
        with contextlib.suppress(OSError, ValueError):
            uid = (runs / str(run_id)).stat().st_uid
            database.execute("update jobs set uid = ? where run_id = ?", (uid, run_id))


def _to_3(database: sqlite3.Connection) -> None:
    """What was used of the slots; nothing is known of the time before."""
    database.execute(
        "create table if not exists uses(owner text not null, slots integer not null, started_s real not null,"
        " ended_s real not null)"
    )


def _add_columns(database: sqlite3.Connection) -> None:
    known = {row[1] for row in database.execute("pragma table_info(jobs)").fetchall()}
    for name, kind in _JOBS.items():
        if name not in known:
            database.execute(f"alter table jobs add column {name} {kind}")


def end_older_supervisor(folder: Path) -> bool:
    """Ask the supervisor of an older lab to end, and wait until it has. False where none lives or it is no older.

    Raises LabError when it does not end, or belongs to somebody else.
    """
    deadline = time.monotonic() + END_S
    asked: ProcessIdentity | None = None
    while is_locked(folder / LOCK_NAME):
        facts = facts_of(folder)
        identity, number = facts.process, facts.queue_format
        if number >= FORMAT or (identity is not None and identity.pid == os.getpid()):
            return False
        if identity is not None and identity != asked and is_alive(identity):
            asked = identity
            try:
                _check_believed(folder)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(identity.pid, signal.SIGTERM)
            except PermissionError:
                deadline = 0.0
        if time.monotonic() > deadline:
            who = f" (pid {identity.pid})" if identity else ""
            raise LabError(
                f"{folder}: the queue is still served by a supervisor of an older version of the lab{who}",
                f"end it: kill {identity.pid if identity else 'PID'}; its runs continue",
            )
        time.sleep(0.05)
    return asked is not None


def _check_believed(folder: Path) -> None:
    """Raises PermissionError where somebody else wrote which process serves: they could name any process of ours."""
    if is_shared(folder.parent) and (folder / FACTS_NAME).lstat().st_uid != os.geteuid():
        raise PermissionError
