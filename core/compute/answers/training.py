"""What the Train page asks before a run exists: whether it can begin, and what it will cost."""

from __future__ import annotations

import threading
from pathlib import Path

from core.compute.answers.models import free_gpu
from core.compute.question import Tell
from core.config.schema import Settings
from core.rules import NEWEST, Rules
from core.training import ready
from core.training.cost import Probe
from core.training.probe import probe

_ONE_AT_A_TIME = threading.Lock()


def check_ready(tell: Tell, settings: Settings, data_dir: Path, cache_dir: Path, rules: Rules = NEWEST) -> None:
    """Raises a LabError for what can be known to be wrong before a run folder exists."""
    ready.check_ready(settings, data_dir=data_dir, cache_dir=cache_dir, rules=rules)


def measure_cost(tell: Tell, settings: Settings, part: str) -> Probe:
    """The cost of training 'vae' or 'unet', from a few real steps."""
    with _ONE_AT_A_TIME:
        try:
            return probe(settings, part)
        finally:
            free_gpu()
