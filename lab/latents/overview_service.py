"""What the Latents page opens with: a hundred pictures at once, a thousand and then all of them while one reads.

The rest goes on when the page is left and is shared by everybody who looks; what is kept in the cache opens at once
the next time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from core.bounded_cache import BoundedCache
from core.compute.questions import LOOK_AT_LATENTS, MEASURE_LATENTS
from core.errors import LabError
from core.latent.inspection.overview import LatentOverview, read_overview
from core.latent.inspection.vae_source import FEW, FIRST, MOST, LatentSubject
from lab.latents import vae_service
from lab.latents.vae_service import Chosen, asked_vae
from lab.services import background
from lab.services.background import Tell, Work
from lab.services.computing import asked
from lab.services.settings import current_site

MAX_OVERVIEWS = 12


def best_known(chosen: Chosen) -> LatentOverview | None:
    """The overview over the most pictures that is at hand; None before the first look. Raises a LabError."""
    for limit in (MOST, FEW):
        found = kept_overview(chosen, limit)
        if found is not None:
            return found
    return overviews().get(_key(chosen, FIRST))


def kept_overview(chosen: Chosen, limit: int) -> LatentOverview | None:
    """What was measured before over that many pictures and is kept on disk, or None. Raises a LabError."""
    key = _key(chosen, limit)
    found = overviews().get(key)
    if found is None:
        found = read_overview(_about(chosen, limit), current_site().cache)
        if found is not None:
            overviews().put(key, found)
    return found


def is_whole(chosen: Chosen, found: LatentOverview) -> bool:
    """Whether it is of all held-out pictures, at most 10,000."""
    return len(found.labels) == total(chosen)


def total(chosen: Chosen) -> int:
    """How many pictures are measured in the end."""
    return len(_about(chosen, MOST).labels)


def begin_first_look(chosen: Chosen) -> Work:
    """A look at the first hundred pictures."""
    key, look = _key(chosen, FIRST), asked(LOOK_AT_LATENTS, asked_vae(chosen, FIRST), current_site())
    return vae_service.begin(chosen, "first-look", lambda tell, cancelled: overviews().put(key, look(tell, cancelled)))


def rest(chosen: Chosen) -> Work:
    """The work that measures all pictures: begun at the first question, and found again, done or not."""
    key = f"latents-rest-{asked_vae(chosen, MOST).key}"

    def task(tell: Tell, cancelled: Callable[[], bool]) -> None:
        tell("waiting for another VAE to be measured", 0.0)
        with _line().turn(key, cancelled):
            for limit in (FEW, MOST):
                if kept_overview(chosen, limit) is None:
                    measure(chosen, limit, tell, cancelled, polite=True)

    return background.find(key) or background.begin(key, task)


def measure_again(work: Work) -> None:
    """Forget how it ended, so that the next question begins it anew."""
    background.forget(work)


def make_few(chosen: Sequence[Chosen]) -> Callable[[Tell, Callable[[], bool]], list[LatentOverview]]:
    """The task that looks at the first thousand pictures with each of several VAEs: the same for all of a dataset."""
    return lambda tell, cancelled: [kept_overview(each, FEW) or measure(each, FEW, tell, cancelled) for each in chosen]


def begin_few(chosen: Sequence[Chosen]) -> Work:
    """`make_few` in the background."""
    return vae_service.begin(chosen[0], few_name(chosen), make_few(chosen))


def find_few(chosen: Sequence[Chosen]) -> Work | None:
    """That work while it runs."""
    return vae_service.running(chosen[0], few_name(chosen))


def few_name(chosen: Sequence[Chosen]) -> str:
    """Of that work."""
    return "few-" + "+".join(asked_vae(each, FEW).key for each in chosen)


def measure(
    chosen: Chosen, limit: int, tell: Tell, cancelled: Callable[[], bool], *, polite: bool = False
) -> LatentOverview:
    """Have that many pictures measured, and kept in memory and on disk. Raises a LabError."""
    asked(MEASURE_LATENTS, asked_vae(chosen, limit), current_site(), polite)(tell, cancelled)
    found = kept_overview(chosen, limit)
    if found is None:
        raise LabError(f"{current_site().cache}: what was just written there cannot be read", "look at its disk")
    return found


def _about(chosen: Chosen, limit: int) -> LatentSubject:
    return vae_service.subject(chosen.view.id, chosen.step, chosen.weights, limit)


def _key(chosen: Chosen, limit: int) -> tuple[str, str, str]:
    about = asked_vae(chosen, limit)
    return (about.run_id, about.key, about.weights)


class Line:
    """One at a time, and of those who wait the last that came: whoever leafs through VAEs looks at the last one."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._at_work = ""
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, key: str, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Until it is the turn of `key`. Raises a LabError when it is cancelled before."""
        with self._changed:
            self._waiting.append(key)
            while self._at_work or self._waiting[-1] != key:
                self._changed.wait(0.2)
                if cancelled():
                    self._waiting.remove(key)
                    raise LabError("it was cancelled")
            self._waiting.remove(key)
            self._at_work = key
        try:
            yield
        finally:
            with self._changed:
                self._at_work = ""
                self._changed.notify_all()


@st.cache_resource(show_spinner=False)
def _line() -> Line:
    """Of this server."""
    return Line()


@st.cache_resource(show_spinner=False)
def overviews() -> BoundedCache[tuple[str, str, str], LatentOverview]:
    """Overviews looked at last; large arrays of kept ones are memory-mapped."""
    return BoundedCache(max_count=MAX_OVERVIEWS)
