"""The test for memorization: real pictures pass, copies are seen plain and disguised, figures are those of formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from core.data.arrays import Split
from core.evaluation import memorization as memorization_module
from core.evaluation.memorization import c_t, chance_of_at_least, copy_test, memorization, moves, plain, unit
from core.evaluation.memorization_results import Memorization, memorization_rows
from tests.core.evaluation.conftest import Judged, toy_set
from tests.core.evaluation.test_metrics import normal

COUNT = 120


def test_the_nearest_are_those_of_a_direct_computation_in_any_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, rows = normal(30, 5, 1).float(), normal(230, 5, 2).float()
    expected = torch.cdist(queries, rows).topk(7, dim=1, largest=False)
    for numbers in (1, 4 * 30 * 100, 1 << 25):
        monkeypatch.setattr(memorization_module, "BLOCK", numbers)
        distances, places = memorization_module._nearest(queries, lambda a, b: rows[a:b], len(rows), 7)
        assert distances == pytest.approx(expected.values, abs=1e-5)
        assert places.tolist() == expected.indices.tolist()


def found_of(judged: Judged, images: np.ndarray, labels: np.ndarray) -> Memorization:
    found = memorization(images, labels, judge=judged.judge, image_set=judged.image_set, seed=0)
    assert found is not None
    return found


def picked(split: Split) -> tuple[np.ndarray, np.ndarray]:
    rows = np.random.default_rng(1).permutation(len(split.labels))[:COUNT]
    return np.array(split.images[rows]), np.asarray(split.labels[rows])


def noisy(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 25, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def dimmed(images: np.ndarray) -> np.ndarray:
    return (images * 0.5).astype(np.uint8)


def shifted(images: np.ndarray) -> np.ndarray:
    return np.roll(images, (1, 1), axis=(1, 2))


def turned(images: np.ndarray) -> np.ndarray:
    return np.stack([ndimage.rotate(image, 8, reshape=False, order=1) for image in images])


@pytest.mark.parametrize(
    "disguise", [shifted, *(pytest.param(each, marks=pytest.mark.slow) for each in (np.array, noisy, dimmed, turned))]
)
def test_copies_are_seen_plain_and_disguised(judged: Judged, disguise: object) -> None:
    images, labels = picked(judged.image_set.train)
    found = found_of(judged, disguise(images), labels)  # type: ignore[operator]
    assert found.is_sign and found.pixels.share > 0.2 and found.pixels.chance < 1e-6 and found.pixels.c_t < -2
    assert memorization_rows(found)[-1][1] == "a sign of copying"


@pytest.mark.slow
def test_a_few_copies_among_many_new_pictures_are_seen(judged: Judged) -> None:
    (new, labels), (old, of_old) = picked(judged.unseen), picked(judged.image_set.train)
    found = found_of(judged, np.concatenate([new[:108], old[:12]]), np.concatenate([labels[:108], of_old[:12]]))
    assert found.is_sign and 0.08 < found.pixels.share < 0.2


def test_real_pictures_that_nobody_learned_from_pass(judged: Judged) -> None:
    found = found_of(judged, *picked(judged.unseen))
    assert not found.is_sign and found.pixels.share < 0.06
    assert "no sign" in memorization_rows(found)[-1][1]
    assert (found.num_generated, found.num_train) == (COUNT, len(judged.image_set.train.labels))


def test_too_few_pictures_are_no_test(judged: Judged) -> None:
    images, labels = picked(judged.unseen)
    args = {"judge": judged.judge, "image_set": judged.image_set, "seed": 0}
    assert memorization(images[:19], labels[:19], **args) is None  # type: ignore[arg-type]
    few = replace(judged.image_set, heldout=Split(images=images[:19], labels=labels[:19]))
    assert memorization(images, labels, **{**args, "image_set": few}) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("near", "count", "rank", "real"), [(0, 50, 1, 80), (3, 50, 1, 80), (9, 200, 10, 1000)])
def test_the_chance_is_that_of_the_beta_binomial(near: int, count: int, rank: int, real: int) -> None:
    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    below, above = rank, real + 1 - rank
    ways = (math.comb(count, x) * math.exp(log_beta(x + below, count - x + above)) for x in range(near, count + 1))
    expected = sum(ways) / math.exp(log_beta(below, above))
    assert chance_of_at_least(near, count, rank, real) == pytest.approx(expected, rel=1e-7)


def test_alarms_are_as_rare_as_is_said() -> None:
    """Distances of one distribution: of 2,000 figures at most their share is below any chance."""
    source, chances = np.random.default_rng(0), []
    for _ in range(500):
        distances = torch.from_numpy(source.random((300, 5))).sort(dim=1).values
        found = copy_test(distances, source.integers(0, 3, 300), 100)
        chances.append((found.chance, found.c_t_chance))
    for level in (0.05, 0.2):
        share = (np.array(chances) < level).mean(axis=0)
        assert (share < level + 3 * math.sqrt(level * (1 - level) / 500)).all()
    assert (np.array(chances)[:, 1] < 0.2).mean() > 0.12  # not by never being small


def test_c_t_is_the_mean_of_the_mann_whitney_statistic_over_cells() -> None:
    source = np.random.default_rng(3)
    drawn, real = source.integers(0, 40, 60).astype(float), source.integers(5, 50, 90).astype(float)
    cells, real_cells = np.arange(60) % 3, np.arange(90) % 3
    cells[cells == 2] = 9  # a cell with no real picture, and one with no generated one
    expected = []
    for cell in (0, 1):
        a, b = drawn[cells == cell], real[real_cells == cell]
        statistic = (a[:, None] > b).sum() + 0.5 * (a[:, None] == b).sum()
        expected.append((statistic - len(a) * len(b) / 2) / math.sqrt(len(a) * len(b) * (len(a) + len(b) + 1) / 12))
    found, spread = c_t(drawn, real, cells, real_cells)
    assert found == pytest.approx(np.mean(expected)) and spread == pytest.approx(math.sqrt(0.5))
    assert c_t(drawn[:2], real, cells[:2], real_cells) == (0.0, 0.0)


def test_what_is_undone_is_undone() -> None:
    image = toy_set(size=32).train.images[:1].copy()
    image[:] = 0
    image[0, 10:22, 12:18] = 200
    gray = plain(image)
    for changed in (shifted(image), turned(image), dimmed(image)):
        best = max(float((unit(each, 32) * unit(gray, 32)).sum()) for each in moves(plain(changed)))
        assert best > 0.97
    assert torch.equal(moves(gray)[len(moves(gray)) // 2], gray)
