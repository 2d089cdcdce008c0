"""What the pixels of a set say before all of them are read: range of the stored values, color, sizes, darkness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.data.decoding import (
    GREY_MODES,
    MAX_PIXELS,
    Header,
    Tops,
    UnknownRange,
    decode,
    header_of,
    stored_range,
)
from core.data.reader.listing import Member
from core.data.reader.reading_of_set import AUTO, Answers, Question
from core.errors import DataUnavailable, UsageError, quoted

LOOKED_AT = 64  # images spread over the set, decoded to tell its color and its darkness
MOST_SIZES = 8
THIN = 256  # pixels per side that a mean is taken from, at least
DRAFT = 128  # short side, pixels, at least twice of which a large JPEG is looked at
DARK, FLAT = 6.0, 2.0  # of 255: a mean within DARK of black or white, a standard deviation below FLAT
DEEP_SUFFIXES = (".png", ".apng", ".tif", ".tiff", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k", ".dds", ".sgi")
Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Look:
    """sizes: (height, width, how many) of the `looked_at` images. headers: of every image, where they were asked for.
    bits: what 0 to 255 was made from, in words."""

    tops: Tops
    channels: int
    sizes: tuple[tuple[int, int, int], ...]
    looked_at: int
    bits: str
    doubts: tuple[str, ...]
    questions: tuple[Question, ...]
    headers: tuple[Header, ...] = ()


def look(
    members: Sequence[Member],
    answers: Answers,
    *,
    headers: bool = False,
    max_pixels: int = MAX_PIXELS,
    report: Progress = lambda stage, fraction: None,
) -> Look:
    """Of the images of a set, in its order. headers: of every one too. Raises DataUnavailable, UsageError."""
    try:
        return _look(members, answers, headers=headers, every=headers, max_pixels=max_pixels, report=report)
    except UnknownRange:  # a file whose suffix does not say that it may have more than 8 bits
        return _look(members, answers, headers=headers, every=True, max_pixels=max_pixels, report=report)


def _look(
    members: Sequence[Member],
    answers: Answers,
    *,
    headers: bool,
    every: bool,
    max_pixels: int,
    report: Progress,
) -> Look:
    known: list[Header] = []
    low, high, deep, passed = np.inf, -np.inf, 0, 0
    for place, member in enumerate(members):
        if not every and not member.path.lower().endswith(DEEP_SUFFIXES):
            passed += 1
            continue
        data = member.read()
        if _is_shallow_png(data) and not headers:
            continue
        header = header_of(data, where=member.where, max_pixels=max_pixels)
        if headers:
            known.append(header)
        if header.is_deep:
            least, most = stored_range(data, where=member.where, max_pixels=max_pixels)
            low, high, deep = min(low, least), max(high, most), deep + 1
        report("looking at the files", place / len(members))
    if deep and passed:  # then what has another suffix may be deep, too
        return _look(members, answers, headers=headers, every=True, max_pixels=max_pixels, report=report)
    tops, bits, doubts = _tops(low, high, deep, len(members), answers.bit_depth)
    sample = members[:: max(1, len(members) // LOOKED_AT)]
    sizes: Counter[tuple[int, int]] = Counter()
    total, squares, count, modes, colored = 0.0, 0.0, 0, [], False
    for member in sample:
        found = decode(member.read(), where=member.where, tops=tops, at_least=DRAFT, max_pixels=max_pixels)
        sizes[(found.header.height, found.header.width)] += 1
        values = thinned(found.pixels[None])
        total, squares, count = total + values.sum(), squares + (values**2).sum(), count + values.size
        modes.append(found.header.mode)
        colored = colored or _is_colored(found.pixels)
    channels = 3 if colored else 1
    if not colored and (late := _first_colored(members, tops, max_pixels, report)):
        channels = 3
        doubts.append(
            f"all {len(sample)} images looked at are gray, '{quoted(late, 40)}' is in color: the set is taken as color "
            "(data.color=gray makes it gray)"
        )
    if colored and (grey := sum(mode in GREY_MODES for mode in modes)):
        doubts.append(f"{grey} of {len(sample)} images looked at are stored gray: the set is taken as color")
    questions = values_question(total, squares, count, answers) if len(members) > 1 else []
    return Look(
        tops=tops,
        channels=channels,
        sizes=tuple((*size, number) for size, number in sizes.most_common(MOST_SIZES)),
        looked_at=len(sample),
        bits=bits,
        doubts=tuple(doubts),
        questions=tuple(questions),
        headers=tuple(known),
    )


def tops_of(high: float, low: float, is_float: bool, said: str = AUTO) -> tuple[float, str]:
    """(the stored value that becomes 255, what that is in words), of values with more than 8 bits.

    Raises DataUnavailable for values that no bit depth holds, UsageError for an override that they exceed.
    """
    if low < 0:
        raise DataUnavailable(f"its pixels go down to {low:g}", "save them as 0 to 255, 0 to 65,535 or 0.0 to 1.0")
    if said == "float":
        top, words = 1.0, "values 0.0 to 1.0"
    elif said != AUTO:
        top, words = 2.0 ** int(said) - 1, f"{said} bits"
    elif is_float and high <= 1.0:
        top, words = 1.0, "values 0.0 to 1.0"
    else:
        bits = next((bits for bits in (8, 10, 12, 14, 16) if high < 2**bits), 0)
        if not bits:
            raise DataUnavailable(f"its pixels have more than 16 bits: {high:,.0f}", "save it with 8 or 16")
        top, words = 2.0**bits - 1, f"{bits} bits"
    if high > top:
        raise UsageError(f"--bit-depth {said}: the highest value is {high:g}", "leave it out, or say more bits")
    return top, f"{words} (highest value {high:,.6g})"


def _tops(low: float, high: float, deep: int, total: int, said: str) -> tuple[Tops, str, list[str]]:
    shallow, doubts = 255.0, []
    if said == "1" or (said == "float" and not deep):
        shallow = 1.0
    if not deep:
        return Tops(shallow=shallow), "1 bit" if shallow == 1 else "8 bits", []
    top, words = tops_of(high, low, high <= 1.0, said)
    if deep < total:
        doubts.append(f"{deep:,} of {total:,} images have more than 8 bits: {words}")
    return Tops(shallow=shallow, deep=top), words, doubts


def values_question(total: float, squares: float, count: int, answers: Answers) -> list[Question]:
    """Whether a set is nearly black, white or constant, and nobody said that it may be.

    total, squares: sums of its values and of their squares, of `count` values.
    """
    if answers.bit_depth != AUTO or not count:
        return []
    mean = total / count
    deviation = max(0.0, squares / count - mean**2) ** 0.5
    words = ""
    if deviation < FLAT:
        words = "nearly constant"
    elif min(mean, 255 - mean) < DARK and deviation < 2 * DARK:
        words = "nearly black" if mean < 128 else "nearly white"
    if not words:
        return []
    return [
        Question(
            seen=f"the images are {words} (mean {mean:.1f}, standard deviation {deviation:.1f} of 255)",
            taken="images with the values 0 to 255 as they are (--bit-depth 1, 10, 12 or 16 says another range)",
            option="bit_depth",
            value="8",
        )
    ]


def _first_colored(members: Sequence[Member], tops: Tops, max_pixels: int, report: Progress) -> str:
    """The first image whose channels differ; files that are stored gray are known by their headers."""
    for place, member in enumerate(members):
        data = member.read()
        if header_of(data, where=member.where, max_pixels=max_pixels).mode in GREY_MODES | {"F"}:
            continue
        if _is_colored(decode(data, where=member.where, tops=tops, at_least=DRAFT, max_pixels=max_pixels).pixels):
            return member.path
        report("looking for color", place / len(members))
    return ""


def thinned(images: np.ndarray) -> np.ndarray:
    """(n, h, w, C) as float64, of large ones every n-th pixel: enough for a mean."""
    rows, columns = (max(1, side // THIN) for side in images.shape[1:3])
    return images[:, ::rows, ::columns].astype(np.float64)


def _is_colored(pixels: np.ndarray) -> bool:
    return pixels.shape[2] == 3 and bool((pixels != pixels[..., :1]).any())


def _is_shallow_png(data: bytes) -> bool:
    """A PNG with at most 8 bits per value, by its first 25 bytes."""
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and data[24] <= 8
