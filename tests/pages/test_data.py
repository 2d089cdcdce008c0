"""The Data screen: an empty lab, digits, an imported set, a broken one, hostile names, and what is not here."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from core.data.importing.import_set import import_set
from core.runs.store import RunStore
from lab.data import data_import_service, data_service
from lab.data.gallery import strip
from lab.services import datasets
from tests.pages.conftest import OpenPage, held_up
from tests.pages.test_every_page import active_markdown

HOSTILE = "![pixel](http://198.51.100.7/x.png) <b>"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    source = np.random.default_rng(0)
    np.savez(
        tmp_path / "x.npz",
        images=source.integers(0, 256, (12, 8, 8), dtype=np.uint8),
        labels=np.arange(12) % 3,
        class_names=np.array([HOSTILE, "b", "c"]),
    )
    return tmp_path / "x.npz"


def button(app: AppTest, label: str) -> Any:
    return next(each for each in app.button if each.label == label)


def press(app: AppTest, label: str) -> None:
    button(app, label).click().run()


def words(app: object) -> str:
    return " ".join(element.value for kind in ("markdown", "caption", "error", "warning") for element in app.get(kind))  # type: ignore[attr-defined]


def test_the_digits_are_read_by_the_process_that_computes(open_page: OpenPage) -> None:
    app = open_page("data")
    assert not app.exception
    assert app.query_params["set"] == "digits"
    assert "held out (taken from each class) · **10** classes · **8 × 8** gray" in words(app)
    assert "License: CC BY 4" in words(app)


def test_a_set_that_is_not_here_says_what_fetching_costs(open_page: OpenPage) -> None:
    app = open_page("data", set="cifar10")
    assert not app.exception
    assert "is not on this machine.** Downloading it takes about 170.5 MB" in words(app)
    assert not app.button(key="fetch").disabled


def test_a_read_only_data_folder_takes_no_download(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o555)
    app = open_page("data", set="cifar10")
    assert app.button(key="fetch").disabled
    assert "is read\\-only" in words(app)


@pytest.mark.slow
def test_an_imported_set_with_hostile_words_is_plain_text(open_page: OpenPage, made: Path) -> None:
    import_set(made, name="mine", title=HOSTILE, licence=HOSTILE, imported_by=HOSTILE)
    app = open_page("data", set="mine")
    assert not app.exception
    assert "**9** training images, of which 3 validate, **3** held out" in words(app)
    assert "**Imported:** 12 images, no test split of its own, 3 classes, gray. Nothing was left out." in words(app)
    assert active_markdown(app) == []


def test_a_broken_imported_set_is_one_sentence(open_page: OpenPage, made: Path, tmp_path: Path) -> None:
    import_set(made, name="mine")
    (tmp_path / "imports" / "mine" / "set.json").write_text("{}")
    app = open_page("data", set="mine")
    assert not app.exception
    assert "the imported set 'mine' in" in app.error[0].value


@pytest.mark.usefixtures("known_digits")
@pytest.mark.parametrize("name", [HOSTILE, "../x", "no-such-set"])
def test_a_link_to_a_set_that_is_not_there_shows_another(name: str, open_page: OpenPage) -> None:
    app = open_page("data", set=name)
    assert not app.exception
    assert "does not exist. Showing another." in app.warning[0].value
    assert active_markdown(app) == []


@pytest.mark.slow
def test_ones_own_file_that_is_not_there_is_one_sentence(open_page: OpenPage) -> None:
    app = open_page("data", set="npz")
    app.button(key="look").click().run()
    assert "needs a path" in app.error[0].value
    app = open_page("data", set="npz", path="/absent.npz")
    assert not app.exception and not app.error
    app.button(key="look").click().run()
    assert not app.exception
    assert "there is no file" in app.error[0].value
    app.text_input(key="path").input("/another.npz").run()
    assert not app.error, "what was said of one path is not said of the next"


@pytest.mark.slow
def test_ones_own_file_is_looked_at_after_a_press_and_stays(open_page: OpenPage, made: Path) -> None:
    app = open_page("data", set="npz", path=str(made))
    assert "press *Open it*" in words(app) and "**9** training images" not in words(app)
    app.button(key="look").click().run()
    assert not app.exception and "**9** training images, of which 3 validate, **3** held out" in words(app)
    made.unlink()
    assert "**9** training images" in words(app.run()), "it is not read again with every press elsewhere"
    app.button(key="look").click().run()
    assert "there is no file" in app.error[0].value


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("is_upload", [True, False])
def test_an_import_from_the_screen_keeps_who_and_leaves_nothing_else(
    is_upload: bool, made: Path, tmp_path: Path
) -> None:
    uploads = [(made.name, memoryview(made.read_bytes()))] if is_upload else []
    work = data_import_service.begin_import(
        name="mine", title="", licence="", color="native", imported_by="ana", source=made, uploads=uploads
    )
    assert work.wait(600) and work.problem is None
    assert (work.result.imported_by, work.result.train_count) == ("ana", 12)
    assert [path.name for path in (tmp_path / "imports").iterdir()] == ["mine"]


@pytest.mark.usefixtures("store")
def test_a_hostile_upload_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    work = data_import_service.begin_import(
        name="evil",
        title="",
        licence="",
        color="native",
        imported_by="ana",
        source=Path(),
        uploads=[("../../evil.zip", memoryview(b"no zip at all"))],
    )
    assert work.wait(600)
    assert "evil.zip: not a zip archive" in str(work.problem)
    assert not (tmp_path / "imports").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("known_digits")
def test_an_import_belongs_to_whom_began_it_and_a_second_asker_is_told(
    open_page: OpenPage, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = held_up(monkeypatch, data_import_service, "import_set")
    options: dict[str, Any] = {"title": "", "licence": "", "color": "native", "source": made}
    work = data_import_service.begin_import(name="hers", imported_by="Ana", **options)
    app = open_page("data")
    assert not app.get("progress")
    app.text_input(key="import-path").input(str(made))
    app.text_input(key="import-name").input("mine")
    press(app, "Look at it first")
    press(app, "Import")
    assert [error.value for error in app.error] == ["Another set is being imported by Ana; wait until it is done"]
    goes_on.set()
    assert work.wait(600) and work.problem is None
    assert app.run().query_params["set"] == "digits", "Ana's set is hers to be shown"
    assert [path.name for path in data_import_service.imports_dir().iterdir()] == ["hers"]


@pytest.mark.usefixtures("known_digits")
@pytest.mark.parametrize(("query", "is_open"), [({}, False), ({"add": "1"}, True)])
def test_the_form_for_own_images_lies_at_the_top_and_a_link_opens_it(
    query: dict[str, str], is_open: bool, open_page: OpenPage
) -> None:
    app = open_page("data", **query)
    (form,) = [each for each in app.expander if each.label == "Import your own images"]
    assert form.proto.expanded == is_open
    assert [each.key for each in form.text_input] == [
        *("import-path", "import-name", "import-title", "import-licence"),
        *("import-classes", "import-split", "import-labels-from"),
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("known_digits")
def test_the_reading_is_shown_before_anything_is_stored_and_a_question_is_answered_there(
    open_page: OpenPage, tmp_path: Path
) -> None:
    for part in ("train", "test"):
        (tmp_path / "set" / part).mkdir(parents=True)
        for place in range(3):
            picture = np.random.default_rng(place).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "set" / part / f"{place}.png")
    app = open_page("data", add="1")
    assert button(app, "Import").disabled
    app.text_input(key="import-path").input(str(tmp_path / "set"))
    press(app, "Look at it first")
    assert not app.error and button(app, "Import").disabled
    assert "named like parts of a split" in app.warning[0].value and app.warning[0].value.endswith("Is that right?")
    press(app, "Yes, take it so")
    assert (app.text_input(key="import-split").value, list(app.warning), list(app.error)) == ("none", [], [])
    assert "**classes:** 2, from the directories in the folder" in words(app)
    assert not button(app, "Import").disabled and not (tmp_path / "imports").exists()
    app.text_input(key="import-path").input(str(tmp_path))
    press(app, "Import")
    assert app.warning[0].value.startswith("This has changed since you looked at it") and button(app, "Import").disabled
    assert not (tmp_path / "imports").exists(), "what was not shown is not stored"
    app.text_input(key="import-path").input(str(tmp_path / "set"))
    press(app, "Look at it first")
    press(app, "Import")
    assert not app.error and app.query_params["set"] == "set"
    assert [path.name for path in (tmp_path / "imports").iterdir()] == ["set"]


@pytest.mark.usefixtures("store")
def test_files_that_are_uploaded_together_are_read_together(tmp_path: Path) -> None:
    digits = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)

    def packed(array: np.ndarray) -> bytes:
        head = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
        return gzip.compress(head + array.tobytes())

    rows = [f"{place % 3},{' '.join(map(str, picture.ravel()))}" for place, picture in enumerate(digits)]
    for files in (
        {
            "train-images-idx3-ubyte.gz": packed(digits),
            "train-labels-idx1-ubyte.gz": packed(np.arange(12, dtype=np.uint8) % 3),
        },
        {"my faces.csv": "\n".join(["emotion,pixels", *rows]).encode()},
    ):
        work = data_import_service.begin_look(
            source=Path(), uploads=[(f"../{name}", memoryview(data)) for name, data in files.items()], by="ana"
        )
        assert work.wait(600) and work.problem is None
        assert work.result.reading.counts_train == (4, 4, 4)
        assert not (tmp_path / "imports").exists()


@pytest.mark.usefixtures("known_digits")
def test_a_path_in_the_home_of_nobody_is_one_sentence(open_page: OpenPage) -> None:
    app = open_page("data")
    app.text_input(key="import-path").input("~nobody-of-that-name/x.npz")
    app.text_input(key="import-name").input("mine")
    press(app, "Look at it first")
    assert not app.exception
    assert len(app.error) == 1 and "nobody" in app.error[0].value


@pytest.mark.usefixtures("store")
def test_reading_a_set_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = held_up(monkeypatch, data_service, "asked")
    work = data_service.look(datasets.data_settings("digits", ""))
    work.cancel()
    goes_on.set()
    assert work.wait(600)
    assert "cancelled" in str(work.problem)


def test_a_fetch_that_fails_is_one_sentence(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o555)
    work = data_service.look(datasets.data_settings("cifar10", ""), download=True)
    assert work.wait(600)
    assert "that folder is read-only, so nothing is downloaded into it" in str(work.problem)
    assert "\n" not in str(work.problem)


def test_a_strip_is_a_whole_number_of_screen_pixels_a_pixel() -> None:
    (picture,) = strip("0", np.zeros((10, 28, 28, 1), np.uint8)).pictures
    assert picture.width == 2 * (10 * 29 - 1)


@pytest.mark.slow
@pytest.mark.usefixtures("known_digits")
def test_an_imported_set_is_removed_after_a_question(open_page: OpenPage, made: Path, tmp_path: Path) -> None:
    import_set(made, name="mine", title="Mine")
    app = open_page("data", set="mine")
    assert "permanently deletes" in words(app)
    assert (tmp_path / "imports" / "mine").is_dir()  # only asked
    app.button(key="remove-set-yes").click().run()
    assert not app.exception
    assert list((tmp_path / "imports").iterdir()) == []
    assert app.query_params["set"] == "digits"


@pytest.mark.usefixtures("known_digits")
def test_a_damaged_import_can_be_removed_too(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "imports" / "broken").mkdir(parents=True)
    app = open_page("data", set="broken")
    app.button(key="remove-set-yes").click().run()
    assert not (tmp_path / "imports" / "broken").exists()


@pytest.mark.usefixtures("known_digits")
def test_a_set_of_the_catalog_cannot_be_removed(open_page: OpenPage) -> None:
    assert not [button for button in open_page("data").button if button.key == "remove-set-yes"]
