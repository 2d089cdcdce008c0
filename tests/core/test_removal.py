"""Every act that removes something: an entry is what it is called, so what a link points to stays, from every side."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from core import leftovers
from core.comparison.comparison_results import delete_comparison
from core.errors import LabError
from core.home import code_root
from core.jobs import disk, frozen_code
from core.jobs.imported_sets import remove_imported
from core.model_folders.exports import remove_export
from core.model_folders.import_model import delete_model
from core.model_folders.model_facts import DEMO, list_model_folders
from core.runs import trash
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from core.sampling import gallery
from tests.models import tiny_settings

COMPARISON, DRAWING = "20260101-000000-comparison-abcd", "20260101-000000-abcdef"


@dataclass(frozen=True)
class Place:
    """A lab with one ended run, and every kind of entry that somebody could replace by a link."""

    root: Path

    @property
    def store(self) -> RunStore:
        return RunStore(self.root / "runs")

    @property
    def run(self) -> Run:
        (run,) = self.store.list()
        return run


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("LAB_IMPORTS", str(tmp_path / "imports"))
    run = RunStore(tmp_path / "runs").create("unet", tiny_settings(), name="mine")
    run.write_status(replace(run.status(), state=RunState.STOPPED))
    return Place(tmp_path)


@dataclass(frozen=True)
class Remover:
    """entry: where in the lab it lies, RUN being the run's folder. act: what a person asks for."""

    entry: str
    act: Callable[[Place, Path], object]


def clean_up(choice: disk.Choice, entry: Path, place: Place) -> None:
    """A clean-up whose plan names the entry, as when it was swapped for a link after the plan was shown."""
    item = disk.Item(words="planned", path=entry, size_bytes=1)
    plan = disk.CleanupPlan(choice=choice, goes=(item,), stays=(), bytes=1)
    assert disk.apply_cleanup(place.store, plan, "ana") in (0, 1)


REMOVERS = {
    "an imported model": Remover("models/theirs", lambda place, entry: delete_model(entry.parent, "theirs", by="ana")),
    "a run": Remover("runs/linked", lambda place, entry: place.store.delete("linked")),
    "a run that never started": Remover("runs/linked", lambda place, entry: place.store.discard(Run(entry))),
    "a deleted run": Remover(
        "runs/.trash/gone", lambda place, entry: trash.remove_for_good(place.store, "gone", by="ana")
    ),
    "the trash": Remover("runs/.trash/gone", lambda place, entry: trash.empty_trash(place.store)),
    "an imported set": Remover(
        "imports/flowers", lambda place, entry: remove_imported(place.store, "flowers", by="ana")
    ),
    "an export": Remover("RUN/exports/digits", lambda place, entry: remove_export(place.run, "digits", by="ana")),
    "a comparison": Remover(
        f"RUN/comparisons/{COMPARISON}", lambda place, entry: delete_comparison(place.run, COMPARISON)
    ),
    "a drawing": Remover(f"gallery/{DRAWING}", lambda place, entry: gallery.remove(entry.parent, DRAWING, by="ana")),
    "a checkpoint": Remover(
        "RUN/checkpoints/step-00000001", lambda place, entry: clean_up("old checkpoints", entry, place)
    ),
    "a failed run": Remover("runs/linked", lambda place, entry: clean_up("failed runs", entry, place)),
    "a cache": Remover("cache/arrays/digits-1", lambda place, entry: clean_up("unused caches", entry, place)),
    "old code": Remover(
        "queue/code/1", lambda place, entry: frozen_code.sweep(entry.parent.parent, [], older_than=9e9)
    ),
    "leftovers": Remover("anywhere/.trash-old", lambda place, entry: leftovers.sweep(entry.parent, older_than_s=-1e9)),
}


