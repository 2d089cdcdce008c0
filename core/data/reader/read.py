"""The one reader: a folder or a zip archive → its images by class and split, and the reading that every door shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.decoding import MAX_PIXELS, decode
from core.data.limits import ReadLimits
from core.data.raw import RawSet, RawSplit
from core.data.reader.array_sets import ArrayParts, file_parts, npz_parts, pixel_table, raw_arrays
from core.data.reader.layout import Arranged, arrange
from core.data.reader.listing import TABLES, Listing, Member, list_beside, list_folder, list_zip
from core.data.reader.look import Look, Progress, look
from core.data.reader.names import NPZ, is_array_file, kind_of_file, suffix_of
from core.data.reader.parquet import parquet_members
from core.data.reader.reading_of_set import Answers, Reading
from core.data.reader.tables import labels_in
from core.errors import DataUnavailable
from core.rules import NEWEST

_SAVE = "save its arrays with numpy.savez(FILE, images=…, labels=…) and give that .npz"
_OTHER_KINDS = {
    (".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"): "unpack it and give what it holds",
    (".mat", ".h5", ".hdf5", ".pkl", ".pickle", ".pt", ".pth", ".joblib", ".arrow", ".feather", ".tfrecord"): _SAVE,
}


@dataclass(kw_only=True)
class PictureSet:
    """Images by class, in natural order; heldout empty = no test split of its own. files: those that it is made from,
    as they lie in its folder."""

    arranged: Arranged
    train: dict[str, list[Member]]
    heldout: dict[str, list[Member]]
    left_out: Counter[str]
    files: list[str]

    @property
    def class_names(self) -> tuple[str, ...]:
        """As text that can be printed: a name may be no UTF-8."""
        return tuple(name.encode(errors="replace").decode() for name in self.train)

    @property
    def parts(self) -> dict[str, dict[str, list[Member]]]:
        """Part → class → images, without an empty part."""
        return {"train": self.train, **({"heldout": self.heldout} if self.heldout else {})}

    def members(self, part: str) -> list[Member]:
        """The images of a part, class after class."""
        return [member for members in self.parts[part].values() for member in members]

    def looked_at(
        self,
        answers: Answers,
        *,
        headers: bool = False,
        max_pixels: int = MAX_PIXELS,
        report: Progress = lambda stage, fraction: None,
    ) -> Look:
        """What the pixels say. Raises UsageError for a question that nobody answered, DataUnavailable."""
        members = [member for part in self.parts for member in self.members(part)]
        found = look(members, answers, headers=headers, max_pixels=max_pixels, report=report)
        for question in found.questions:
            raise question.as_error()
        return found

    def reading(self, found: Look) -> Reading:
        """The record that every door shows."""
        return Reading(
            layout=self.arranged.layout,
            class_names=self.class_names,
            counts_train=tuple(map(len, self.train.values())),
            counts_heldout=tuple(len(self.heldout.get(name, ())) for name in self.train) if self.heldout else (),
            split=self.arranged.split,
            sizes=found.sizes,
            looked_at=found.looked_at,
            channels=found.channels,
            bits=found.bits,
            left_out={_printable(kind): number for kind, number in _most_first(self.left_out)},
            doubts=tuple(map(_printable, (*self.arranged.doubts, *found.doubts))),
        )


def find_set(
    path: Path, answers: Answers, limits: ReadLimits, *, follow: bool, rule: int = NEWEST.folders
) -> PictureSet | ArrayParts:
    """What a folder, a zip archive or a file holds: images by their names alone, or arrays.

    follow: see `list_folder`. rule: the version of `folders` in core.rules.

    Raises DataUnavailable, or UsageError for a question that nobody answered.
    """
    if path.is_dir():
        listing = list_folder(path, limits, follow=follow)
    elif path.suffix.lower() in NPZ:
        return npz_parts(path, limits)
    elif path.suffix.lower() in TABLES or is_array_file(path.name):
        listing = list_beside(path, limits, follow=follow)
    else:
        _refuse_other_kinds(path)
        listing = list_zip(path, limits)
    if listing.images:
        return _sorted_out(listing, answers, limits, rule)
    return _arrays_of(listing, path, answers, limits, rule)


def _refuse_other_kinds(path: Path) -> None:
    """Files that people have sets of images in and that are not read: what to do with each."""
    for suffixes, hint in _OTHER_KINDS.items():
        if path.name.lower().endswith(suffixes):
            raise DataUnavailable(f"{path.suffix.lower()} files are not read", hint)


def _arrays_of(
    listing: Listing, path: Path, answers: Answers, limits: ReadLimits, rule: int
) -> PictureSet | ArrayParts:
    """A set without an image file: Parquet, a lone .npz, .npy and IDX files, a table of pixels."""
    arrays = sorted(listing.arrays, key=lambda each: each.path)
    parquet = [each for each in arrays if suffix_of(each.path) == ".parquet"]
    packed = [each for each in arrays if suffix_of(each.path) == ".npz"]
    if parquet:
        used: Sequence[Member] = parquet
        arranged, members = parquet_members(parquet, answers, limits)
        found: PictureSet | ArrayParts = _picture_set(arranged, members, Counter())
    elif len(packed) == 1 and len(arrays) == 1 and path.is_dir():
        used, found = packed, npz_parts(path / packed[0].path, limits)
    elif arrays and not packed:
        used, found = arrays, file_parts(arrays, limits)
    elif table := pixel_table(sorted(listing.tables, key=lambda each: each.path)):
        used, found = listing.tables, table
    else:
        return _sorted_out(listing, answers, limits, rule)  # which says that there are no images
    taken = {each.path for each in used}
    others = Counter(kind_of_file(each.path) for each in (*arrays, *listing.tables) if each.path not in taken)
    found.left_out = Counter(found.left_out) + listing.left_out + others
    found.files = sorted(taken)
    return found


def _sorted_out(listing: Listing, answers: Answers, limits: ReadLimits, rule: int) -> PictureSet:
    """The images of a listing by class and split. Raises as `find_set` does."""
    by_path = {member.path: member for member in listing.images}
    found = arrange(
        list(by_path),
        labels=labels_in(listing.tables, list(by_path), answers, rule),
        directories=listing.directories,
        others=listing.others,
        unread=listing.unread,
        answers=answers,
        most_classes=limits.classes,
        rule=rule,
    )
    for question in found.questions:
        raise question.as_error()
    unused = Counter(
        kind_of_file(each.path) for each in (*listing.tables, *listing.arrays) if each.path not in found.tables
    )
    return _picture_set(found, by_path, listing.left_out + unused)


def _picture_set(found: Arranged, by_path: Mapping[str, Member], left_out: Counter[str]) -> PictureSet:
    return PictureSet(
        arranged=found,
        train={name: [by_path[path] for path in paths] for name, paths in found.train.items()},
        heldout={name: [by_path[path] for path in paths] for name, paths in found.heldout.items()},
        left_out=left_out + found.left_out,
        files=[
            *(path for parts in (found.train, found.heldout) for paths in parts.values() for path in paths),
            *found.tables,
        ],
    )


def raw_set(
    found: PictureSet | ArrayParts,
    answers: Answers,
    limits: ReadLimits,
    *,
    image_size: int,
    report: Progress = lambda stage, fraction: None,
) -> RawSet:
    """Reads every header now, the pixels when they are asked for. Raises as `PictureSet.looked_at` does."""
    if isinstance(found, ArrayParts):
        return raw_arrays(found, answers, limits)
    seen = found.looked_at(answers, headers=True, report=report)
    sizes = np.array([(header.height, header.width) for header in seen.headers], dtype=np.int64)
    places = {name: place for place, name in enumerate(found.train)}
    splits: dict[str, RawSplit] = {}
    start = 0
    for part, classes in found.parts.items():
        members = found.members(part)
        labels = np.repeat([places[name] for name in classes], [len(each) for each in classes.values()])
        splits[part] = RawSplit(
            labels=labels.astype(np.int64),
            channels=seen.channels,
            blocks=_Blocks(members=members, look=seen, image_size=image_size),
            sizes=sizes[start : start + len(members)],
        )
        start += len(members)
    reading = found.reading(seen)
    return RawSet(train=splits["train"], heldout=splits.get("heldout"), class_names=found.class_names, reading=reading)


@dataclass(frozen=True, kw_only=True)
class _Blocks:
    """The images of a part, one after the other, as RawSplit.blocks gives them."""

    members: list[Member]
    look: Look
    image_size: int

    def __call__(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        for index in indices:
            member = self.members[index]
            found = decode(member.read(), where=member.where, tops=self.look.tops, at_least=self.image_size)
            yield found.pixels[None]


def _most_first(kinds: Counter[str]) -> list[tuple[str, int]]:
    return sorted(kinds.items(), key=lambda each: (-each[1], each[0]))


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()
