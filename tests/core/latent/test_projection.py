from __future__ import annotations

import numpy as np
import psutil
import pytest

from core.errors import LabError, UsageError
from core.latent.inspection import projection
from core.latent.inspection.projection import embed, is_kept, kept_embedding, principal_components


def latents(count: int = 60) -> np.ndarray:
    source = np.random.default_rng(0)
    wide = source.standard_normal((count, 18)) * np.linspace(5.0, 0.1, 18)
    return (wide @ np.linalg.qr(source.standard_normal((18, 18)))[0]).reshape(count, 2, 3, 3).astype(np.float32)


def test_principal_components_equal_those_of_numpy():
    points = latents().reshape(60, -1).astype(np.float64)
    found = principal_components(latents(), 3)
    values, vectors = np.linalg.eigh(np.cov(points.T))
    for index in range(3):
        assert abs(found.directions[index] @ vectors[:, -1 - index]) == pytest.approx(1.0, abs=1e-5)
    assert found.spreads**2 == pytest.approx(values[::-1][:3], rel=1e-5)
    assert found.shares == pytest.approx(values[::-1][:3] / values.sum(), rel=1e-6)


def test_coordinates_are_the_projection_and_all_of_them_give_the_points_back():
    points = latents().reshape(60, -1)
    found = principal_components(latents(), 18)
    assert found.coordinates == pytest.approx((points - found.mean) @ found.directions.T, abs=1e-4)
    assert found.mean + found.coordinates @ found.directions == pytest.approx(points, abs=1e-4)


def test_the_sign_of_a_direction_does_not_depend_on_the_order_of_the_pictures():
    first, second = principal_components(latents(), 2), principal_components(latents()[::-1], 2)
    assert first.directions == pytest.approx(second.directions, abs=1e-4)


def test_latents_that_are_all_one_point_have_no_spread():
    found = principal_components(np.ones((5, 1, 2, 2), dtype=np.float32), 2)
    assert not found.spreads.any() and not found.shares.any()
    assert not embed(np.ones((6, 1, 2, 2), dtype=np.float32), 2).any()


@pytest.mark.slow
def test_tsne_keeps_two_far_groups_apart_and_is_the_same_each_time():
    points = latents(80)
    points[40:] += 20.0
    told: list[tuple[str, float]] = []
    first = embed(points, 2, perplexity=10.0)
    again = embed(points, 2, perplexity=10.0, progress=lambda stage, fraction: told.append((stage, fraction)))
    assert np.array_equal(first, again)
    shares = [fraction for _, fraction in told]
    assert {stage for stage, _ in told} == {"arranging 80 images by t-SNE"}
    assert shares == sorted(shares) and all(0.0 <= share <= 1.0 for share in shares)
    distances = np.linalg.norm(first[:, None] - first[None], axis=2) + np.eye(80) * 1e9
    assert ((distances.argmin(axis=1) < 40) == (np.arange(80) < 40)).all()  # each one's neighbour is of its own group


@pytest.mark.parametrize("count", [4, 2001])
def test_tsne_refuses_too_few_and_too_many_pictures(count):
    with pytest.raises(UsageError, match=f"5 to 2,000 images, got {count:,}"):
        embed(np.zeros((count, 1, 1, 1), dtype=np.float32), 2)


def is_arranging(child: psutil.Process) -> bool:
    """Other tests in this process may have left dead children of their own behind."""
    try:
        return projection.CHILD in " ".join(child.cmdline())
    except psutil.ZombieProcess:
        return False


@pytest.mark.parametrize(
    ("words", "how"),
    [("it was cancelled", {"progress": None}), ("2,000 images took longer than 0 s; take fewer", {"most_s": 0.0})],
    ids=["stopped", "too slow"],
)
def test_tsne_that_is_stopped_or_too_slow_leaves_no_process(words, how):
    def stop(*_: object) -> None:
        raise LabError("it was cancelled")

    with pytest.raises(LabError, match=words):
        embed(latents(2000), 2, **({"progress": stop} if "progress" in how else how))
    assert not [child for child in psutil.Process().children() if is_arranging(child)]


@pytest.mark.parametrize("module", ["core.latent.nothing_of_that_name", "core.latent"], ids=["died", "no result"])
def test_tsne_whose_process_dies_is_one_sentence(monkeypatch, module):
    monkeypatch.setattr(projection, "CHILD", module)
    with pytest.raises(LabError, match=r"t-SNE: the process that computes it died \(exit code 1\); take fewer"):
        embed(latents(), 2)


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, points: np.ndarray, dimensions: int, *, perplexity: float) -> np.ndarray:
        self.calls += 1
        return np.full((len(points), dimensions), float(self.calls), dtype=np.float32)


def test_a_projection_is_computed_once_for_the_same_vae_pictures_and_settings(tmp_path):
    compute = Counting()
    for _ in range(2):
        kept_embedding(latents(), 2, key="a", cache_dir=tmp_path, compute=compute)
    assert compute.calls == 1 and is_kept(60, 2, key="a", cache_dir=tmp_path)


@pytest.mark.parametrize(
    "other",
    [{"key": "b"}, {"perplexity": 10.0}, {"dimensions": 3}, {"latents": latents(30)}],
    ids=["another VAE", "another perplexity", "in space", "other images"],
)
def test_a_projection_of_something_else_is_computed_anew(tmp_path, other):
    compute = Counting()
    usual = {"latents": latents(), "dimensions": 2, "key": "a", "cache_dir": tmp_path, "compute": compute}
    kept_embedding(**usual)
    kept_embedding(**{**usual, **other})
    assert compute.calls == 2


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY nothing", None], ids=["empty", "torn", "of another shape"])
def test_a_damaged_projection_is_computed_again(tmp_path, damage):
    compute = Counting()
    kept_embedding(latents(), 2, key="a", cache_dir=tmp_path, compute=compute)
    path = next((tmp_path / "projections" / "a").glob("*.npy"))
    if damage is None:
        np.save(path, np.zeros((3, 2), dtype=np.float32))
    else:
        path.write_bytes(damage)
    assert (kept_embedding(latents(), 2, key="a", cache_dir=tmp_path, compute=compute) == 2.0).all()


def test_a_cache_that_cannot_be_written_costs_only_the_keeping(tmp_path):
    (tmp_path / "projections").write_text("in the way")
    assert kept_embedding(latents(), 2, key="a", cache_dir=tmp_path, compute=Counting()).shape == (60, 2)
