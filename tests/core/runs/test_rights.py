"""Where people sign in, each act on what is another's is refused where it happens, and changes nothing."""

from __future__ import annotations

import getpass
import inspect
import os
import pwd
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.config.site import SiteSettings
from core.data.importing.import_set import import_set
from core.errors import ConfigError, NotAllowed
from core.jobs import disk, queue_order, service
from core.jobs.imported_sets import remove_imported
from core.model_folders import exports, import_model
from core.runs import rights, trash
from core.runs.provenance import current_user
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from core.sampling import gallery
from tests.models import tiny_settings

SITE = """site:
  members: ["*@lab.example", ana@other.example]
  admins: [cleo@lab.example, operator]
  people: {ana@other.example: ana, cleo@lab.example: cleo}
"""
NOTHING: Any = None  # refused before it is looked at
DRAWING = "20260101-000000-abcdef"


class Place:
    """A lab with one run of ana's and one deleted one, and what else can be removed; their owner is not written."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, RunStore(root / "runs")
        self.run, self.gone = (self._ended(name) for name in ("mine", "gone"))
        self.store.delete(self.gone.id, by="ana")
        for folder in (root / "imports" / "flowers", root / "gallery" / DRAWING, self.run.exports_dir / "digits"):
            folder.mkdir(parents=True)
            (folder / "file").write_text("kept")

    def _ended(self, name: str) -> Run:
        run = self.store.create("vae", tiny_settings(), name=name, owner="ana")
        run.write_status(replace(run.status(), state=RunState.FAILED, heartbeat_at="2020-01-01T00:00:00+00:00"))
        return run

    def everything(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config.yaml of a lab where people sign in."""
    path = tmp_path / "project" / "config.yaml"
    path.parent.mkdir()
    path.write_text(SITE)
    monkeypatch.setenv("LAB_PROJECT", str(path.parent))
    for name in ("runs", "imports", "gallery"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(tmp_path / "lab" / name))
    return path


@pytest.fixture
def place(tmp_path: Path, site: Path) -> Place:
    return Place(tmp_path / "lab")


Act = Callable[[Place, str], object]
ACTS: dict[str, Act] = {  # what a person does to runs, by the function's name
    "request_stop": lambda at, by: service.request_stop(at.store, at.run.id, by=by),
    "stop_run": lambda at, by: service.stop_run(at.store, at.run.id, by=by),
    "pause_run": lambda at, by: service.pause_run(at.store, at.run.id, by=by),
    "force_stop": lambda at, by: service.force_stop(at.store, at.run.id, by=by),
    "resume_run": lambda at, by: service.resume_run(at.store, at.run.id, by=by),
    "describe_run": lambda at, by: service.describe_run(at.store, at.run.id, by=by, name="other"),
    "hand_over": lambda at, by: service.hand_over(at.store, at.run.id, "cleo", by=by),
    "delete_run": lambda at, by: service.delete_run(at.store, at.run.id, by=by),
    "restore_run": lambda at, by: service.restore_run(at.store, at.gone.id, by=by),
    "move_run": lambda at, by: queue_order.move_run(at.store, at.run.id, to="first", by=by),
    "set_priority": lambda at, by: queue_order.set_priority(at.store, at.run.id, 3, by=by),
    "remove_for_good": lambda at, by: trash.remove_for_good(at.store, at.gone.id, by=by),
    "keep_export": lambda at, by: exports.keep_export(at.run, "more", NOTHING, by=by),
    "push_export": lambda at, by: exports.push_export(at.run, NOTHING, "a/b", private=True, by=by),
    "remove_export": lambda at, by: exports.remove_export(at.run, "digits", by=by),
}
UNOWNED: dict[str, Act] = {  # damaged, so nobody knows whose they are
    "remove_imported": lambda at, by: remove_imported(at.store, "flowers", by=by),
    "remove": lambda at, by: gallery.remove(at.root / "gallery", DRAWING, by=by),
}
LOOKS_ONLY = {"apply_cleanup", "plan_cleanup", "restore", "put_into_trash", "delete_model"}  # tested below or above


