"""The process that reads what a stranger packed: limited by the kernel, without PyTorch, and writing into one folder.

`python -m core.data.importing.import_child REQUEST`, where REQUEST is JSON: source, kind, color, folder, limits.
It leaves `result.json` in the folder: what was found, or the problem in one sentence.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.limited_child import limit_process, teller, write_outcome


def main(request: dict[str, Any]) -> None:
    """Read the source into the folder, and write down how it ended."""
    from core.data.limits import ReadLimits

    limits = ReadLimits(**request["limits"])
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    limit_process(cpu_s=limits.cpu_s, file_bytes=limits.total_bytes)
    folder = Path(request["folder"])
    write_outcome(folder, lambda: _read(request, folder, limits), memory_bytes=limits.memory_bytes)


def _read(request: dict[str, Any], folder: Path, limits: Any) -> dict[str, Any]:
    from core.data.importing.import_arrays import read_npz
    from core.data.importing.picture_tree import folder_tree, zip_tree

    source, tell = Path(request["source"]), teller(folder)
    if request["kind"] == "npz":
        return read_npz(source, folder, limits, request["color"], tell)
    if request["kind"] == "folder":
        return _read_tree(folder_tree(source, limits), folder, limits, request["color"], tell)
    archive, tree = zip_tree(source, limits)
    with archive:
        return _read_tree(tree, folder, limits, request["color"], tell)


def _read_tree(tree: Any, folder: Path, limits: Any, color: str, tell: Callable[[float], None]) -> dict[str, Any]:
    """Decode every picture, one after the other."""
    import numpy as np
    from PIL import Image

    from core.data.decoding import GREY_MODES, read_header, read_picture
    from core.data.importing.import_arrays import PartWriter, channels_of
    from core.data.imports import MOST_KINDS
    from core.data.limits import KEPT_SIDE

    Image.MAX_IMAGE_PIXELS = None  # the header is checked against our own limit, with a better sentence
    splits = {"train": tree.train, **({"heldout": tree.heldout} if tree.heldout else {})}
    total = sum(len(members) for classes in splits.values() for members in classes.values())
    done, stored_grey = 0, 0
    places = {name: place for place, name in enumerate(tree.train)}
    writers = {}
    for part, classes in splits.items():
        with PartWriter(folder, part) as writer:
            for name, members in classes.items():
                for member in members:
                    data = io.BytesIO(member.read())
                    limit = {"where": f"'{member.path}'", "max_pixels": limits.picture_pixels}
                    header = read_header(data, **limit)
                    data.seek(0)
                    pixels = read_picture(data, at_least=KEPT_SIDE, **limit)
                    stored_grey += header.mode in GREY_MODES
                    writer.add(pixels, np.array([header.height, header.width]), places[name])
                    done += 1
                    tell(done / total)
        writers[part] = writer
    return {
        "channels": channels_of(writers.values(), stored_grey, color),
        "class_names": list(tree.train),
        "left_out": sum(tree.left_out.values()),
        "left_out_kinds": dict(Counter(tree.left_out).most_common(MOST_KINDS)),
        "parts": {part: writer.facts() for part, writer in writers.items()},
    }


def request_of(source: Path, *, kind: str, color: str, folder: Path, limits: Any) -> str:
    """What `main` reads, as one argument."""
    return json.dumps(
        {"source": str(source), "kind": kind, "color": color, "folder": str(folder), "limits": asdict(limits)}
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
