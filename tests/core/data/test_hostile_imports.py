"""Imports that mean harm: one sentence each, within 10 s and 600 MB, and nothing left behind anywhere."""

from __future__ import annotations

import io
import os
import resource
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.importing.import_set import import_set
from core.errors import LabError
from core.limited_child import Measured

MOST_S, MOST_BYTES = 10.0, 600e6
Maker = Callable[[Path], Path]


def picture(color: int = 90, mode: str = "L", size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color if mode == "L" else (color, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    """A good set of two classes with these entries more."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/1.png", "a/2.png", "b/1.png"):
            archive.writestr(name, picture())
        for name, data in entries:
            archive.writestr(name, data)
    return path


def entry(name: str) -> Callable[[Path], Path]:
    return lambda folder: zipped(folder / "set.zip", (name, picture()))


def link_entry(folder: Path) -> Path:
    info = zipfile.ZipInfo("a/link.png")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return zipped(folder / "set.zip", (info, b"/etc/passwd"))


def duplicate_names(folder: Path) -> Path:
    with pytest.warns(UserWarning, match="Duplicate"):
        return zipped(folder / "set.zip", ("a/1.png", picture(7)))


def high_ratio(folder: Path) -> Path:
    return zipped(folder / "set.zip", ("a/bomb.png", bytes(30_000_000)))


def nested(folder: Path) -> Path:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(1_000_000))
    return zipped(folder / "set.zip", ("a/inner.zip", inner.getvalue()))


def overlapping(folder: Path) -> Path:
    """Two directory entries for one file: the second name points at the first one's bytes."""
    data = bytearray(zipped(folder / "good.zip").read_bytes())
    (folder / "good.zip").unlink()
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    (folder / "set.zip").write_bytes(data)
    return folder / "set.zip"


def quoted_overlap(folder: Path) -> Path:
    """Fifield's bomb: each file's data is a stored block that quotes the next file's local header, and so on."""
    kernel = zlib.compress(bytes(200_000), 9)[2:-4]
    names = [b"a/%d.png" % place for place in range(20)]
    total: int = 200_000
    headers: list[tuple[bytes, int, int]] = []
    tail = kernel
    body: list[bytes] = []
    crc = zlib.crc32(bytes(200_000))
    for name in reversed(names):
        local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 33, crc, len(tail), total, len(name), 0) + name
        headers.insert(0, (name, len(tail), total))
        body.insert(0, local)
        quote = b"\x00" + struct.pack("<HH", len(local), len(local) ^ 0xFFFF)
        tail = quote + local + tail
        total += len(local)
    stream, offsets = b"", []
    for index, local in enumerate(body):
        if index:
            stream += b"\x00" + struct.pack("<HH", len(local), len(local) ^ 0xFFFF)
        offsets.append(len(stream))
        stream += local
    stream += kernel
    directory = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 33, crc, size, whole, len(name), 0, 0, 0, 0, 0, at)
        + name
        for (name, size, whole), at in zip(headers, offsets, strict=True)
    )
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, len(names), len(names), len(directory), len(stream), 0)
    (folder / "set.zip").write_bytes(stream + directory + end)
    return folder / "set.zip"


def encrypted(folder: Path) -> Path:
    data = bytearray(zipped(folder / "set.zip").read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (folder / "set.zip").write_bytes(data)
    return folder / "set.zip"


def lying_size(folder: Path) -> Path:
    """An entry that unpacks to far more than it says."""
    data = bytearray(zipped(folder / "set.zip", ("a/bomb.png", bytes(20_000_000))).read_bytes())
    last = data.rindex(b"PK\x01\x02")
    data[last + 24 : last + 28] = struct.pack("<I", 5000)
    (folder / "set.zip").write_bytes(data)
    return folder / "set.zip"


def wrong_sum(folder: Path) -> Path:
    data = bytearray(zipped(folder / "set.zip").read_bytes())
    data[data.index(b"PK\x01\x02") + 16] ^= 0xFF
    (folder / "set.zip").write_bytes(data)
    return folder / "set.zip"


def tiny_files(folder: Path) -> Path:
    """10^5 entries without a byte, written by hand: zipfile would take seconds."""
    local, directory = bytearray(), bytearray()
    for place in range(100_000):
        name = b"a/%05d.png" % place
        rest = (0, 33, 0, 0, 0, len(name), 0)
        directory += struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, *rest, 0, 0, 0, 0, len(local)) + name
        local += struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, *rest) + name
    start = len(local) + len(directory)
    more = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 100_000, 100_000, len(directory), len(local))
    more += struct.pack("<4sIQI", b"PK\x06\x07", 0, start, 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 65535, 65535, len(directory), len(local), 0)
    (folder / "set.zip").write_bytes(local + directory + more + end)
    return folder / "set.zip"


