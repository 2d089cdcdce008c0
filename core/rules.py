"""The rules that decide numbers, each with a version, so that what was made by an old one stays true to it.

A run, a recipe and a link keep the versions they were made with; none means 1, which is what the lab did before it
wrote them down. What is new takes the newest. Whoever implements a rule calls `check`, so that an unknown version never
passes for a known one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from core.errors import LabError, quoted

PREFIX = "rules."  # of their names among the versions of a run or a recipe


@dataclass(frozen=True, kw_only=True)
class Rules:
    """A version of each rule, by default the first; NEWEST has the newest.

    noise: from seed, purpose and numbers to noise; 2 keeps more than 32 bits of them (core.seeding).
    split: which pictures are held out, and which few are trained on; 2 validates on some of the training images, and
    leaves those that are held out to final figures.
    folders: which files of a folder are pictures, and of which class; 2 is core.data.reader, for every door; 3 knows
    parts of a split in each class, directories without labels, and more tables.
    bit_depth: how more than 8 bits become 8; 2 lets the range of the whole set decide. optimizer: what
    takes a step. threads: how many are used where nobody says. loss_weight: of min-SNR; by 2 it is never 0.
    """

    noise: int = 1
    split: int = 1
    folders: int = 1
    bit_depth: int = 1
    optimizer: int = 1
    threads: int = 1
    loss_weight: int = 1

    def written(self) -> dict[str, str]:
        """As they stand among the versions of a run or a recipe."""
        return {f"{PREFIX}{name}": str(version) for name, version in asdict(self).items()}


NEWEST = Rules(noise=2, split=2, folders=3, bit_depth=2, loss_weight=2)
NAMES = tuple(field.name for field in fields(Rules))


def rules_of(versions: Mapping[str, str]) -> Rules:
    """The rules among the versions of a run or a recipe; a missing one is 1. Raises LabError as `flaw` words it."""
    if words := flaw(versions):
        raise LabError(words, "update this lab")
    return Rules(**{name: int(versions[PREFIX + name]) for name in NAMES if PREFIX + name in versions})


def flaw(versions: Mapping[str, str]) -> str:
    """Why nothing may be done with what was made by these rules; '' when all are known here."""
    for key, version in versions.items():
        name = key.removeprefix(PREFIX)
        if key != name and not (name in NAMES and version in map(str, range(1, getattr(NEWEST, name) + 1))):
            return f"made by a newer version of the lab: version {quoted(version, 20)} of the rule '{quoted(name, 40)}'"
    return ""


def check(name: str, version: int) -> None:
    """Raises LabError for a version of the rule that does not exist here."""
    rules_of({PREFIX + name: str(version)})
