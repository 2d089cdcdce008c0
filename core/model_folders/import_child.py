"""The process that reads a stranger's model: limited by the kernel, without PyTorch until all else was checked.

`python -m core.model_folders.import_child REQUEST`, where REQUEST is JSON: source, name, data_set, folder, limits.
It leaves the accepted files under `model/` in the folder, and `result.json`:
what was found, or the problem in one sentence.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core import atomic
from core.errors import quoted
from core.limited_child import limit_process, status_bytes, write_outcome
from core.model_folders.cheap_checks import check_cheaply
from core.model_folders.model_facts import LAB_FILE
from core.model_folders.model_files import MAX_TOTAL_BYTES, ModelRefused, read_model_files
from core.model_folders.model_zip import read_model_zip
from core.model_folders.weight_files import with_whole_weights

KEPT = "model"
SPARE_BYTES = 256 * 2**20
COPIES = 4  # of a file at a time: its bytes, its tensors, in half precision their float32


@dataclass(frozen=True, kw_only=True)
class ModelLimits:
    """total_bytes: all files together. spare_bytes: memory beside four times the model's own size, PyTorch not counted.

    cpu_s and memory bind the child by the kernel, wall_s by its parent.
    """

    total_bytes: int = MAX_TOTAL_BYTES
    spare_bytes: int = SPARE_BYTES
    cpu_s: int = 600
    wall_s: float = 1200.0


LIMITS = ModelLimits()


def main(request: dict[str, Any]) -> None:
    """Read the source into the folder, and write down how it ended."""
    limits = ModelLimits(**request["limits"])
    limit_process(cpu_s=limits.cpu_s, file_bytes=limits.total_bytes)
    write_outcome(
        Path(request["folder"]),
        lambda: read(request, allow=lambda size: _limit_memory(size, limits.spare_bytes)),
        memory_bytes=limits.spare_bytes,
    )


def read(request: dict[str, Any], *, allow: Callable[[int | None], None]) -> dict[str, Any]:
    """Read, check and write the files. allow: told how many bytes may be taken from here on, None for no limit.

    Raises ModelRefused, UsageError for a dataset that cannot be, OSError.
    """
    source, most = Path(request["source"]), int(request["limits"]["total_bytes"])
    allow(0)
    try:
        reader = read_model_files if source.is_dir() else read_model_zip
        files = reader(source, most=most, sized=allow)
        if LAB_FILE not in files:
            allow(sum(map(len, files.values())))
            files = with_whole_weights(files)
        check_cheaply(files, data_set=request["data_set"])
        allow(None)  # PyTorch takes what it takes
        from core.model_folders.import_diffusers import accepted

        allow(COPIES * sum(map(len, files.values())))
        kept = accepted(files, name=request["name"], data_set=request["data_set"])
        atomic.write_folder(Path(request["folder"]) / KEPT, kept)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        raise ModelRefused(
            f"{quoted(source.name)}: takes more memory to read than a model of its size needs",
            "it is not a usual model",
        ) from None
    return {"files": len(kept)}


def _limit_memory(more: int | None, spare: int) -> None:
    """No more than so many bytes beside what the process holds now."""
    most = resource.RLIM_INFINITY if more is None else status_bytes("self", "VmData") + more + spare
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))


def request_of(source: Path, *, name: str, data_set: str, folder: Path, limits: ModelLimits) -> str:
    """What `main` reads, as one argument."""
    return json.dumps(
        {"source": str(source), "name": name, "data_set": data_set, "folder": str(folder), "limits": asdict(limits)}
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
