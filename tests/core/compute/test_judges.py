"""What judges answer for screens, with a tiny model: trained once, opened once, the same odds, nearest images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.compute.answers import judges, nearest
from core.config.site import SiteSettings
from core.errors import DataUnavailable, LabError, UsageError
from core.evaluation.judge_facts import JUDGE_SEED, JudgeRecipe, kept_judge
from core.evaluation.nearest import heldout_distances, nearest_pictures
from core.home import code_root
from core.model_folders.model_facts import DEMO, PREFIX
from core.model_folders.sources import ModelSource, RunSource
from tests.models import Lab, brief_judges


class Listener:
    """Hears the stages, and hangs up when it is told to."""

    def __init__(self, hangs_up: bool = False) -> None:
        self.stages: list[str] = []
        self.hangs_up = hangs_up

    def __call__(self, stage: str, fraction: float, look: Any = None) -> None:
        self.stages.append(stage)

    def is_cancelled(self) -> bool:
        return self.hangs_up


@pytest.fixture(scope="module")
def site(trained_lab: Path, session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    """A lab with a trained U-Net whose judge was trained."""
    root = tmp_path_factory.mktemp("judges")
    shutil.copytree(trained_lab, root, dirs_exist_ok=True)
    made = SiteSettings(**{name: root / name for name in ("runs", "data", "cache", "models")})
    with brief_judges(min_steps=20, kept=session_folder) as done:
        for _ in range(2):
            judges.train_judge(Listener(), unet_of(made).id, made)
    assert done == [JUDGE_SEED]
    return made


def unet_of(site: SiteSettings) -> ModelSource:
    return RunSource(Lab(site.runs.parent).the("unet"))


def sha256_of(site: SiteSettings) -> str:
    source = unet_of(site)
    recipe = JudgeRecipe(seed=JUDGE_SEED, epochs=source.settings.evaluation.judge_epochs)
    found = kept_judge(site.cache, source, recipe)
    assert found is not None
    return found[0].sha256


@pytest.mark.slow
def test_odds_are_those_of_the_judge_frame_by_frame(site: SiteSettings) -> None:
    source, listener = unet_of(site), Listener()
    image_set = judges.images_of(source, site)
    frames = image_set.heldout.images[:6].reshape(2, 3, 16, 16, 1)
    found = judges.odds(listener, source.id, sha256_of(site), frames, site)
    judge = judges.trained_judge(listener, source, site)
    assert found.shape == (2, 3, 10)
    np.testing.assert_allclose(found.reshape(6, 10), judge.classify(image_set.heldout.images[:6]), atol=1e-6)


def test_a_judge_is_opened_once_and_another_one_is_never_taken_for_it(
    site: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, frames = unet_of(site), np.zeros((1, 1, 16, 16, 1), np.uint8)
    judges.odds(Listener(), source.id, sha256_of(site), frames, site)
    with pytest.raises(LabError, match="its judge changed meanwhile; load the page again"):
        judges.odds(Listener(), source.id, "0" * 64, frames, site)
    monkeypatch.setattr(judges, "load_kept", lambda *_, **__: pytest.fail("opened again"))
    judges.odds(Listener(), source.id, sha256_of(site), frames, site)


def test_what_is_missing_is_one_sentence(site: SiteSettings, tmp_path: Path) -> None:
    source, frames = unet_of(site), np.zeros((1, 1, 16, 16, 1), np.uint8)
    elsewhere = site.model_copy(update={"cache": tmp_path})
    with pytest.raises(DataUnavailable, match="its judge was removed or is damaged; train the judge again"):
        judges.odds(Listener(), source.id, "1" * 64, frames, elsewhere)
    with pytest.raises(LabError, match="it was cancelled"):
        judges.odds(Listener(hangs_up=True), source.id, sha256_of(site), frames, site)


def test_other_images_than_the_model_learned_from_are_refused(site: SiteSettings, tmp_path: Path) -> None:
    run = Lab(site.runs.parent).the("unet")
    folder = Path(shutil.copytree(run.folder, tmp_path / "runs" / run.id))
    facts = (folder / "data.json").read_text().replace(unet_of(site).fingerprint, "f" * 64)
    (folder / "data.json").write_text(facts)
    with pytest.raises(UsageError, match="is not the dataset that this model learned from"):
        nearest.nearest(
            Listener(),
            run.id,
            np.zeros((1, 16, 16, 1), np.uint8),
            (0,),
            site.model_copy(update={"runs": tmp_path / "runs"}),
        )


def test_the_judge_of_a_model_folder_needs_no_images(site: SiteSettings) -> None:
    frames = np.zeros((1, 1, 32, 32, 1), np.uint8)
    name = f"{PREFIX}{(code_root() / DEMO).name}"
    with pytest.raises(LabError, match="its judge changed meanwhile"):
        judges.odds(Listener(), name, "0" * 64, frames, site)


def test_nearest_images_come_with_how_real_ones_lie(site: SiteSettings) -> None:
    source = unet_of(site)
    image_set = judges.images_of(source, site)
    images = image_set.heldout.images[:2]
    found = nearest.nearest(Listener(), source.id, images, (3, 5), site)
    expected = nearest_pictures(images, image_set.train)
    np.testing.assert_array_equal(found.places, expected.indices)
    np.testing.assert_array_equal(found.pictures, image_set.train.images[expected.indices])
    real = heldout_distances(image_set, 5)
    assert found.closer[1] == (real < expected.distances[1]).mean()
    with pytest.raises(UsageError, match="cancelled"):
        nearest.nearest(Listener(hangs_up=True), source.id, images, (3, 5), site)
