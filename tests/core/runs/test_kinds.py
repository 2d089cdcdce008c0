"""Every kind of run is one record that holds together; a kind of a newer lab is shown and does nothing."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from core.config.schema import Settings, TrainSettings
from core.errors import UsageError
from core.jobs.worker import Trainer
from core.runs.kinds import KINDS, Kind, function_at, kind_named, trained_by
from core.runs.store import RunStore


def faults(kind: Kind) -> list[str]:
    """What of a record leads nowhere."""
    found = []
    wanted = set(inspect.signature(Trainer.__call__).parameters) - {"self"}
    try:
        if not wanted <= set(inspect.signature(function_at(kind.worker)).parameters):
            found.append("worker")
        for path in filter(None, (kind.work, kind.quality, kind.after)):
            function_at(path)
    except (AttributeError, ImportError, ValueError):
        found.append("function")
    if kind.trains and not isinstance(getattr(Settings(), kind.section, None), TrainSettings):
        found.append("section")
    if kind.parent and kind.parent not in list(KINDS)[: list(KINDS).index(kind.name)]:
        found.append("parent")
    return found


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_record_holds_together(kind: Kind) -> None:
    assert faults(kind) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"worker": "core.training.train_unet.trian"}, "function"),
        ({"worker": "core.training.start.start_run"}, "worker"),
        ({"quality": "core.evaluation.during.prepare"}, "function"),
        ({"after": "core.jobs.evaluation_job.start"}, "function"),
        ({"section": "train_gan"}, "section"),
        ({"parent": "comparison"}, "parent"),
    ],
)
def test_a_planted_fault_of_a_record_is_caught(changes: dict[str, str], fault: str) -> None:
    assert faults(replace(KINDS["unet"], **changes)) == [fault]  # type: ignore[arg-type]


def test_what_a_training_makes_begins_with_parents() -> None:
    assert [kind.name for kind in trained_by("all")] == ["vae", "unet"]
    assert [kind.name for kind in trained_by("unet")] == ["unet"]
    with pytest.raises(UsageError, match="train comparison: there is no such training"):
        trained_by("comparison")


def test_a_kind_of_a_newer_lab_has_its_name_and_can_do_nothing(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run = store.create("comparison", Settings(), steps_total=1)
    path = run.folder / "run.json"
    path.write_text(path.read_text().replace('"comparison"', '"sweep"'))
    (found,) = store.list()
    assert (found.kind.title, found.kind.generates, found.kind.trains, found.kind.vae) == ("sweep", False, False, "")
    assert found.kind == kind_named("sweep") and found.kind.listed
    with pytest.raises(UsageError, match="is a run of the kind 'sweep'"):
        found.check_generates()
    assert "runs of the kind 'sweep' are not known here" in found.flaw(found.status())
