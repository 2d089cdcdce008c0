"""The two halves of every cell of a sampler comparison, for a screen."""

from __future__ import annotations

import numpy as np
import torch

from core.comparison.comparison_results import read_arrays, read_comparison
from core.comparison.trade_off import HalfFigures, HalvedCell
from core.compute.answers.judges import images_of
from core.compute.question import Tell
from core.config.site import SiteSettings
from core.errors import DataUnavailable, LabError
from core.evaluation.judge import load_kept, split_features
from core.evaluation.measures import choose_rows
from core.evaluation.metrics import FrechetReference
from core.evaluation.neighbourhoods import neighbourhoods
from core.model_folders.sources import source_named
from core.runs.store import RunStore

MOST_NEIGHBOURS = 2_000  # images of a half whose variety is measured


def halved_cells(tell: Tell, run_id: str, comparison_id: str, site: SiteSettings) -> tuple[HalvedCell, ...]:
    """Every cell that is drawn, measured on its even and on its odd images. Raises a LabError where its images, or the
    judge that looked at them, are not here."""
    store = RunStore(site.runs)
    source, run = source_named(run_id, store, site.models), store.get(run_id)
    comparison = read_comparison(run, comparison_id)
    images = images_of(source, site)
    epochs = comparison.request.judge_epochs
    judge = load_kept(images, cache_dir=site.cache, epochs=epochs, device=source.settings.machine.device)
    if judge is None or comparison.facts is None or judge.hash != comparison.facts.judge_hash:
        raise DataUnavailable(f"{comparison_id}: its judge is not here any more", "compare again")
    train = split_features(judge, images, "train", tell)
    reference, found = FrechetReference(train), []
    for number, cell in enumerate(comparison.drawn):
        tell("Measuring halves", number / len(comparison.drawn))
        arrays = read_arrays(comparison, cell.index)
        if arrays is None or len(arrays["labels"]) < 4:
            continue
        halves = []
        for first in (0, 1):
            features = torch.from_numpy(arrays["features"][first::2]).float()
            right = arrays["guesses"][first::2] == arrays["labels"][first::2]
            halves.append(_figures(features, right, reference, train, comparison.request.recall_neighbours))
        found.append(HalvedCell(index=cell.index, chooses=halves[0], states=halves[1]))
    if not found:
        raise LabError(f"{comparison_id}: has no cell to choose from", "wait for its first cells")
    return tuple(found)


def _figures(
    features: torch.Tensor, right: np.ndarray, reference: FrechetReference, train: torch.Tensor, neighbours: int
) -> HalfFigures:
    count = min(len(features), MOST_NEIGHBOURS)
    recall = 0.0
    if neighbours < count:
        real = choose_rows(train, count, 0, "trade-off")
        recall = neighbourhoods(real, features[:count], neighbours).recall
    return HalfFigures(
        count=len(features),
        fd_judge=reference.distance(features),
        class_accuracy=float(right.mean()),
        recall=recall,
    )
