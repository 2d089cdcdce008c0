"""Experiment trackers that people live in (TensorBoard, W&B, …) get every logged line as well, through Accelerate."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.config.schema import Settings, field_rows
from core.errors import UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "comet_ml": ("comet_ml",),
    "aim": ("aim",),
    "mlflow": ("mlflow",),
    "clearml": ("clearml",),
    "dvclive": ("dvclive",),
}


def check_trackers(names: Sequence[str]) -> None:
    """Raises UsageError for a tracker whose package is not installed here."""
    for name in names:
        if not any(importlib.util.find_spec(package) for package in PACKAGES[name]):
            raise UsageError(f"logging.trackers: '{name}' is not installed", f"pip install {PACKAGES[name][0]}")


class Trackers:
    """The trackers of one run. A tracker that fails is told once in the log and never stops the training."""

    def __init__(self, accelerator: Accelerator, settings: Settings, run_id: str) -> None:
        self.accelerator = accelerator
        self.works = bool(settings.logging.trackers)
        if self.works:
            self._try(lambda: accelerator.init_trackers(run_id, config=flat(settings)))

    def log(self, line: Mapping[str, Any], step: int) -> None:
        """A line of metrics.jsonl; what is not a number stays out."""
        if self.works:
            numbers = {key: value for key, value in line.items() if key != "step" and isinstance(value, int | float)}
            self._try(lambda: self.accelerator.log(numbers, step=step))

    def close(self) -> None:
        """Let them write what they hold back."""
        if self.works:
            self._try(lambda: [tracker.finish() for tracker in self.accelerator.trackers])

    def _try(self, act: Any) -> None:
        try:
            act()
        except Exception as error:  # a foreign program's trouble is not the training's
            self.works = False
            logger.warning("a tracker failed and gets no more lines: %s: %s", type(error).__name__, error)


def flat(settings: Settings) -> dict[str, Any]:
    """All settings as plain values by dotted name, as trackers want them."""
    found: dict[str, Any] = {}
    for name, _ in field_rows():
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part)
        found[name] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