def test_no_act_is_forgotten() -> None:
    """Whatever takes `by` acts for somebody, and stands in a table here."""
    found = {
        name
        for module in (service, queue_order, disk, trash, exports, import_model, gallery)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
        if "by" in inspect.signature(function).parameters
    }
    assert found - {*ACTS, *UNOWNED, *LOOKS_ONLY} == set()


def test_on_what_is_anothers_nobody_acts(place: Place) -> None:
    before = place.everything()
    for by in ("ben@lab.example", "ben", "anna", "cleo@other.example", "ana@lab.example"):
        for act in ACTS.values():
            with pytest.raises(NotAllowed, match=f"belongs to ana, and {by} acts on their own only"):
                act(place, by)
    assert place.everything() == before


@pytest.mark.parametrize("by", ["ana", "Ana@Other.example", "cleo", "cleo@lab.example"])
def test_owners_by_account_or_login_and_admins_do(site: Path, by: str) -> None:
    rights.require_right("ana", by, "stop it")
    rights.require_right("ana@other.example", by, "stop it")


@pytest.mark.parametrize("by", ["Ana@Other.example", "cleo"])
def test_with_the_right_an_act_is_done_and_on_record(place: Place, by: str) -> None:
    for act in ("describe_run", "remove_export", "restore_run", "delete_run"):
        ACTS[act](place, by)
    assert [found.by for found in trash.list_trash(place.store)] == [by]


def test_what_belongs_to_nobody_known_only_admins_remove(place: Place) -> None:
    before = place.everything()
    for act in UNOWNED.values():
        with pytest.raises(NotAllowed, match="nobody known"):
            act(place, "ana")
    assert place.everything() == before
    for act in UNOWNED.values():
        act(place, "cleo")


def test_a_favourite_is_everybodys_own(place: Place) -> None:
    _, notes = service.describe_run(place.store, place.run.id, by="ben@lab.example", favourite=True)
    assert notes.favourite_of == ("ben@lab.example",)
    for change in ({"notes": "x"}, {"add_tags": ["x"]}, {"remove_tags": ["x"]}, {"notes": "x", "favourite": False}):
        with pytest.raises(NotAllowed):
            service.describe_run(place.store, place.run.id, by="ben", **change)  # type: ignore[arg-type]


def test_a_clean_up_leaves_what_is_anothers(place: Place) -> None:
    choices: tuple[disk.Choice, ...] = ("trash", "failed runs")
    for choice in choices:
        ours, theirs = (
            disk.plan_cleanup(place.store, place.root / "cache", choice=choice, older_than_days=0, by=by)
            for by in ("ana", "ben")
        )
        assert theirs.goes == ()
        assert "1 of other people: only they and admins remove it" in theirs.stays
        before = place.everything()
        assert disk.apply_cleanup(place.store, ours, "ben") == 0  # ana's plan in another's hands
        assert place.everything() == before
        assert disk.apply_cleanup(place.store, ours, "ana") > 0


