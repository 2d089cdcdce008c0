"""The judge of a model's dataset, for a screen: found without training, trained in the background when asked for.

One work a judge, whoever wants it and on whichever page.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.compute.questions import TRAIN_JUDGE
from core.data import catalog
from core.errors import LabError
from core.evaluation.judge_facts import (
    FACTS_FILE,
    JUDGE_SEED,
    JudgeFacts,
    JudgeRecipe,
    judge_folder,
    judge_in_folder,
    kept_judge,
)
from core.model_folders.model_facts import LAB_FILE, model_folder_info
from core.model_folders.sources import ModelSource
from core.reading import Stamp, stamp_of
from lab.services import background
from lab.services.background import Work
from lab.services.computing import asked
from lab.services.settings import current_site

MOST_KNOWN = 64


def find(facts: ModelSource) -> JudgeFacts | None:
    """Of the judge that lies in the model's folder or in the cache; None when it was never trained. Nothing is trained.

    Raises a LabError for a folder's judge that was altered.
    """
    if facts.judge_in is not None:
        return _in_folder(facts.judge_in, stamp_of(facts.judge_in / LAB_FILE))
    if not facts.fingerprint:
        return None
    recipe = JudgeRecipe(seed=JUDGE_SEED, epochs=facts.settings.evaluation.judge_epochs)
    stamp = stamp_of(judge_folder(current_site().cache, facts.fingerprint, recipe) / FACTS_FILE)
    return _in_cache(current_site().cache, facts.fingerprint, recipe, stamp, facts) if any(stamp) else None


def pictures_are_here(facts: ModelSource) -> bool:
    """Whether the files of the model's dataset are on this machine; looks at no picture."""
    try:
        data = facts.settings.data
        return bool(facts.fingerprint) and catalog.is_present(data.name, current_site().data, path=data.path)
    except LabError:
        return False


def begin_training(facts: ModelSource) -> Work:
    """Train it in the background, or join whoever does; leaving the page leaves it alone."""
    return background.begin(_key(facts), asked(TRAIN_JUDGE, facts.id, current_site()))


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


@st.cache_resource(max_entries=MOST_KNOWN, show_spinner=False)
def _in_cache(
    cache_dir: Path, fingerprint: str, recipe: JudgeRecipe, stamp: Stamp, _facts: ModelSource
) -> JudgeFacts | None:
    found = kept_judge(cache_dir, _facts, recipe)
    return found[0] if found else None


@st.cache_resource(max_entries=MOST_KNOWN, show_spinner=False)
def _in_folder(folder: Path, stamp: Stamp) -> JudgeFacts | None:
    found = judge_in_folder(model_folder_info(folder))
    return found[0] if found else None
