"""A bar on stderr while a command works; lines where stderr is no terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from core.jobs.plain_lines import progress_stream

LINE_EVERY_S = 2.0


@contextlib.contextmanager
def progress_bar(begins_after_s: float = 0.5) -> Iterator[Callable[[str, float], None]]:
    """What the work calls with its stage and how far it is, 0 to 1; full when the block ends well.

    Work that ends within `begins_after_s` (2 s in a pipe) shows nothing.
    """
    from tqdm import tqdm

    pause = begins_after_s if sys.stderr.isatty() else LINE_EVERY_S
    options = {"file": progress_stream(), "delay": pause, "mininterval": min(pause, LINE_EVERY_S)}
    with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed} {postfix}", **options) as bar:

        def show(text: str, fraction: float) -> None:
            bar.set_postfix_str(text, refresh=False)
            bar.update(max(0, round(100 * fraction) - bar.n))

        yield show
        bar.update(100 - bar.n)
