"""What an engine is: it gives runs their processes, somewhere, and knows what became of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from core.config.schema import Settings
from core.jobs.queue_entry import NextPlace, Node, QueueEntry, SupervisorState
from core.runs.kinds import Kind
from core.runs.run import Run, Status

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What is believed of a run. is_held(): the engine has not let go of it, as a process of it may still live."""

    status: Status
    is_held: Callable[[], bool]


class Engine(Protocol):
    """How a run ended is read from its folder, never from an exit code alone."""

    def submit(self, runs: Sequence[Run], *, resumed_by: str = "", request: Mapping[str, Any] = NOTHING) -> None:
        """Take the runs in, all or none, in this order; a U-Net waits for its VAE run. Returns before they start.

        resumed_by: who asked to go on with runs that were started before; empty for new ones. request: fields of the
        `JobRequest` of each of them that change; the others stay as their job.json says.
        Raises RunBusy when one of them is taken in already, LabError when one is finished or nothing can be stored.
        """
        ...

    def ask_to_stop(self, run: Run, *, by: str, kills: bool = False, pauses: bool = False) -> None:
        """Ask the run to save and stop; it is asked again of a run that does not follow. Returns at once.

        A run that only waits ends here. kills: every process of it, without saving. pauses: it keeps its place.
        Raises LabError when it is not active.
        """
        ...

    def observe(self, run: Run) -> Observation:
        """Its status, corrected where no living process stands behind it. Reads only, and is cheap."""
        ...

    def forget(self, run: Run) -> None:
        """Nothing of a run that is about to be deleted may start any more. Raises LabError when that is refused."""
        ...


class Elsewhere(Protocol):
    """A queue that another program keeps, for other machines: what stands in the place of this machine's own.

    Only looks, but for `move`, `set_priority` and `tend`; none of them waits long for the other program.
    """

    def entries(self) -> list[QueueEntry]:
        """As `core.jobs.queue_view.queue_view`."""
        ...

    def nodes(self) -> list[Node]:
        """The machines on which runs start; none while nobody answers."""
        ...

    def state(self) -> SupervisorState:
        """Whether it answers, and what is wrong."""
        ...

    def place_for_next(self, settings: Settings, kind: Kind) -> NextPlace:
        """What a run submitted now would meet."""
        ...

    def move(self, run: Run, to: str) -> None:
        """Change a waiting run's place. Raises LabError, which says why not."""
        ...

    def set_priority(self, run: Run, priority: int) -> None:
        """Change a waiting run's priority. Raises LabError, which says why not."""
        ...

    def tend(self) -> None:
        """Write down what became of runs whose processes are gone; cheap."""
        ...

    def once(self, token: str) -> list[str] | None:
        """The first with a token gets None and calls `done`; the others get the run ids it made, [] until then."""
        ...

    def done(self, token: str, run_ids: Sequence[str]) -> None:
        """What the first with this token has made; nothing made frees the token again."""
        ...
