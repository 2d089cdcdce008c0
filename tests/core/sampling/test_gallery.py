"""The gallery: kept whole, read back, bounded, safe for many at once; damaged entries are told, not shown."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from core.config.site import LONGEST_LOGIN
from core.errors import LabError, UsageError
from core.runs.lock import try_lock
from core.sampling import gallery
from core.sampling.recipe import Recipe, png_with_recipe

RECIPE = Recipe(
    source="20261123-213600-unet-13bd",
    step=30,
    labels=(1,),
    seeds=(3,),
    sampler="unipc",
    num_inference_steps=5,
    guidance_scale=1.5,
)
PICTURE = png_with_recipe(np.zeros((8, 8, 1), dtype=np.uint8), RECIPE)


def kept(folder: Path, **changes: str) -> str:
    facts = {"title": "ones", "owner": "ana", "source_title": "first try", "device": "CPU", **changes}
    return gallery.keep(folder, PICTURE, **facts)


def test_what_was_kept_is_found_newest_first_with_its_recipe(tmp_path: Path) -> None:
    first = kept(tmp_path / "gallery")
    (entry,), damaged = gallery.entries(tmp_path / "gallery")
    assert (entry.id, entry.title, entry.owner, entry.source_title) == (first, "ones", "ana", "first try")
    assert entry.recipe() == RECIPE
    assert damaged == []
    assert gallery.entry_of(tmp_path / "gallery", first) == entry


def test_an_owner_is_never_cut_into_somebody_elses_login(tmp_path: Path) -> None:
    login = f"{'a' * (LONGEST_LOGIN - 12)}@lab.example"
    assert gallery.entry_of(tmp_path, kept(tmp_path, owner=login)).owner == login


def test_many_keep_at_once_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "LOCK_PATIENCE_S", 600.0)  # the disk may be slow
    threads = [threading.Thread(target=kept, args=(tmp_path,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(gallery.entries(tmp_path)[0]) == 12
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_full_gallery_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "MOST_ENTRIES", 1)
    kept(tmp_path)
    with pytest.raises(UsageError, match="is full"):
        kept(tmp_path)


def test_two_who_keep_the_last_one_at_the_same_moment_do_not_exceed_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MOST_ENTRIES", 3)
    monkeypatch.setattr(gallery, "LOCK_PATIENCE_S", 600.0)
    count = gallery.entry_ids

    def slowly(folder: Path) -> list[str]:
        found = count(folder)
        time.sleep(0.1)  # long enough for the other one to count the same
        return found

    monkeypatch.setattr(gallery, "entry_ids", slowly)
    outcomes: list[str] = []

    def keep() -> None:
        try:
            kept(tmp_path)
            outcomes.append("kept")
        except UsageError:
            outcomes.append("full")

    threads = [threading.Thread(target=keep) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["full", "full", "kept", "kept", "kept"]
    assert len(count(tmp_path)) == 3


def test_a_gallery_that_stays_locked_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "LOCK_PATIENCE_S", 0.0)
    held = try_lock(tmp_path / gallery.LOCK)
    assert held is not None
    with pytest.raises(LabError, match="another person is adding"):
        kept(tmp_path)
    held.release()
    assert kept(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"title": 1}', "{" * 20_000])
def test_damaged_facts_are_told_and_can_be_removed(tmp_path: Path, text: str) -> None:
    broken = kept(tmp_path)
    (tmp_path / broken / "entry.json").write_text(text)
    assert gallery.entries(tmp_path) == ([], [broken])
    gallery.remove(tmp_path, broken, by="ana")
    gallery.remove(tmp_path, broken, by="ana")  # somebody else was faster
    assert gallery.entries(tmp_path) == ([], [])
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_picture_without_a_recipe_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / kept(tmp_path) / "picture.png").write_bytes(b"\x89PNG nothing")
    (entry,), _ = gallery.entries(tmp_path)
    with pytest.raises(LabError):
        entry.recipe()
    with pytest.raises(LabError):
        gallery.keep(tmp_path, b"\x89PNG nothing", title="", owner="", source_title="", device="")


@pytest.mark.parametrize("name", ["../runs", "", "20261123-213600-zzzzzz", "/etc"])
def test_ids_that_are_none_reach_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        gallery.entry_of(tmp_path, name)
    with pytest.raises(UsageError):
        gallery.remove(tmp_path, name, by="ana")
