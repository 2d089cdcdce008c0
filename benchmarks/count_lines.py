"""Lines of code by room: no docstring, comment or blank line, counted as `ruff format` leaves the code without skips.

`python -m benchmarks.count_lines CHECKOUT [CHECKOUT …]`: one column per checkout.
"""

from __future__ import annotations

import ast
import io
import re
import shutil
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from pathlib import Path

PRODUCT = ("core", "lab", "pages")
NOT_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def lines_of(source: str) -> int:
    """Lines that hold code."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


def rooms_of(checkout: Path) -> Counter[str]:
    """Room → lines."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for folder in PRODUCT:
            shutil.copytree(checkout / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(checkout / "pyproject.toml", copy)
        files = list(copy.rglob("*.py"))
        for path in files:
            path.write_text(re.sub(r" *# fmt: skip", "", path.read_text()))
        subprocess.run([sys.executable, "-m", "ruff", "format", "-q", "."], cwd=copy, check=True)
        for path in files:
            parts = path.relative_to(copy).parts
            found["/".join(parts[:2]) if len(parts) > 2 else parts[0]] += lines_of(path.read_text())
    return found


def main() -> None:
    """A table, and its sum."""
    counts = [rooms_of(Path(checkout)) for checkout in sys.argv[1:]]
    for room in sorted(set().union(*counts)):
        print(f"{room:20}", *(f"{count[room]:7,}" for count in counts))
    print(f"{'sum':20}", *(f"{sum(count.values()):7,}" for count in counts))


if __name__ == "__main__":
    main()
