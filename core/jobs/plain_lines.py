"""Progress where nobody watches: whole lines in files and pipes, never a carriage return."""

from __future__ import annotations

import sys
from typing import TextIO


class PlainLines:
    """What tqdm writes to, instead of a terminal: each state of a bar becomes a line, repetitions are left out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""

    def write(self, text: str) -> int:
        """Write the text as one line, without the characters that move a cursor."""
        line = text.replace("\r", "").strip()
        if line and line != self._last:
            self._stream.write(f"{line}\n")
            self._last = line
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._stream.flush()


WITHOUT_BARS = {"TQDM_DISABLE": "1"}  # of a process: bars of other packages; ours say `disable=False`


def progress_stream() -> TextIO | PlainLines:
    """Where bars are drawn: stderr itself on a terminal, lines of stderr elsewhere."""
    return sys.stderr if sys.stderr.isatty() else PlainLines(sys.stderr)
