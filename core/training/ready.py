"""Whether a training can begin: what is looked at before a run exists. Light: PyTorch is not imported for it."""

from __future__ import annotations

from pathlib import Path

from core.config.schema import Settings
from core.data.arrays import prepare
from core.device import check_device
from core.rules import NEWEST, Rules
from core.training.trackers import check_trackers


def check_ready(settings: Settings, *, data_dir: Path, cache_dir: Path, rules: Rules = NEWEST) -> None:
    """Everything that can be known to be wrong before a run folder exists, beside what the schema refuses.

    The dataset lies in the cache afterwards, read by these rules. Raises a LabError with one sentence.
    """
    check_device(settings.machine.device)
    check_trackers(settings.logging.trackers)
    prepare(settings.data, data_dir=data_dir, cache_dir=cache_dir, rules=rules)
