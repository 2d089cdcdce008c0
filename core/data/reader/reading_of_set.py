"""What the lab took a folder or a file for: the record that every door shows, its questions, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from core.errors import Unanswered, UsageError, quoted

AUTO = "auto"
BIT_DEPTHS = (AUTO, "1", "8", "10", "12", "14", "16", "float")
MOST_KINDS = 12  # kinds of files that a reading names; the others count among all


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What somebody said about a set instead of leaving it to the reader; AUTO = leave it.

    classes: the level of directories that names the classes, 1 = directly below the path. split: comma-separated names
    of the directories that are held out, or 'none': directories name no split. labels_from: 'folders', 'names', or a
    table beside the images, FILE or FILE:COLUMN. bit_depth: the range of the stored values, one of BIT_DEPTHS.
    """

    classes: str = AUTO
    split: str = AUTO
    labels_from: str = AUTO
    bit_depth: str = AUTO

    def __post_init__(self) -> None:
        if self.bit_depth not in BIT_DEPTHS:
            words = f"--bit-depth: must be one of {', '.join(BIT_DEPTHS)}, got '{quoted(self.bit_depth, 40)}'"
            raise UsageError(words)

    def given(self) -> dict[str, str]:
        """Those that were said."""
        return {name: value for name, value in asdict(self).items() if value != AUTO}


def answered(source: object) -> Answers:
    """The answers among the attributes of the settings of `data`, or of what was typed on a command line."""
    return Answers(**{each.name: getattr(source, each.name) for each in fields(Answers)})


@dataclass(frozen=True, kw_only=True)
class Question:
    """What must be said before a set is used. seen and taken: halves of a sentence; option, value: what says yes."""

    seen: str
    taken: str
    option: str
    value: str

    def as_error(self) -> Unanswered:
        """The question as a refusal that names the flag which answers it: exit code 2."""
        flag = f"--{self.option.replace('_', '-')} {self.value}"
        return Unanswered(
            f"{self.seen}; it would be taken as {self.taken}",
            f"if that is right, say {flag} (in settings data.{self.option}={self.value})",
            option=self.option,
            value=self.value,
        )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a folder or a file was taken for, before anything of it is stored.

    layout: where the classes come from. counts_train, counts_heldout: images per class; no counts_heldout = no test
    split of its own. split: the directories or tables of each part, in words. sizes: (height, width, how many) of the
    `looked_at` images spread over the set, most frequent first. channels: 1 or 3. bits: what 0 to 255 was made from,
    in words. left_out: how many files of each kind are no part of the set. doubts: sentences that need no answer.
    """

    layout: str
    class_names: tuple[str, ...]
    counts_train: tuple[int, ...]
    counts_heldout: tuple[int, ...]
    split: str
    sizes: tuple[tuple[int, int, int], ...]
    looked_at: int
    channels: int
    bits: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    def written(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def reading_from(facts: Mapping[str, Any]) -> Reading:
    """The record that `Reading.written` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    return Reading(
        layout=str(facts["layout"]),
        class_names=tuple(str(name) for name in facts["class_names"]),
        counts_train=tuple(int(number) for number in facts["counts_train"]),
        counts_heldout=tuple(int(number) for number in facts["counts_heldout"]),
        split=str(facts["split"]),
        sizes=tuple((int(height), int(width), int(number)) for height, width, number in facts["sizes"]),
        looked_at=int(facts["looked_at"]),
        channels=int(facts["channels"]),
        bits=str(facts["bits"]),
        left_out={str(kind): int(number) for kind, number in facts["left_out"].items()},
        doubts=tuple(str(words) for words in facts["doubts"]),
    )


def reading_lines(found: Reading) -> list[tuple[str, str]]:
    """(what, in words): the reading as every door says it, without its classes."""
    train, heldout = sum(found.counts_train), sum(found.counts_heldout)
    height, width, _ = found.sizes[0] if found.sizes else (0, 0, 0)
    sizes = f"{height} × {width}" + (f" most often, {len(found.sizes):,} sizes" if len(found.sizes) > 1 else "")
    left = [f"{number:,} {quoted(kind)}" for kind, number in list(found.left_out.items())[:MOST_KINDS]]
    rest = sum(found.left_out.values()) - sum(list(found.left_out.values())[:MOST_KINDS])
    held = f"{heldout:,} held out" if heldout else "of which data.holdout_fraction of each class is held out"
    return [
        ("classes", f"{len(found.class_names):,}, from {found.layout}"),
        (
            "split",
            f"{train:,} to train on, {held}{f' ({found.split})' if found.split else ''}; "
            "a twelfth of each class validates",
        ),
        ("images", f"{sizes}, {'color' if found.channels == 3 else 'gray'}, {found.bits}"),
        ("left out", ", ".join([*left, *([f"{rest:,} others"] if rest else [])]) or "nothing"),
        *(("note", words) for words in found.doubts),
    ]
