"""`trash --empty` asks, takes one's own runs, and never another person's unless they are asked for."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from core.__main__ import main
from core.runs.provenance import current_user
from core.runs.store import RunStore
from core.runs.trash import list_trash
from tests.models import tiny_settings

ME = current_user()


class Terminal(io.StringIO):
    """Somebody who types at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """Three deleted runs: two of mine and one of ana's."""
    monkeypatch.setenv("LAB_RUNS", str(tmp_path))
    store = RunStore(tmp_path)
    for owner in (ME, "ana", ME):
        run = store.create("vae", tiny_settings(), name=f"of {owner}", owner=owner)
        store.delete(run.id, is_active=lambda run: False)
    return store


def left(store: RunStore) -> list[str]:
    return sorted(each.owner for each in list_trash(store))


ALL = sorted(["ana", ME, ME])


@pytest.mark.parametrize("options", [["--empty"], ["--empty", "--everyone"]])
def test_without_a_terminal_nothing_goes_and_the_flag_is_named(
    store: RunStore, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trash", *options]) == 2
    assert "--yes" in capsys.readouterr().err
    assert left(store) == ALL


@pytest.mark.parametrize(("answer", "stay"), [("y\n", ["ana"]), ("n\n", ALL), ("\n", ALL), ("", ALL)])
def test_at_a_terminal_it_asks_with_count_and_size(
    store: RunStore, answer: str, stay: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", asked)
    assert main(["trash", "--empty"]) == (0 if stay == ["ana"] else 2)
    assert "2 deleted runs, " in asked.getvalue()
    assert "B. Permanently remove them? [y/N]" in asked.getvalue()
    assert left(store) == stay


@pytest.mark.parametrize(("options", "stay"), [([], ["ana"]), (["--everyone"], [])])
def test_with_yes_only_what_was_asked_for_goes(store: RunStore, options: list[str], stay: list[str]) -> None:
    assert main(["trash", "--empty", "--yes", *options]) == 0
    assert left(store) == stay
