from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
import torch

from core.errors import UsageError
from core.evaluation.neighbourhoods import neighbourhoods, share_of_good
from tests.core.evaluation.test_metrics import normal


def written_out(real: np.ndarray, fake: np.ndarray, k: int) -> list[float]:
    """The definitions, image by image: arXiv 1904.06991, 2002.09797 and, in front of its calibration, 2507.01761."""

    def radii(points: np.ndarray) -> list[float]:
        return [sorted(np.linalg.norm(point - points, axis=1))[k] for point in points]

    real_radii, fake_radii = radii(real), radii(fake)
    apart = np.array([[np.linalg.norm(one - other) for one in real] for other in fake])  # (M, N)
    among = np.array([[np.linalg.norm(one - other) for one in real] for other in real])
    np.fill_diagonal(among, np.inf)
    clipped = np.minimum(real_radii, np.median(real_radii))
    in_balls = apart <= real_radii
    return [
        float(in_balls.any(axis=1).mean()),
        float((apart <= np.array(fake_radii)[:, None]).any(axis=0).mean()),
        float(in_balls.sum(axis=1).mean() / k),
        float(in_balls.any(axis=0).mean()),
        float(
            min(
                1.0,
                np.minimum((apart <= clipped).sum(axis=1), k).mean()
                / np.minimum((among <= clipped * (1 + 1e-9)).sum(axis=1), k).mean(),
            )
        ),
        float(np.minimum(in_balls.sum(axis=0), k).mean() / k),
    ]


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("block_size", [7, None])
def test_every_measure_agrees_with_its_definition_in_any_block_size(k: int, block_size: int | None) -> None:
    real, fake = normal(91, 4, 1), normal(60, 4, 2) + 0.8
    found = neighbourhoods(real, fake, k, block_size=block_size)
    *expected, covered = written_out(real.numpy(), fake.numpy(), k)
    assert astuple(found)[:5] == pytest.approx(expected, abs=1e-6)
    assert found.clipped_coverage == pytest.approx(share_of_good(covered, 91, 60, k), abs=1e-6)


@pytest.mark.parametrize("good", [1.0, 0.6, 0.3])
def test_the_clipped_ones_are_the_share_of_good_images(good: float) -> None:
    real, fake = normal(800, 6, 1), normal(800, 6, 2)
    fake[int(good * 800) :] += 50.0
    found = neighbourhoods(real, fake, 3)
    assert found.clipped_density == pytest.approx(good, abs=0.05)
    assert found.clipped_coverage == pytest.approx(good, abs=0.05)


def test_one_outlier_of_the_reference_does_not_make_bad_images_dense() -> None:
    real, fake = normal(200, 2, 1), normal(200, 2, 2) + 30.0
    real[0] = 60.0  # its ball holds the wrong cloud
    found = neighbourhoods(real, fake, 3)
    assert (found.clipped_density, found.precision) == (0.0, 1.0)


def test_a_set_with_itself_is_perfect_and_a_distant_one_nothing() -> None:
    points = normal(300, 16).float()
    same = neighbourhoods(points, points.clone(), 3)
    assert (same.precision, same.recall, same.clipped_density, same.clipped_coverage) == (1.0, 1.0, 1.0, 1.0)
    assert set(astuple(neighbourhoods(normal(50, 4), normal(50, 4, 1) + 100.0, 3))) == {0.0}


def test_fakes_of_one_kind_are_precise_but_recall_little() -> None:
    real = torch.cat([normal(100, 8, 1), normal(100, 8, 2) + 50.0])
    found = neighbourhoods(real, normal(200, 8, 3), 3)
    assert found.precision > 0.8
    assert max(found.recall, found.coverage, found.clipped_coverage) < 0.6


@pytest.mark.parametrize("k", [0, 20])
def test_more_neighbours_than_there_are_images_are_refused(k: int) -> None:
    with pytest.raises(UsageError, match=r"evaluation\.recall_neighbours"):
        neighbourhoods(normal(40, 4), normal(20, 4), k)
