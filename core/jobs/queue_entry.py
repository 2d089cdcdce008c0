"""What a queue shows of its runs and machines, whoever keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from core.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Of a run that waits: its owner's part, 0 to 1, of the last 7 days, and how many runs of others go before it."""

    share: float
    behind: int


@dataclass(frozen=True, kw_only=True)
class QueueEntry:
    """One run that waits or lives. place: 1 is next, 0 lives already. device: where it runs, or the setting.

    expected_start_s, expected_end_s: seconds from now; None when nothing like it has run here yet. made_room: for whom
    it was interrupted, in words; '' for any other.
    """

    run: Run
    state: str
    place: int
    priority: int
    owner: str
    device: str
    slots: tuple[str, ...]
    waits_for: str
    expected_start_s: float | None
    expected_end_s: float | None
    started_at: str
    standing: Standing | None = None
    made_room: str = ""


@dataclass(frozen=True, kw_only=True)
class SupervisorState:
    """Whether one lives, since when, and what it complains about. name: who serves the queue."""

    alive: bool
    started_at: str = ""
    problem: str = ""
    name: str = "the supervisor"


@dataclass(frozen=True, kw_only=True)
class NextPlace:
    """What a run queued now would meet. waiting: how many wait before it. lacks: memory that it waits for, in words."""

    at_once: bool
    waiting: int
    lacks: str = ""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine on which runs start when that is not this one. gpus: of them used_gpus are taken; 0 without any.

    state: what its queue says of it, in words; takes_runs: whether a run could start on it now, were there room.
    """

    name: str
    state: str
    gpus: int
    used_gpus: int
    takes_runs: bool
