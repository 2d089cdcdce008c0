"""What is found out about a drawing after it is shown: what the judge sees in it, and its nearest training pictures.

Both are looked for in the background, one drawing at a time, and shared by all who look at the same drawing.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.compute.questions import FIND_NEAREST, JUDGE_ODDS
from core.errors import LabError
from core.evaluation.judge_facts import JudgeFacts
from core.evaluation.nearest_results import Nearest
from core.model_folders.sources import ModelSource
from core.sampling.drawing import Drawing
from lab.services import background, judges
from lab.services.background import Task, Tell, Work
from lab.services.computing import asked
from lab.services.settings import current_site

MOST_CLASSES = 256
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Odds:
    """probabilities (F, N, K) that the judge gives to each class of each predicted picture; accuracy: 0 to 1, over
    `heldout_count` real held-out pictures."""

    probabilities: np.ndarray
    accuracy: float
    heldout_count: int


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
    wanted: dict[str, Task] = {}
    problems, judge, site = [], None, current_site()
    try:
        judge = judges.find(facts)
        if judge is not None and judge.num_classes <= MOST_CLASSES:
            look = asked(JUDGE_ODDS, facts.id, judge.sha256, drawing.predicted_images, site)
            wanted[f"odds-{judge.sha256[:12]}"] = _with_accuracy(look, judge)
    except LabError as error:
        problems.append(str(error))
    if judges.pictures_are_here(facts):
        wanted["nearest"] = asked(FIND_NEAREST, facts.id, drawing.images, drawing.labels, site)
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


def _work(drawing: Drawing, name: str, look: Task, watcher: str) -> Work:
    """The look that is going on or done; a done one is kept among the newest pieces of background work."""

    def task(tell: Tell, cancelled: Callable[[], bool]) -> Any:
        with _ONE_AT_A_TIME:
            if cancelled():
                raise LabError("it was cancelled")
            return look(tell, cancelled)

    recipe = drawing.recipe.model_copy(update={"versions": {}}).to_json()
    key = f"look-{hashlib.sha256(recipe.encode()).hexdigest()[:24]}-{name}"
    found = background.find(key)
    if found is not None and found.is_done and found.problem is None:
        return found
    if found is not None and not found.is_cancelled:
        found.watchers.add(watcher)
        return found
    return background.begin(key, task, watcher=watcher)


def _with_accuracy(look: Task, judge: JudgeFacts) -> Task:
    def task(tell: Tell, cancelled: Callable[[], bool]) -> Odds:
        return Odds(probabilities=look(tell, cancelled), accuracy=judge.accuracy, heldout_count=judge.heldout_count)

    return task
