"""Every value of every file of a lab, replaced by every wild one: what breaks a look at the lab, and how.

    python -m benchmarks.wild_values --seconds 600 [--only NAME] [--pages]

With --pages every page is opened too. The short form is tests/core/test_wild_values.py. Prints each distinct way to
break something with an example, and how many variants were looked at; exit code 1 when one broke something.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests import wild

ROOT = Path(__file__).resolve().parents[1]


def variants(content: bytes) -> Iterator[tuple[str, bytes]]:
    """(what is wrong with it, contents)."""
    yield "nothing in it", b""
    yield "random bytes", bytes(random.Random(0).randbytes(200))
    yield "cut", content[: len(content) // 2]
    lines = content.splitlines()
    at = len(lines) - 1 if len(lines) > 1 and lines[0].endswith(b"}") else None
    document = json.loads(content if at is None else lines[at])
    for place in wild.places_in(document):
        changes = [(f"{place} = {str(value)[:40]!r}", wild.with_value(document, place, value)) for value in wild.WILD]
        for words, changed in [*changes, (f"no {place}", wild.without(document, place))]:
            text = json.dumps(changed).encode()
            yield words, text if at is None else b"\n".join([*lines[:at], text, b""])


def open_pages(root: Path, path: Path) -> None:
    """As a browser would. Raises AssertionError with what a page's exception says."""
    from streamlit.testing.v1 import AppTest

    part = path.relative_to(root).parts
    runs = [part[1]] if part[0] == "runs" and "-" in part[1] else []
    for page, *run in [
        ("overview",),
        ("runs",),
        *(("runs", run) for run in runs),
        ("machine",),
        ("generate",),
        *(("schedulers", run) for run in runs),
        ("train",),
        ("data",),
    ]:
        app = AppTest.from_file(str(ROOT / "lab" / "Home.py"), default_timeout=120)
        app.user = {}
        app.switch_page(f"../pages/{page}.py")
        if run:
            app.query_params["run"] = run[0]
        app.run()
        if app.exception:
            raise AssertionError(f"page {page}: {app.exception[0].message} {app.exception[0].stack_trace[-3:]}"[:900])


def main() -> int:
    """Look at as many as there is time for, in an order drawn by chance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--only", default="", help="files whose name holds this")
    parser.add_argument("--pages", action="store_true", help="open every page too, seconds each")
    arguments = parser.parse_args()
    logging.disable()  # each file that is left out is one sentence there
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ.update({f"LAB_{name.upper()}": str(root / name) for name in ("runs", "imports", "models", "cache")})
        wild.made(root)
        files = {name: path for name, path in wild.files_of(root).items() if arguments.only in name}
        found = [(name, path, *each) for name, path in files.items() for each in variants(path.read_bytes())]
        random.Random(1).shuffle(found)
        started, broken, looked = time.monotonic(), {}, 0
        for name, path, words, content in found:
            if time.monotonic() - started > arguments.seconds:
                break
            looked += 1
            before = path.read_bytes()
            wild.put(path, content)
            try:
                wild.look_at(root, path)
                if arguments.pages:
                    open_pages(root, path)
            except Exception as error:
                frames = traceback.extract_tb(error.__traceback__)
                ours = [frame for frame in frames if "/tests/" not in frame.filename] or frames
                where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {type(error).__name__}: {str(error)[:700]}"
                key = where if isinstance(error, AssertionError) else where.partition(" ")[0]
                if key not in broken:
                    broken[key] = f"{name}, {words}: {where}"
                    print(broken[key], flush=True)
            finally:
                wild.put(path, before)
    print(
        f"{len(files)} files, {looked:,} of {len(found):,} variants in {time.monotonic() - started:.0f} s, "
        f"{len(broken)} ways to break something"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