def bomb_png(folder: Path) -> Path:
    """40,000 × 40,000 grey pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", 40_000, 40_000, 8, 0, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(400_000)))
        + chunk(b"IEND", b"")
    )
    return zipped(folder / "set.zip", ("b/bomb.png", data))


def no_archive(folder: Path) -> Path:
    (folder / "set.zip").write_bytes(os.urandom(5000))
    return folder / "set.zip"


def cut_archive(folder: Path) -> Path:
    data = zipped(folder / "set.zip").read_bytes()
    (folder / "set.zip").write_bytes(data[: len(data) // 2])
    return folder / "set.zip"


def empty_class(folder: Path) -> Path:
    return zipped(folder / "set.zip", ("c/", b""))


def mixed_channels(folder: Path) -> Path:
    return zipped(folder / "set.zip", ("b/2.png", picture(200, "RGB")))


def corrupt(folder: Path) -> Path:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(buffer, "PNG")
    return zipped(folder / "set.zip", ("b/2.png", buffer.getvalue()[:900]))


def no_picture(folder: Path) -> Path:
    return zipped(folder / "set.zip", ("b/2.png", b"GIF, or not"))


def tree(folder: Path) -> Path:
    root = folder / "set"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for place in range(2):
            (root / name / f"{place}.png").write_bytes(picture())
    return root


def linked(folder: Path) -> Path:
    root = tree(folder)
    (root / "a" / "9.png").symlink_to("/etc/passwd")
    return root


def pipe(folder: Path) -> Path:
    root = tree(folder)
    os.mkfifo(root / "a" / "9.png")
    return root


def strange_directory(folder: Path) -> Path:
    root = tree(folder)
    (root / "b\x1b[31m").mkdir()
    return root


def empty_directory(folder: Path) -> Path:
    root = tree(folder)
    (root / "c").mkdir()
    return root


def arrays(**changes: object) -> Maker:
    def make(folder: Path) -> Path:
        images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
        values = {"images": images, "labels": np.array([0, 1, 2, 0, 1, 2]), **changes}
        np.savez(folder / "set.npz", **values)  # type: ignore[arg-type]
        return folder / "set.npz"

    return make


def claims(folder: Path) -> Path:
    """A header that asks for a terabyte."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 32, 32)})
    with zipfile.ZipFile(folder / "set.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(100))
        archive.writestr("labels.npy", header.getvalue())
    return folder / "set.npz"


def single_array(folder: Path) -> Path:
    np.save(folder / "set.npy", np.zeros(3))
    return folder / "set.npy"


HOSTILE: dict[str, tuple[Maker, str]] = {
    "zip bomb": (high_ratio, "the entry 'a/bomb.png' would unpack to 1,0"),
    "nested zip": (nested, "the entry 'a/inner.zip' is an archive inside the archive"),
    "overlapping entries": (overlapping, "share the same bytes"),
    "quoted overlap": (quoted_overlap, "the entries 'a/0.png' and 'a/1.png' share the same bytes"),
    "entry longer than it says": (lying_size, "'a/bomb.png' is damaged"),
    "wrong checksum": (wrong_sum, "'a/1.png' is damaged (BadZipFile: Bad CRC-32"),
    "decompression bomb": (bomb_png, "'b/bomb.png': 40000 × 40000 pixels are more than 25,000,000"),
    "path upwards": (entry("../x.png"), "the path '../x.png' leads out of the set"),
    "path upwards inside": (entry("a/../../x.png"), "the path 'a/../../x.png' leads out of the set"),
    "absolute path": (entry("/tmp/x.png"), "the path '/tmp/x.png' leads out of the set"),
    "backslashes": (entry("a\\..\\..\\x.png"), "leads out of the set"),
    "drive letter": (entry("C:/x.png"), "the path 'C:/x.png' leads out of the set"),
    "link entry": (link_entry, "the entry 'a/link.png' is a link"),
    "control characters": (entry("a\x1b[31m/1.png"), "the name 'a?[31m/1.png' has characters that cannot be shown"),
    "names twice": (duplicate_names, "the entry 'a/1.png' is there twice"),
    "password": (encrypted, "the entry 'a/1.png' is locked with a password"),
    "10^5 tiny files": (tiny_files, "100,000 entries are more than 80,000"),
    "no archive": (no_archive, "not a zip archive, or a damaged one"),
    "cut archive": (cut_archive, "not a zip archive, or a damaged one"),
    "empty class": (empty_class, "the class 'c' has no images; fill or remove it"),
    "empty directory": (empty_directory, "the class 'c' has no images; fill or remove it"),
    "mixed channels": (mixed_channels, "3 images are gray and 1 in color; choose one for all: gray or rgb"),
    "corrupt picture": (corrupt, "'b/2.png': damaged image"),
    "no image": (no_picture, "'b/2.png': not an image that can be read"),
    "link in a folder": (linked, "'a/9.png' is a link"),
    "pipe in a folder": (pipe, "'a/9.png' is not an ordinary file"),
    "directory with control characters": (strange_directory, "has characters that cannot be shown"),
    "labels of another number": (arrays(labels=np.arange(5)), "6 images but 5 labels"),
    "negative labels": (arrays(labels=np.arange(6) - 1), "'labels' must be 0 or more, got -1"),
    "fractional labels": (arrays(labels=np.arange(6) / 2), "'labels' must be whole numbers of shape (N,), got float64"),
    "labels with a gap": (arrays(labels=np.array([0, 2] * 3)), "class 1 ('1') has no images"),
    "objects": (arrays(labels=np.array([{}] * 6)), "'labels' holds Python objects, which are never read"),
    "pictures as objects": (arrays(images=np.array([None] * 6)), "'images' holds Python objects, which are never read"),
    "two channels": (arrays(images=np.zeros((6, 8, 8, 2), np.uint8)), "(N, height, width, 1 or 3), got (6, 8, 8, 2)"),
    "header that claims a terabyte": (claims, "'images' claims 1,024,000,000,000 bytes"),
    "single array": (single_array, "it is a single array"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_import_gets_one_sentence_and_leaves_nothing(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = HOSTILE[case]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "given").mkdir()
    source = make(tmp_path / "given")
    before = everything(tmp_path)
    took: list[Measured] = []
    began = children_s()
    with pytest.raises(LabError) as caught:
        import_set(source, name="evil", folder=tmp_path / "imports", measured=took.append)
    sentence = str(caught.value)
    assert words in sentence
    assert sentence.startswith(f"{source.name}: ")
    assert sentence.isprintable() and len(sentence) < 400
    assert everything(tmp_path) == before
    assert children_s() - began < MOST_S
    assert 0 < took[0].peak_bytes < MOST_BYTES


def children_s() -> float:
    """Processor time of all children that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def everything(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))
