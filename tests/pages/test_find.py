"""What Ctrl-K can find, and where that leads."""

from __future__ import annotations

import urllib.parse

import pytest

from core.data import catalog
from core.runs.store import RunStore
from lab.frame.find import Place, places
from lab.frame.state import PAGES
from tests.pages.run_folders import finished, hostile


@pytest.fixture
def found(store: RunStore) -> list[Place]:
    finished(store)
    hostile(store)
    return list(places())


def test_pages_runs_and_datasets_are_found_runs_newest_first(store: RunStore, found: list[Place]) -> None:
    assert [place.kind for place in found[: len(PAGES)]] == ["page"] * len(PAGES)
    runs = [place.address for place in found if place.kind == "run"]
    assert runs == [f"./runs?run={run.id}" for run in store.list()]
    assert {place.address for place in found if place.kind == "dataset"} == {f"./data?set={n}" for n in catalog.names()}


def test_an_address_leads_to_a_page_below_the_labs_own_and_the_first_page_is_that(found: list[Place]) -> None:
    assert found[0].address == "./"
    for place in found:
        address = urllib.parse.urlsplit(urllib.parse.urljoin("https://lab.example/base/runs", place.address))
        assert address.path.removeprefix("/base/") in {"", *PAGES}, place


def test_what_a_person_typed_is_one_short_line(found: list[Place]) -> None:
    assert all(len(place.title) <= 81 and place.title.isprintable() for place in found)
