"""What the test for memorization found, as a report keeps it. Never imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

QUANTILE = 0.01  # of the distances of held-out pictures: nearer than that is near
ALARM = 0.01  # chance that a model without copies shows any of four figures as extreme, below which they are a sign


@dataclass(frozen=True, kw_only=True)
class CopyTest:
    """One comparison. share: of generated pictures nearer to a training picture than 99 % of held-out ones are, with
    a 95 % Wilson interval; expected: of a model that copies nothing. chance: of such a share, or a larger one, then.
    c_t: statistic of arXiv 2004.05675, below 0 where generated pictures lie nearer; c_t_chance: of one as low."""

    share: float
    low: float
    high: float
    expected: float
    chance: float
    c_t: float
    c_t_chance: float


@dataclass(frozen=True, kw_only=True)
class Memorization:
    """Both comparisons of generated pictures with num_train training pictures, calibrated by num_heldout others."""

    num_generated: int
    num_heldout: int
    num_train: int
    features: CopyTest
    pixels: CopyTest

    @property
    def is_sign(self) -> bool:
        """Whether any of the four figures is a sign of copying; each may be wrong with a quarter of ALARM."""
        chances = (self.features.chance, self.features.c_t_chance, self.pixels.chance, self.pixels.c_t_chance)
        return min(chances) < ALARM / len(chances)

    def in_words(self) -> str:
        """What was found, in a sentence."""
        return (
            f"{self.pixels.share:.1%} (pixels) and {self.features.share:.1%} (features) of {self.num_generated:,} "
            f"images lie nearer to a training image than 99 % of {self.num_heldout:,} held-out images; "
            f"{self.pixels.expected:.1%} without copying."
        )


def memorization_rows(found: Memorization) -> list[tuple[str, str, str]]:
    """It as (metric, value, note) for a table."""
    rows = []
    for name, test, how in (
        ("pixels", found.pixels, "after small shifts, turns, noise and dimming are undone"),
        ("features", found.features, "in the judge's features"),
    ):
        note = (
            f"share nearer to a training image than 99 % of held-out ones, {how}: {test.expected:.1%} without copying"
        )
        note += f", {test.low:.1%} to {test.high:.1%}; C_T {test.c_t:.2f}, below 0 where images lie nearer"
        rows.append((f"near copies, {name}", f"{test.share:.1%}", note))
    sign = "a sign of copying" if found.is_sign else "no sign of copying by this test"
    return [*rows, ("memorization", sign, f"{found.num_generated:,} images; {found.num_heldout:,} held-out ones")]
