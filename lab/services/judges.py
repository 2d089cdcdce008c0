"""The judge of a model's data set, for a screen: found without training, trained in the background when asked for.

One work a judge, whoever wants it and on whichever page. PyTorch is imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.data import catalog
from core.errors import LabError, UsageError
from core.model_folders.sources import ModelSource
from core.reading import Stamp, stamp_of
from lab.services import background
from lab.services.background import Work
from lab.services.settings import current_site

if TYPE_CHECKING:
    from core.data.arrays import ImageSet
    from core.evaluation.judge import Judge

JUDGE_SEED = 0
MOST_OPEN = 8
Progress = Callable[[str, float], None]


def find(facts: ModelSource) -> Judge | None:
    """The judge that lies in the model's folder or in the cache; None when it was never trained. Nothing is trained.

    Raises a LabError for a folder's judge that was altered.
    """
    from core.evaluation.judge import FACTS_FILE

    if facts.judge_in is not None:
        return _in_folder(facts.judge_in, stamp_of(facts.judge_in / "lab.json"))
    if not facts.fingerprint:
        return None
    stamp = stamp_of(_place(facts) / FACTS_FILE)
    return _in_cache(facts.fingerprint, facts.settings.evaluation.judge_epochs, stamp, facts) if any(stamp) else None


def image_set(facts: ModelSource) -> ImageSet:
    """The very pictures the model learned from; nothing is downloaded. Raises a LabError when they are not here."""
    from core.data.arrays import prepare

    data = facts.settings.data.model_copy(update={"download": False})
    site = current_site()
    found = prepare(data, data_dir=site.data, cache_dir=site.cache, rules=facts.rules)
    if found.fingerprint != facts.fingerprint:
        raise UsageError(
            f"{found.name}: is not the data set that this model learned from ({found.fingerprint[:12]} here, "
            f"{facts.fingerprint[:12]} there)"
        )
    return found


def pictures_are_here(facts: ModelSource) -> bool:
    """Whether the files of the model's data set are on this machine; looks at no picture."""
    try:
        return bool(facts.fingerprint) and catalog.is_present(facts.settings.data.name, current_site().data)
    except LabError:
        return False


def trained(facts: ModelSource, on_progress: Progress) -> Judge:
    """The judge, trained now where it never was. Raises a LabError."""
    from core.evaluation.judge import load_or_train

    return load_or_train(image_set(facts), progress=on_progress, **_which(facts))


def begin_training(facts: ModelSource) -> Work:
    """Train it in the background, or join whoever does; leaving the page leaves it alone."""
    return background.begin(_key(facts), lambda tell, _: trained(facts, tell))


def training(facts: ModelSource) -> Work | None:
    """The training that runs, or ended and was not told."""
    return background.find(_key(facts)) if facts.fingerprint else None


def forget_training(facts: ModelSource) -> None:
    """How the training ended was told."""
    work = training(facts)
    if work is not None and work.is_done:
        background.forget(work)


def _key(facts: ModelSource) -> str:
    return f"judge-{facts.fingerprint[:12]}-{facts.settings.evaluation.judge_epochs}-{current_site().cache}"


def _which(facts: ModelSource) -> dict[str, Any]:
    """What names a judge beside its pictures."""
    return {
        "cache_dir": current_site().cache,
        "epochs": facts.settings.evaluation.judge_epochs,
        "seed": JUDGE_SEED,
        "device": facts.settings.machine.device,
    }


def _place(facts: ModelSource) -> Path:
    from core.evaluation.judge import judge_folder

    return judge_folder(
        facts.fingerprint,
        cache_dir=current_site().cache,
        epochs=facts.settings.evaluation.judge_epochs,
        seed=JUDGE_SEED,
    )


@st.cache_resource(max_entries=MOST_OPEN, show_spinner=False)
def _in_cache(fingerprint: str, epochs: int, stamp: Stamp, _facts: ModelSource) -> Judge | None:
    from core.evaluation.judge import load_kept

    return load_kept(_facts, **_which(_facts))


@st.cache_resource(max_entries=MOST_OPEN, show_spinner=False)
def _in_folder(folder: Path, stamp: Stamp) -> Judge | None:
    from core.evaluation.folder_judge import judge_of_model_folder

    return judge_of_model_folder(folder)
