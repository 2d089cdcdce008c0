"""The measures against the libraries that published them, on features of real images and on Gaussian ones."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from core.evaluation.judge import split_features
from core.evaluation.metrics import FrechetReference, frechet_distance, kernel_distance
from core.evaluation.neighbourhoods import neighbourhoods
from tests.core.evaluation.conftest import Judged
from tests.core.evaluation.test_metrics import normal

Pair = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module", params=["real images, and noisy ones", "Gaussian", "Gaussian, far apart"])
def pair(request: pytest.FixtureRequest, judged: Judged) -> Pair:
    """Features (N, D), (M, D) float64 of a reference and of what is measured."""
    if request.param != "real images, and noisy ones":
        scale = 0.9 ** torch.arange(32)
        return normal(500, 32, 1) * scale, normal(400, 32, 2) * scale + (0.05 if request.param == "Gaussian" else 1.0)
    real = split_features(judged.judge, judged.image_set, "train")[:500]
    noise = np.random.default_rng(0).normal(0.0, 25.0, judged.unseen.images[:400].shape)
    noisy = np.clip(judged.unseen.images[:400] + noise, 0, 255).astype(np.uint8)
    return real.double(), judged.judge.features(noisy).double()


def test_fd_is_that_of_torch_fidelity(pair: Pair) -> None:
    real, fake = pair
    statistics = [fid_features_to_statistics(each) for each in pair]
    expected = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-4)
    assert FrechetReference(real).distance(fake) == pytest.approx(expected, rel=1e-4)


def test_kid_is_that_of_torch_fidelity(pair: Pair) -> None:
    count = min(map(len, pair))
    real, fake = (each[:count] for each in pair)  # torch-fidelity takes as many of both
    found = kid_features_to_metric(fake, real, kid_subsets=1, kid_subset_size=count, verbose=False)
    assert kernel_distance(real, fake)[0] == pytest.approx(found[KEY_METRIC_KID_MEAN], rel=1e-4)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_recall_density_and_coverage_are_those_of_prdc(pair: Pair, k: int) -> None:
    real, fake = pair
    expected = compute_prdc(real.numpy(), fake.numpy(), nearest_k=k)
    found = neighbourhoods(real, fake, k)
    assert astuple(found)[:4] == pytest.approx([expected[name] for name in expected], abs=1e-6)
    assert list(expected) == ["precision", "recall", "density", "coverage"]
