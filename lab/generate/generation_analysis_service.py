"""What is found out about a drawing after it is shown: what the judge sees in it, and its nearest training pictures.

Both are looked for in the background, one drawing at a time, and shared by all who look at the same drawing.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from core.bounded_cache import BoundedCache
from core.errors import LabError
from core.model_folders.sources import ModelSource
from core.sampling.drawing import Drawing
from lab.services import background, judges
from lab.services.background import Tell, Work

MOST_CLASSES = 256
MAX_MEASURES = 1024  # of a class each, a few kilobytes
MEMORISED, NEAR = 0.0, 0.05  # share of held-out pictures that lie nearer to the training pictures
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Odds:
    """probabilities (F, N, K) that the judge gives to each class of each predicted picture; accuracy: 0 to 1, over
    `heldout_count` real held-out pictures."""

    probabilities: np.ndarray
    accuracy: float
    heldout_count: int


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The nearest training picture of each of N drawn ones: pictures (N, H, W, C) uint8, labels (N,) int64, their
    places in the training split (N,), distances (N,) in root mean square grey levels.

    closer (N,): share of held-out pictures of the class that lie nearer to the training pictures, NaN when there are
    none; every: one in so many training pictures was looked at.
    """

    pictures: np.ndarray
    labels: np.ndarray
    places: np.ndarray
    distances: np.ndarray
    closer: np.ndarray
    every: int

    def in_words(self, index: int) -> str:
        """How to read the distance of one picture, in a sentence."""
        share, distance = float(self.closer[index]), f"{self.distances[index]:.0f} of 255 grey levels apart"
        if np.isnan(share):
            return f"{distance} (root mean square)."
        if share <= MEMORISED:
            return f"{distance}: nearer than any held-out picture of the class is to its own. It may be memorised."
        if share < NEAR:
            return f"{distance}: only {share:.0%} of held-out pictures lie nearer to theirs. Compare the two."
        return f"{distance}; {share:.0%} of held-out pictures lie nearer to theirs, so it is not memorised."


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What is known so far. has_judge: there is one, whether it looked already or not; waiting: what still looks;
    works: keys of all that looks or looked; problems: sentences."""

    odds: Odds | None
    nearest: Nearest | None
    has_judge: bool
    waiting: tuple[Work, ...]
    works: tuple[str, ...]
    problems: tuple[str, ...]


def analysis_of(drawing: Drawing, facts: ModelSource, *, watcher: str) -> Analysis:
    """What is known of the drawing; what can be found out and is not known yet is begun for `watcher`."""
    wanted: dict[str, Callable[[Callable[[], bool]], Any]] = {}
    problems, judge = [], None
    try:
        judge = judges.find(facts)
        if judge is not None and len(judge.classes) <= MOST_CLASSES:
            wanted[f"odds-{judge.hash[:12]}"] = partial(_odds, drawing, judge)
    except LabError as error:
        problems.append(str(error))
    if judges.pictures_are_here(facts):
        wanted["nearest"] = partial(_nearest, drawing, facts)
    works = {name.split("-")[0]: _work(drawing, name, look, watcher) for name, look in wanted.items()}
    done = {name: work.result for name, work in works.items() if work.is_done}
    return Analysis(
        odds=done.get("odds"),
        nearest=done.get("nearest"),
        has_judge=judge is not None,
        waiting=tuple(work for work in works.values() if not work.is_done),
        works=tuple(work.key for work in works.values()),
        problems=(*problems, *(str(work.problem) for work in works.values() if work.is_done and work.problem)),
    )


def leave(works: tuple[str, ...], watcher: str) -> None:
    """This session looks at another drawing now."""
    for key in works:
        background.leave(key, watcher)


def _work(drawing: Drawing, name: str, look: Callable[[Callable[[], bool]], Any], watcher: str) -> Work:
    """The look that is going on or done; a done one is kept among the newest pieces of background work."""

    def task(tell: Tell, cancelled: Callable[[], bool]) -> Any:
        with _ONE_AT_A_TIME:
            if cancelled():
                raise LabError("it was cancelled")
            return look(cancelled)

    recipe = drawing.recipe.model_copy(update={"versions": {}}).to_json()
    key = f"look-{hashlib.sha256(recipe.encode()).hexdigest()[:24]}-{name}"
    found = background.find(key)
    if found is not None and found.is_done and found.problem is None:
        return found
    if found is not None and not found.is_cancelled:
        found.watchers.add(watcher)
        return found
    return background.begin(key, task, watcher=watcher)


def _odds(drawing: Drawing, judge: Any, cancelled: Callable[[], bool]) -> Odds:
    from core.evaluation.decision_step import class_probabilities

    frames = []
    for pictures in drawing.predicted_images:
        if cancelled():
            raise LabError("it was cancelled")
        frames.append(class_probabilities(judge, pictures[None])[0])
    return Odds(probabilities=np.stack(frames), accuracy=judge.accuracy, heldout_count=judge.heldout_count)


def _nearest(drawing: Drawing, facts: ModelSource, cancelled: Callable[[], bool]) -> Nearest:
    from core.evaluation.nearest import nearest_pictures

    image_set = judges.image_set(facts)
    found = nearest_pictures(drawing.images, image_set.train, should_stop=cancelled)
    closer = []
    for label, distance in zip(drawing.labels, found.distances, strict=True):
        real = _measure(facts, label, image_set, cancelled)
        closer.append(float((real < distance).mean()) if len(real) else np.nan)
    return Nearest(
        pictures=np.array(image_set.train.images[found.indices]),
        labels=np.array(image_set.train.labels[found.indices]),
        places=found.indices,
        distances=found.distances,
        closer=np.array(closer),
        every=found.every,
    )


def _measure(facts: ModelSource, label: int, image_set: Any, cancelled: Callable[[], bool]) -> np.ndarray:
    """Distances of real held-out pictures of the class, measured once a server."""
    from core.evaluation.nearest import heldout_distances

    return _measures().get_or_make(
        (facts.fingerprint, label), lambda: heldout_distances(image_set, label, should_stop=cancelled)
    )


@st.cache_resource(show_spinner=False)
def _measures() -> BoundedCache[tuple[str, int], np.ndarray]:
    return BoundedCache(max_count=MAX_MEASURES)
