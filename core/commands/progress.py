"""A bar on stderr while a command measures."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """What the measurement calls with its stage and how far it is, 0 to 1; full when the block ends well."""
    from tqdm import tqdm

    with tqdm(total=100, unit="%", file=sys.stderr, bar_format="{l_bar}{bar}| {elapsed} {postfix}") as bar:

        def show(text: str, fraction: float) -> None:
            bar.set_postfix_str(text, refresh=False)
            bar.update(max(0, round(100 * fraction) - bar.n))

        yield show
        bar.update(100 - bar.n)
