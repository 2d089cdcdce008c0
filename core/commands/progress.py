"""A bar on stderr while a command works; lines where stderr is no terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

from core.jobs.plain_lines import progress_stream

LINE_EVERY_S = 2.0
BEAT_S = 10.0  # into a file a line now and then is enough


@contextlib.contextmanager
def progress_bar(stage: str = "", *, begins_after_s: float | None = None) -> Iterator[Callable[[str, float], None]]:
    """What the work calls with its stage and how far it is, 0 to 1; full when the block ends well.

    stage: what it does until it calls. The time goes on also while the work says nothing. Work that ends within
    `begins_after_s` (0.5 s on a terminal, 2 s in a pipe) shows nothing.
    """
    from tqdm import tqdm

    is_terminal = sys.stderr.isatty()
    pause = begins_after_s if begins_after_s is not None else 0.5 if is_terminal else LINE_EVERY_S
    ended = threading.Event()
    with tqdm(
        total=100,
        unit="%",
        bar_format="{l_bar}{bar}| {elapsed} {postfix}",
        file=progress_stream(),
        delay=pause,
        mininterval=min(pause, LINE_EVERY_S),
        disable=False,
    ) as bar:
        bar.set_postfix_str(stage, refresh=False)

        def show(text: str, fraction: float) -> None:
            bar.set_postfix_str(text, refresh=False)
            bar.update(max(0, round(100 * fraction) - bar.n))

        def beat() -> None:
            wait = pause
            while not ended.wait(wait):
                bar.refresh()
                wait = pause if is_terminal else BEAT_S

        beats = threading.Thread(target=beat, daemon=True)
        beats.start()
        try:
            yield show
        finally:
            ended.set()
            beats.join()
        bar.update(100 - bar.n)