def precious(folder: Path, place: Place) -> dict[str, bytes]:
    """A folder of somebody else that looks like whatever is removed; its files."""
    folder.mkdir(parents=True)
    for source in (place.run.folder / "run.json", place.run.folder / "config.yaml", code_root() / DEMO / "lab.json"):
        shutil.copy(source, folder)
    run = Run(folder)
    run.write_status(replace(place.run.status(), state=RunState.FAILED))
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def try_it(remover: Remover, place: Place, entry: Path) -> None:
    """Removed or refused in one sentence; anything else is an error."""
    try:
        remover.act(place, entry)
    except LabError as error:
        assert "\n" not in str(error)


def entry_of(remover: Remover, place: Place) -> Path:
    entry = place.root / remover.entry.replace("RUN", f"runs/{place.run.id}")
    entry.parent.mkdir(parents=True, exist_ok=True)
    return entry


@pytest.mark.parametrize("links", [1, 2], ids=["a link", "a link to a link"])
@pytest.mark.parametrize("name", REMOVERS)
def test_what_a_link_points_to_stays(place: Place, name: str, links: int) -> None:
    remover, elsewhere = REMOVERS[name], place.root / "elsewhere" / "precious"
    before, entry = precious(elsewhere, place), entry_of(REMOVERS[name], place)
    for number in range(links - 1):
        link = place.root / f"between-{number}"
        link.symlink_to(elsewhere)
        elsewhere = link
    entry.symlink_to(elsewhere)
    try_it(remover, place, entry)
    assert contents(place.root / "elsewhere" / "precious") == before
    assert all((place.root / f"between-{number}").is_symlink() for number in range(links - 1))


BEHIND = [name for name, remover in REMOVERS.items() if remover.entry.startswith(("RUN", "runs/.trash"))]


@pytest.mark.parametrize("name", BEHIND)
def test_nothing_is_removed_behind_a_link(place: Place, name: str) -> None:
    """RUN/exports → the exports of somebody else: the export of that name is theirs."""
    remover, entry = REMOVERS[name], entry_of(REMOVERS[name], place)
    entry.parent.rmdir()
    before = precious(place.root / "elsewhere" / entry.name, place)
    entry.parent.symlink_to(place.root / "elsewhere")
    try_it(remover, place, entry)
    assert contents(place.root / "elsewhere" / entry.name) == before


def test_a_linked_model_is_called_as_its_link_and_goes_without_what_it_points_to(place: Place) -> None:
    precious(place.root / "elsewhere", place)
    (place.root / "models").mkdir()
    (place.root / "models" / "theirs").symlink_to(place.root / "elsewhere")
    assert "theirs" in [info.name for info in list_model_folders(place.root / "models")]
    assert delete_model(place.root / "models", "theirs", by="ana") == "theirs"
    assert list((place.root / "models").iterdir()) == []
    assert (place.root / "elsewhere" / "lab.json").is_file()


def test_a_run_that_becomes_a_link_while_it_is_looked_at_loses_only_the_link(place: Place) -> None:
    before, run = precious(place.root / "elsewhere", place), place.run

    def swapped(looked_at: Run) -> bool:
        if not run.folder.is_symlink():
            run.folder.rename(place.root / "aside")
            run.folder.symlink_to(place.root / "elsewhere")
        return False

    place.store.delete(run.id, is_active=swapped)
    assert contents(place.root / "elsewhere") == before
    assert not run.folder.is_symlink()


@pytest.mark.parametrize("name", ["inside/../../outside", "..", "inside/..", "."])
def test_a_name_that_leads_out_removes_nothing(tmp_path: Path, name: str) -> None:
    for folder in ("place/inside", "outside"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(OSError):
        leftovers.remove_folder(tmp_path / "place" / name, within=tmp_path / "place")
    assert (tmp_path / "place" / "inside").is_dir()
    assert (tmp_path / "outside").is_dir()


def test_a_link_inside_goes_and_what_it_points_to_stays(tmp_path: Path) -> None:
    for folder in ("place/inside", "outside"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "outside" / "file").write_text("theirs")
    (tmp_path / "place" / "inside" / "link").symlink_to(tmp_path / "outside")
    leftovers.remove_folder(tmp_path / "place" / "inside")
    assert (tmp_path / "outside" / "file").read_text() == "theirs"
    assert list((tmp_path / "place").iterdir()) == []
