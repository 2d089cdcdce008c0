"""The process that reads `data.path`: limited by the kernel, without PyTorch, writing into the cache alone.

`python -m core.data.own_data_child REQUEST`, where REQUEST is JSON as `own_data.request_of` makes it. It leaves
`result.json` in the folder that it is started in.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.config.schema import DataSettings
from core.data.arrays import arrays_folder, list_own_files
from core.data.limits import ReadLimits
from core.data.overview import described_folder
from core.limited_child import limit_process, teller, write_outcome
from core.rules import Rules

NO_LIMIT = 2**50  # bytes of a file: how much is written is checked against the free space before
ACTS: Mapping[str, Callable[..., Path]] = {
    "arrays": arrays_folder,
    "overview": described_folder,
    "files": list_own_files,
}


def main(request: dict[str, Any]) -> None:
    """Do what is asked, and write down how it ended."""
    limits = ReadLimits(**{**request["limits"], "roots": tuple(request["limits"]["roots"])})
    # RLIMIT_DATA: arrays that are mapped from files read-only do not count
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    limit_process(cpu_s=limits.cpu_s, file_bytes=NO_LIMIT)
    tell = teller(Path.cwd())

    more = dict(request["more"])
    if "rules" in more:
        more["rules"] = Rules(**more["rules"])

    def act() -> str:
        made = ACTS[request["act"]](
            DataSettings.model_validate(request["settings"]),
            data_dir=Path(request["data_dir"]),
            cache_dir=Path(request["cache_dir"]),
            limits=limits,
            report=lambda stage, fraction: tell([stage, fraction]),
            **more,
        )
        return str(made)

    write_outcome(Path.cwd(), act, memory_bytes=limits.memory_bytes)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
