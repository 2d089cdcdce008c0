"""What a training's time goes to, for its log: checkpoints, validation and previews apart from the steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Spent:
    """Seconds by part, from its making on; what no part claims are the steps."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """What is done inside belongs to that part."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - began

    def in_words(self) -> str:
        """'training took 34.21 s: steps 31.50 s, previews 1.20 s, …'."""
        whole = time.monotonic() - self.began
        parts = {"steps": whole - sum(self.seconds.values()), **self.seconds}
        return f"training took {whole:.2f} s: " + ", ".join(f"{name} {value:.2f} s" for name, value in parts.items())
