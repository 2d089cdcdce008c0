"""The halves of a comparison's cells, as the screen that suggests guidance and steps asks for them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.comparison.comparison import compare
from core.comparison.comparison_results import list_comparisons, read_arrays, read_comparison, results_folder
from core.comparison.grid import Axis, CellSettings, ComparisonRequest
from core.compute.answers import judges
from core.compute.answers.trade_off import halved_cells
from core.config.site import SiteSettings
from core.errors import DataUnavailable, LabError
from core.evaluation.judge import load_kept, split_features
from core.evaluation.metrics import frechet_distance
from core.model_folders.sources import RunSource
from core.runs.run import Run
from tests.models import Lab, brief_judges

pytestmark = pytest.mark.slow
COUNT = 30


class Listener:
    """Hears how far it is."""

    def __init__(self) -> None:
        self.fractions: list[float] = []

    def __call__(self, stage: str, fraction: float, look: Any = None) -> None:
        self.fractions.append(fraction)

    def is_cancelled(self) -> bool:
        return False


@pytest.fixture(scope="module")
def site(trained_lab: Path, session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    """A lab with a U-Net and a comparison of it: two guidance scales."""
    root = tmp_path_factory.mktemp("trade-off")
    shutil.copytree(trained_lab, root, dirs_exist_ok=True)
    made = SiteSettings(**{name: root / name for name in ("runs", "data", "cache", "models")})
    run = run_of(made)
    base = CellSettings(
        sampler="unipc", num_inference_steps=2, guidance_scale=1.5, seed=0, weights="ema", step=run.status().step
    )
    request = ComparisonRequest(
        run_id=run.id,
        rows=Axis(setting="num_inference_steps", values=(2,)),
        columns=Axis(setting="guidance_scale", values=(1.0, 3.0)),
        base=base,
        num_samples=COUNT,
        judge_epochs=run.settings.evaluation.judge_epochs,
        with_reference=False,
    )
    images = judges.images_of(RunSource(run), made)
    with brief_judges(min_steps=20, kept=session_folder):
        cells = compare(run, request, results_folder(run, "two"), image_set=images, cache_dir=made.cache, device="cpu")
        assert len(list(cells)) == 2
    return made


def run_of(site: SiteSettings) -> Run:
    return Lab(site.runs.parent).the("unet")


def halved(site: SiteSettings, listener: Listener | None = None) -> Any:
    run = run_of(site)
    return halved_cells(listener or Listener(), run.id, *list_comparisons(run), site)


def test_each_half_is_every_second_image_and_measured_by_the_formulas(site: SiteSettings) -> None:
    run, listener = run_of(site), Listener()
    found = halved(site, listener)
    comparison = read_comparison(run, "two")
    images = judges.images_of(RunSource(run), site)
    judge = load_kept(images, cache_dir=site.cache, epochs=comparison.request.judge_epochs, device="cpu")
    assert judge is not None
    train = split_features(judge, images, "train")
    assert [cell.index for cell in found] == [0, 1]
    assert listener.fractions[-1] == 0.5
    for cell in found:
        arrays = read_arrays(comparison, cell.index)
        assert arrays is not None
        for first, half in enumerate((cell.chooses, cell.states)):
            rows = np.arange(COUNT) % 2 == first
            features = torch.from_numpy(arrays["features"][rows]).float()
            assert half.count == rows.sum()
            assert half.class_accuracy == (arrays["guesses"] == arrays["labels"])[rows].mean()
            assert half.fd_judge == pytest.approx(frechet_distance(train, features), rel=1e-5)
            assert 0.0 <= half.recall <= 1.0
    assert found[0].chooses.fd_judge != found[0].states.fd_judge


def test_what_is_missing_is_one_sentence(site: SiteSettings, tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="two: its judge is not here any more; compare again"):
        halved(site.model_copy(update={"cache": tmp_path}))
    root = tmp_path / "lab"
    shutil.copytree(site.runs.parent, root)
    emptied = SiteSettings(**{name: root / name for name in ("runs", "data", "cache", "models")})
    for path in results_folder(run_of(emptied), "two").folder.glob("cells/*.npz"):
        path.unlink()
    with pytest.raises(LabError, match="two: has no cell to choose from"):
        halved(emptied)
