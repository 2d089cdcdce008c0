"""Paths from links and forms: a link fills a form and reads nothing, and what is typed stays inside of the roots."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import LabError
from lab.data import data_import_service, data_service
from lab.generate import model_import_service
from lab.services import datasets
from lab.train import training_service
from tests.pages.conftest import OpenPage
from tests.pages.test_every_page import PAGES

IN_OPEN = 0x20
NAMES = (  # what links of the lab are made of, and what a stranger might try
    *("path", "data.path", "source", "import-path", "model-path", "file"),
    *("run", "vae", "kept", "comparison", "compare", "checkpoint", "other", "other-checkpoint", "part", "points"),
)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures beside an .npz, outside of the lab's own folders."""
    root = tmp_path / "theirs"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for place in range(3):
            Image.new("L", (8, 8), 90 * place).save(root / name / f"{place}.png")
    np.savez(root / "x.npz", images=np.arange(256, dtype=np.uint8).reshape(4, 8, 8), labels=np.arange(4) % 2)
    return root


@pytest.fixture
def was_opened(pictures: Path) -> Iterator[Callable[[], bool]]:
    """Whether anybody, this process or another, has opened that folder or anything in it since it was last asked."""
    libc = ctypes.CDLL(None, use_errno=True)
    watcher = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert watcher >= 0
    for folder in (pictures, pictures / "a"):
        assert libc.inotify_add_watch(watcher, os.fsencode(folder), IN_OPEN) > 0

    def ask() -> bool:
        try:
            return bool(os.read(watcher, 65_536))
        except BlockingIOError:
            return False

    yield ask
    os.close(watcher)


@pytest.mark.usefixtures("known_digits")
@pytest.mark.parametrize(("page", "kind"), [*((page, "image_folder") for page in PAGES), ("data", "npz")])
def test_a_link_reads_nothing_that_it_names(
    page: str, kind: str, open_page: OpenPage, pictures: Path, was_opened: Callable[[], bool]
) -> None:
    path = str(pictures if kind == "image_folder" else pictures / "x.npz")
    app = open_page(page, set=kind, **{"data.name": kind}, **dict.fromkeys(NAMES, path))
    assert not app.exception
    assert not was_opened()
    if page == "data":
        assert app.text_input(key="path").value == path
        app.button(key="look").click().run()
        assert not app.exception and not app.error
        assert was_opened(), "a press reads it"


@pytest.fixture
def in_roots(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root that paths typed in a browser may lead to, with a link out of it; the pictures lie outside."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(pictures)
    (tmp_path / "config.yaml").write_text(f"site:\n  data_roots: [{root}]\n")
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    return root


def looked_at(path: Path) -> None:
    work = data_service.look(datasets.data_settings("image_folder", str(path)))
    assert work.wait(600)
    if work.problem:
        raise work.problem


def set_imported(path: Path) -> None:
    options = {"title": "", "licence": "", "color": "native", "imported_by": "ana"}
    data_import_service.begin_import(name="mine", source=path, **options)


def model_imported(path: Path) -> None:
    model_import_service.begin_model_import(source=path, name="", data_set="", imported_by="ana", upload=None)


def trained(path: Path) -> None:
    training_service.settings_for("quick", {"data.name": "image_folder", "data.path": str(path)})


DOORS: dict[str, Callable[[Path], None]] = {
    "Data, Open it": looked_at,
    "Data, Import": set_imported,
    "Generate, Import": model_imported,
    "Train": trained,
}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("door", DOORS)
def test_what_is_typed_in_a_browser_leads_into_the_roots_alone(
    door: str, in_roots: Path, pictures: Path, was_opened: Callable[[], bool]
) -> None:
    for path, words in (
        (pictures, "is outside of site.data_roots"),
        (Path("/"), "/ is outside of site.data_roots; use a path in"),
        (in_roots / ".." / pictures.name, "is outside of site.data_roots"),
        (in_roots / "out", "leads out of site.data_roots"),
    ):
        with pytest.raises(LabError, match=words):
            DOORS[door](path)
    assert not was_opened()


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_training_on_pictures_that_are_links_out_of_the_roots_is_refused_at_its_start(
    in_roots: Path, pictures: Path
) -> None:
    (in_roots / "set").mkdir()
    for name in ("a", "b"):
        (in_roots / "set" / name).symlink_to(pictures / name)
    settings = training_service.settings_for("quick", {"data.name": "image_folder", "data.path": str(in_roots / "set")})
    with pytest.raises(LabError, match=r"leads out of site\.data_roots"):
        training_service.start("vae", settings, preset="quick", name="", owner="ana")


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_path_inside_of_the_roots_is_read(in_roots: Path, pictures: Path) -> None:
    pictures.rename(in_roots / "set")
    looked_at(in_roots / "set")
    trained(in_roots / "set")
