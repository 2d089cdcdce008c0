"""What an engine is: it gives runs their processes, somewhere, and knows what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.runs.run import Run, Status


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What is believed of a run. is_held(): the engine has not let go of it, as a process of it may still live."""

    status: Status
    is_held: Callable[[], bool]


class Engine(Protocol):
    """How a run ended is read from its folder, never from an exit code alone."""

    def submit(self, runs: Sequence[Run], *, resumed_by: str = "", priority: int = 0) -> None:
        """Take the runs in, all or none, in this order; a U-Net waits for its VAE run. Returns before they start.

        resumed_by: who asked to go on with runs that were started before; empty for new ones. priority: higher first.
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
