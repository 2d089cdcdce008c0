"""Noise is distinct for every seed, purpose and number; what follows the first version of the rule stays as it was."""

from __future__ import annotations

import pytest
import torch

from core.errors import LabError
from core.seeding import Randomness, derive, generator

SEED = 2
MET = (22_284, 28_755)  # the pictures of this seed whose noise is one by version 1


def noise(number: int, rule: int, count: int = 64) -> torch.Tensor:
    return torch.randn(count, generator=generator(SEED, "sample", number, rule=rule))


@pytest.mark.slow
def test_no_two_of_200_000_streams_are_equal() -> None:
    whole = torch.iinfo(torch.int64).max
    sources = (
        generator(SEED, purpose, number, rule=2)
        for purpose, numbers in (("sample", 100_000), ("posterior", 50_000), ("diffusion", 50_000))
        for number in range(numbers)
    )
    assert len({int(torch.randint(whole, (1,), generator=source)) for source in sources}) == 200_000


def test_two_pictures_that_met_by_version_1_differ_by_version_2() -> None:
    assert torch.equal(*(noise(number, rule=1) for number in MET))  # what was wrong, and is kept for old runs
    assert not torch.isclose(*(noise(number, rule=2) for number in MET)).any()


def test_the_noise_of_version_2_is_standard_normal_in_every_place() -> None:
    drawn = torch.stack([noise(number, rule=2) for number in range(4000)]).double()
    assert drawn.mean(dim=0).abs().max() < 5 / 4000**0.5
    assert (drawn.var(dim=0) - 1).abs().max() < 5 * (2 / 4000) ** 0.5
    assert float((drawn**4).mean()) == pytest.approx(3.0, abs=0.1)
    correlation = torch.corrcoef(drawn[:60])
    assert (correlation - torch.eye(60)).abs().max() < 5 / 64**0.5


def test_version_1_is_what_pytorch_makes_of_the_derived_seed() -> None:
    expected = torch.randn(64, generator=torch.Generator().manual_seed(derive(SEED, "sample", 5)))
    assert torch.equal(noise(5, rule=1), expected)
    assert not torch.equal(noise(5, rule=2), expected)


def test_version_2_is_this_stream_on_every_machine() -> None:
    drawn = torch.randint(1000, (6,), generator=generator(SEED, "sample", 5, rule=2))
    assert drawn.tolist() == [843, 152, 44, 252, 968, 524]


@pytest.mark.parametrize("rule", [1, 2])
def test_a_vae_and_a_unet_of_one_seed_share_no_purpose_by_version_2(rule: int) -> None:
    for purpose in ("posterior", "validation"):
        first, second = (
            torch.randn(64, generator=Randomness(SEED, rule, part).generator(purpose, 0)) for part in ("vae", "unet")
        )
        assert torch.equal(first, second) == (rule == 1)


@pytest.mark.parametrize("rule", [1, 2])
def test_the_state_of_pytorch_itself_follows_the_rule_too(rule: int) -> None:
    with torch.random.fork_rng(devices=[]):
        Randomness(SEED, rule, "sample").seed_torch("x", 5)
        drawn = torch.randn(64)
        if rule == 1:
            torch.manual_seed(derive(SEED, "x", 5))
            assert torch.equal(drawn, torch.randn(64))
        else:
            assert torch.equal(drawn, torch.randn(64, generator=generator(SEED, "sample x", 5, rule=2)))


def test_another_version_is_refused() -> None:
    with pytest.raises(LabError, match="version 3 of the rule 'noise'"):
        generator(SEED, "sample", 0, rule=3)
    with pytest.raises(LabError, match="version 3 of the rule 'noise'"):
        Randomness(SEED, 3, "vae").seed_torch("weights")
