"""Is there room for a run? Worded here only: for the header, Machine, every start button and an empty lab."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from core.config.schema import Settings
from core.errors import LabError
from core.jobs import queue_order
from core.words import count, duration
from lab.services import machine, run_actions
from lab.services.machine import DeviceCard
from lab.services.runs import open_store

WAITING = ("queued", "paused")
SHORT_BYTES = 5e9
SHORT_SHARE = 0.03


@dataclass(frozen=True, kw_only=True)
class Room:
    """The devices on which runs start; none where nobody answers for them. free: names of those where one may start
    now; devices: of all of them.

    taken: people outside the lab fill every one. next_s: seconds until a place opens, None when nobody knows. waiting:
    runs in the queue, paused ones too.
    """

    free: tuple[str, ...]
    devices: tuple[str, ...]
    taken: bool = False
    next_s: float | None = None
    waiting: int = 0

    @property
    def in_short(self) -> str:
        """'Room for a run', 'CPU busy', '1 of 2 GPUs free'. Others may compute on a CPU that takes a run."""
        if not self.devices:
            return "No answer"
        kind = self.devices[0].split()[0]
        if self.free == self.devices == (machine.CPU_NAME,):
            return "Room for a run"
        if len(self.devices) == 1:
            return f"{kind} {'free' if self.free else 'busy'}"
        return f"{len(self.free)} of {len(self.devices)} {kind}s free"

    @property
    def sentence(self) -> str:
        """'There is room: GPU 0 is free.', 'No room now; the next place opens in about 2 min.', and who waits."""
        if self.free:
            *rest, last = self.free
            names = f"{', '.join(rest)} and {last}" if rest else last
            first = f"There is room: {names} {'are' if rest else 'is'} free."
            if self.free == (machine.CPU_NAME,):
                first = "There is room: a run can start on the CPU."
        elif not self.devices:
            first = "Nobody says whether there is room: the machines that start runs do not answer."
        elif self.taken:
            first = "No room: others fill every device."
        else:
            first = "No room now" + (
                f"; the next place opens in about {duration(self.next_s)}." if self.next_s is not None else "."
            )
        waits = f" {count(self.waiting)} {'run waits' if self.waiting == 1 else 'runs wait'} in the queue."
        return first + (waits if self.waiting else "")


def room_of(cards: Sequence[DeviceCard], waiting: int) -> Room:
    """What these devices have; the CPU counts where there is no GPU that runs can use."""
    usable = [card for card in cards if card.verdict != "no device"]
    shown = [card for card in usable if card.name != machine.CPU_NAME] or usable
    ends = [entry.expected_end_s for card in shown for entry in card.tenants if entry.expected_end_s is not None]
    return Room(
        free=tuple(card.name for card in shown if card.is_free),
        devices=tuple(card.name for card in shown),
        taken=all(card.verdict == "taken" for card in shown),
        next_s=min(ends, default=None),
        waiting=waiting,
    )


def runs_waiting() -> int:
    """Runs in the queue that do not live, paused ones too."""
    return sum(entry.state in WAITING for entry in run_actions.queue())


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a run that is queued now meets: whether it starts at once, and in words when it starts."""

    at_once: bool
    words: str


def turn_of(settings: Settings, kind: str) -> Turn:
    """The turn of a run of that kind with these settings: on the device that they ask for, with the memory it takes."""
    place = run_actions.next_place(settings, kind)
    if place.at_once:
        return Turn(at_once=True, words="There is room: it starts at once.")
    if place.lacks:
        return Turn(at_once=False, words=f"It waits until there is room. {place.lacks[0].upper()}{place.lacks[1:]}.")
    start_s = expected_start_s(
        [entry.expected_end_s for entry in run_actions.queue() if entry.state != "paused"], place.waiting
    )
    when = f", so it starts in about {duration(start_s)}" if start_s is not None else ""
    return Turn(at_once=False, words=f"No room now: {_before_it(place.waiting)}{when}.")


def _before_it(waiting: int) -> str:
    if not waiting:
        return "it is next"
    return "1 run waits before it" if waiting == 1 else f"{count(waiting)} runs wait before it"


def expected_start_s(ends_s: list[float | None], waiting: int) -> float | None:
    """Seconds until a run that is queued now starts, when every place is taken; None when it cannot be known.

    ends_s: expected ends of all that live or wait. It starts once as many have ended as wait before it, and one more.
    """
    known = sorted(end for end in ends_s if end is not None)
    return known[waiting] if len(known) == len(ends_s) and waiting < len(known) else None


@dataclass(frozen=True, kw_only=True)
class MachineGlance:
    """What the top of every page shows. device_words: a few words per device. disk_free: bytes for runs."""

    room: Room
    device_words: str
    disk_free: int
    disk_is_short: bool


def glance() -> MachineGlance:
    """The machine now; whoever looks keeps the queue served."""
    cards, disk = machine.cards(), machine.machine_now().disk
    waiting = runs_waiting()
    if waiting:
        with contextlib.suppress(LabError):
            queue_order.ensure_supervisor(open_store())
    return MachineGlance(
        room=room_of(cards, waiting),
        device_words=" · ".join(f"{card.name}: {card.why}" for card in cards),
        disk_free=disk.free_bytes,
        disk_is_short=disk.free_bytes < max(SHORT_BYTES, SHORT_SHARE * disk.total_bytes),
    )
