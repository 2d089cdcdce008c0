"""The process that reads what a stranger packed: limited by the kernel, without PyTorch, and writing into one folder.

`python -m core.data.importing.import_child REQUEST`, where REQUEST is JSON as `request_of` makes it.
It leaves `result.json` in the folder: what was found, or the problem in one sentence.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.limited_child import limit_process, teller, write_outcome


def main(request: dict[str, Any]) -> None:
    """Read the source into the folder, and write down how it ended."""
    from core.data.limits import ReadLimits

    limits = ReadLimits(**request["limits"])
    # RLIMIT_DATA: arrays that are mapped from files read-only do not count
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    limit_process(cpu_s=limits.cpu_s, file_bytes=limits.total_bytes)
    folder = Path(request["folder"])
    write_outcome(folder, lambda: _read(request, folder, limits), memory_bytes=limits.memory_bytes)


def _read(request: dict[str, Any], folder: Path, limits: Any) -> dict[str, Any]:
    from core.data.importing.first_images import looked_at
    from core.data.importing.import_arrays import store_arrays
    from core.data.reader.array_sets import ArrayParts, raw_arrays
    from core.data.reader.read import find_set
    from core.data.reader.reading_of_set import Answers

    tell, answers = teller(folder), Answers(**request["answers"])
    found = find_set(Path(request["source"]), answers, limits, follow=False)
    if request["look"]:
        return looked_at(found, answers, limits)
    if isinstance(found, ArrayParts):
        return store_arrays(raw_arrays(found, answers, limits), folder, request["color"], tell)
    return _store(found, folder, limits, request["color"], answers, tell)


def _store(
    found: Any, folder: Path, limits: Any, color: str, answers: Any, tell: Callable[[float], None]
) -> dict[str, Any]:
    """Decode every picture, one after the other."""
    import numpy as np
    from PIL import Image

    from core.data.decoding import GREY_MODES, decode
    from core.data.importing.import_arrays import PartWriter, channels_of, left_out_facts
    from core.data.limits import KEPT_SIDE

    Image.MAX_IMAGE_PIXELS = None  # the header is checked against our own limit, with a better sentence
    seen = found.looked_at(answers, max_pixels=limits.picture_pixels)
    places = {name: place for place, name in enumerate(found.train)}
    total = sum(len(found.members(part)) for part in found.parts)
    done, stored_grey, writers = 0, 0, {}
    options = {"tops": seen.tops, "at_least": KEPT_SIDE, "max_pixels": limits.picture_pixels}
    for part, classes in found.parts.items():
        with PartWriter(folder, part) as writer:
            for name, members in classes.items():
                for member in members:
                    image = decode(member.read(), where=member.where, **options)
                    stored_grey += image.header.mode in GREY_MODES
                    writer.add(image.pixels, np.array([image.header.height, image.header.width]), places[name])
                    done += 1
                    tell(done / total)
        writers[part] = writer
    return {
        "channels": channels_of(writers.values(), stored_grey, color),
        "class_names": list(found.class_names),
        "parts": {part: writer.facts() for part, writer in writers.items()},
        **left_out_facts(found.reading(seen)),
    }


def request_of(source: Path, *, look: bool = False, color: str, folder: Path, limits: Any, answers: Any) -> str:
    """What `main` reads, as one argument. look: give the reading and an image of each class, and store nothing."""
    records = {"limits": asdict(limits), "answers": asdict(answers)}
    return json.dumps({"source": str(source), "look": look, "color": color, "folder": str(folder), **records})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