def test_the_command_line_acts_as_its_account_whatever_it_calls_itself(
    place: Place, site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account = pwd.getpwuid(os.getuid()).pw_name
    for variable in ("LAB_USER", "LOGNAME", "USER"):
        monkeypatch.setenv(variable, "ana")
    assert current_user() == account
    before = place.everything()
    for words in (
        *(["delete", place.run.id, "--yes"], ["resume", place.run.id, "--yes"], ["note", place.run.id, "--text", "x"]),
        *(["restore", place.gone.id], ["queue", "--move", place.run.id, "--yes"]),
    ):
        assert main(words) == 1
        assert f"belongs to ana, and {account} acts on their own only" in capsys.readouterr().err
    assert main(["trash", "--empty", "--everyone", "--yes"]) == 0
    assert place.everything() == before
    site.write_text(SITE.replace("operator", account))
    assert main(["note", place.run.id, "--text", "an admin was here"]) == 0
    site.write_text("seed: 0\n")
    assert current_user() == getpass.getuser() == "ana"


def test_without_a_login_everybody_acts_and_is_on_record(place: Place, site: Path) -> None:
    site.write_text("seed: 0\n")
    service.describe_run(place.store, place.run.id, by="ben", name="other")
    assert place.run.events()[-1]["by"] == "ben"


def test_while_the_settings_are_wrong_nobody_acts_on_what_is_anothers(place: Place, site: Path) -> None:
    site.write_text("site: {members: everybody}\n")
    with pytest.raises(ConfigError, match="members"):
        service.delete_run(place.store, place.run.id, by="cleo")
    account = pwd.getpwuid(os.getuid()).pw_name
    assert rights.may_act(account, account)
    for owner, by in (("ana", "ana"), ("", account), ("Ana@Other.example", "ana@other.example")):
        with pytest.raises(ConfigError, match="members"):
            rights.may_act(owner, by)


@pytest.mark.parametrize("wrong", ["trash_days: -1", "members: everybody", "no_such_setting: 1"])
def test_with_a_mistake_in_the_site_nobody_chooses_who_they_are(
    place: Place, site: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write_text(f"site: {{{wrong}}}\n")
    for variable in ("LAB_USER", "LOGNAME", "USER"):
        monkeypatch.setenv(variable, "ana")
    assert current_user() == pwd.getpwuid(os.getuid()).pw_name
    before = place.everything()
    for act in ACTS.values():
        with pytest.raises(ConfigError):
            act(place, "")
    assert place.everything() == before


STARTS: dict[str, Act] = {  # what makes something that is nobody's yet
    "create": lambda at, by: at.store.create("vae", tiny_settings(), owner=by),
    "favourite": lambda at, by: service.describe_run(at.store, at.run.id, by=by, favourite=True),
    "import_set": lambda at, by: import_set(NOTHING, name="flowers2", imported_by=by),
    "import_model": lambda at, by: import_model.import_model(NOTHING, models_dir=NOTHING, imported_by=by),
    "keep": lambda at, by: gallery.keep(at.root / "gallery", b"", title="", owner=by, source_title="", device=""),
}


@pytest.mark.parametrize("by", ["ana@other.example", "ana", "cleo"])
def test_whoever_was_taken_out_of_the_members_acts_and_starts_no_more(place: Place, site: Path, by: str) -> None:
    site.write_text(SITE.replace('"*@lab.example", ana@other.example', "new@lab.example"))
    before = place.everything()
    for act in (*ACTS.values(), *STARTS.values()):
        with pytest.raises(NotAllowed, match="is not a member of this lab"):
            act(place, by)
    assert place.everything() == before


@pytest.mark.parametrize(
    ("name", "is_one"), [("\u212aim@lab.example", False), ("kim@\u212aab.example", False), ("KIM@LAB.example", True)]
)
def test_only_ascii_letters_are_the_same_however_they_are_capitalized(name: str, is_one: bool) -> None:
    site = SiteSettings(
        members=("kim@lab.example", "*@kab.example"), admins=("kim@lab.example",), people={"kim@lab.example": "kim"}
    )
    assert site.is_admin(name) == site.admits(name) == (site.account_of(name) == "kim") == is_one


@pytest.mark.parametrize(
    ("login", "enters"),
    [
        ("ana@other.example", True),
        ("ANA@OTHER.EXAMPLE", True),
        ("new@lab.example", True),
        ("ben@other.example", False),
        ("x@evil.example", False),
        ("x@sub.lab.example", False),
        ("x@lab.example@evil.example", False),
        ("lab.example", False),
        ("*@lab.example.evil", False),
        ("", False),
    ],
)
def test_who_is_a_member(login: str, enters: bool) -> None:
    assert SiteSettings(members=("*@lab.example", "ana@other.example")).admits(login) == enters
