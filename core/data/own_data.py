"""What somebody's own `data.path` holds, read by a limited process; what it makes is a folder of the cache.

A pipe, a dead disk or an archive that would take all memory ends that process, never the one that asks.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.config.schema import DataSettings
from core.data.limits import ReadLimits
from core.errors import LabError, StorageFull
from core.limited_child import FULL, Measured, problem_of, run_limited

Request = dict[str, Any]


def request_of(
    act: str,
    settings: DataSettings,
    *,
    data_dir: Path,
    cache_dir: Path,
    limits: ReadLimits,
    more: Mapping[str, Any] | None = None,
) -> Request:
    """What the process is asked: `act` is one of own_data_child.ACTS, `more` are its own arguments."""
    return {
        "act": act,
        "settings": settings.model_dump(),
        "data_dir": str(data_dir),
        "cache_dir": str(cache_dir),
        "limits": asdict(limits),
        "more": dict(more or {}),
    }


def read(
    request: Request,
    *,
    report: Callable[[str, float], None] = lambda stage, fraction: None,
    cancelled: Callable[[], bool] = lambda: False,
    measured: Callable[[Measured], None] | None = None,
) -> str:
    """What the act found: a folder of the cache, or what was looked at.

    report(stage, fraction) as the act reports. Raises what the act raises, a LabError of the same kind.
    """
    cache_dir = Path(request["cache_dir"])
    where = next((folder for folder in (cache_dir, *cache_dir.parents) if folder.is_dir()), Path("/"))
    limits = ReadLimits(**request["limits"])
    try:
        with tempfile.TemporaryDirectory(prefix="lab-reading-") as folder:
            outcome = run_limited(
                "core.data.own_data_child",
                json.dumps(request),
                Path(folder),
                wall_s=limits.wall_s,
                cpu_s=limits.cpu_s,
                what="a set of images",
                environment={"TMPDIR": str(where), "HOME": os.environ.get("HOME", "/")},
                progress=lambda told: report(*told),
                cancelled=cancelled,
                measured=measured,
            )
    except OSError as error:
        kind = StorageFull if error.errno in FULL else LabError
        words = f"{tempfile.gettempdir()}: cannot be written ({error.strerror or error})"
        raise kind(words, "free some space, or set TMPDIR") from None
    if "found" not in outcome:
        raise problem_of(outcome, begins=f"data.path: {request['settings']['path']}")
    return str(outcome["found"])
