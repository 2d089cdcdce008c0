"""Notes, tags and favourites: several people at once, damaged files, and texts that are too much."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core import atomic
from core.__main__ import main
from core.config.load import settings_from
from core.config.site import LONGEST_LOGIN
from core.errors import LabError, RunBusy, RunNotFound, UsageError
from core.runs import notes
from core.runs.lock import try_lock
from core.runs.notes import MAX_NOTES_LENGTH, MAX_TAGS, Notes, change_notes, notes_path, read_notes
from core.runs.run import Run
from core.runs.store import RunStore

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LAB_USER", "ana")
    return RunStore(tmp_path / "runs").create("vae", settings_from({}), name="first", owner="ana")


def test_a_run_has_no_notes_at_first(run: Run) -> None:
    assert read_notes(run) == Notes()
    assert not notes_path(run).exists()


def test_only_what_is_named_changes(run: Run) -> None:
    change_notes(run, by="ana", notes=" good digits\n\nbut slow ", add_tags=["paper", "keep", "paper"])
    change_notes(run, by="bea", favourite=True, remove_tags=["paper"])
    assert read_notes(run) == Notes(notes="good digits\n\nbut slow", tags=("keep",), favourite_of=("bea",))
    assert change_notes(run, by="ana", favourite=False).favourite_of == ("bea",)
    assert change_notes(run, by="bea", favourite=False).favourite_of == ()


def test_what_others_read_is_on_record_and_a_favourite_is_not(run: Run) -> None:
    change_notes(run, by="bea", notes="four", add_tags=["a", "b"])
    change_notes(run, by="bea", favourite=True)
    change_notes(run, by="bea", notes="four")
    (event,) = [event for event in run.events() if event["event"] == "notes changed"]
    assert (event["by"], event["tagged"], event["characters"]) == ("bea", "a, b", 4)


def test_a_text_that_somebody_else_changed_meanwhile_is_not_overwritten(run: Run) -> None:
    change_notes(run, by="ana", notes="hers")
    with pytest.raises(RunBusy, match="another person changed the notes"):
        change_notes(run, by="bea", notes="his", instead_of="")
    assert read_notes(run).notes == "hers"
    assert change_notes(run, by="bea", notes="both", instead_of="hers").notes == "both"


def test_the_same_text_written_twice_is_no_conflict(run: Run) -> None:
    change_notes(run, by="ana", notes="same")
    assert change_notes(run, by="bea", notes="same", instead_of="").notes == "same"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"notes": "x" * (MAX_NOTES_LENGTH + 1)}, "notes: longer than 10,000 characters, got 10,001"),
        ({"notes": "bell \a"}, "notes: have characters that cannot be printed"),
        ({"notes": "half \ud800"}, "notes: have characters that cannot be printed"),
        ({"add_tags": [""]}, "tag: needs 1 to 40 characters, got 0"),
        ({"add_tags": ["x" * 41]}, "tag: needs 1 to 40 characters, got 41"),
        ({"add_tags": ["a\nb"]}, "tag: has characters that cannot be printed"),
        ({"add_tags": [str(i) for i in range(MAX_TAGS + 1)]}, "tags: a run can have 20, got 21"),
    ],
)
def test_what_is_too_much_is_refused_and_nothing_is_written(change: dict[str, object], words: str, run: Run) -> None:
    with pytest.raises(UsageError, match=words):
        change_notes(run, by="ana", **change)  # type: ignore[arg-type]
    assert not notes_path(run).exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{torn", Notes()),
        ("[]", Notes()),
        ("[" * 100_000, Notes()),
        ('{"notes": 5, "tags": "paper", "favourite_of": [1, null, "bea"]}', Notes(favourite_of=("bea",))),
        ('{"tags": ["a", "a", "", "x\\ny", "b"]}', Notes(tags=("a", "b"))),
        (json.dumps({"notes": "x" * 20_000, "tags": ["t" * 41]}), Notes(notes="x" * MAX_NOTES_LENGTH)),
        (json.dumps({"notes": "x" * 300_000}), Notes()),
        ('{"notes": "a\\u0000b\\ud800"}', Notes(notes="ab")),
    ],
)
def test_a_damaged_file_reads_as_what_is_left_of_it(text: str, expected: Notes, run: Run) -> None:
    notes_path(run).write_text(text)
    assert read_notes(run) == expected
    assert change_notes(run, by="ana", add_tags=["new"]).tags == (*expected.tags, "new")


def test_a_favourite_of_the_longest_login_is_theirs(run: Run) -> None:
    login = f"{'a' * (LONGEST_LOGIN - 12)}@lab.example"
    change_notes(run, by=login, favourite=True)
    assert read_notes(run).favourite_of == (login,)
    assert change_notes(run, by=login, favourite=False).favourite_of == ()


def test_a_deleted_run_says_so(run: Run) -> None:
    shutil.rmtree(run.folder)
    with pytest.raises(RunNotFound, match="was deleted meanwhile"):
        change_notes(run, by="ana", notes="late")


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "write_json", full)
    with pytest.raises(LabError, match="the disk or the quota is full"):
        change_notes(run, by="ana", notes="x")


def test_a_writer_that_hangs_is_not_waited_for_endlessly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "PATIENCE_S", 0.0)
    held = try_lock(run.folder / "notes.lock")
    assert held is not None
    with pytest.raises(RunBusy, match="another person is writing"):
        change_notes(run, by="bea", notes="x")
    held.release()


PROGRAM = """
import sys
from pathlib import Path
from core.runs import notes
from core.runs.notes import change_notes
from core.runs.run import Run
notes.PATIENCE_S = 600.0  # the disk may be slow
for index in range(5):
    change_notes(Run(Path(sys.argv[1])), by=sys.argv[2], add_tags=[f"{sys.argv[2]}-{index}"], favourite=True)
"""


@pytest.mark.slow
def test_people_who_tag_at_the_same_time_lose_nothing(run: Run) -> None:
    people = ["ana", "bea", "cem"]
    processes = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(run.folder), person], cwd=ROOT) for person in people
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    notes = read_notes(run)
    assert sorted(notes.tags) == [f"{person}-{index}" for person in people for index in range(5)]
    assert sorted(notes.favourite_of) == people


def test_the_command_changes_and_prints(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["note", run.id, "--text", "line\none", "--tag", "a", "--tag", "b", "--favourite", "--name", "second"]
    assert main(asked) == 0
    assert capsys.readouterr().out == f"{run.id}  second\ntags: a, b\nfavorite of: ana\nline\none\n"
    assert main(["note", run.id, "--untag", "a", "--unfavourite", "--text", ""]) == 0
    assert capsys.readouterr().out == f"{run.id}  second\ntags: b\nNo notes.\n"
    assert [event["name"] for event in run.events() if event["event"] == "renamed"] == ["second"]


def test_the_command_changes_all_or_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["note", run.id, "--tag", "good", "--name", "x" * 200]) == 2
    assert "name: longer than" in capsys.readouterr().err
    assert read_notes(run) == Notes()


def test_show_prints_what_people_wrote(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    change_notes(run, by="bea", notes="slow\nbut good", add_tags=["paper", "keep"], favourite=True)
    assert main(["show", run.id]) == 0
    printed = capsys.readouterr().out
    assert "paper, keep" in printed
    assert "\nNotes\nslow\nbut good\n" in printed
    assert main(["show", run.id, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["notes"], shown["tags"], shown["favourite_of"]) == ("slow\nbut good", ["paper", "keep"], ["bea"])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], 2),
        (["--tag", "paper"], 1),
        (["--tag", "none"], 0),
        (["--owner", "bea"], 1),
        (["--owner", "bea", "--tag", "paper"], 0),
        (["--state", "queued"], 2),
        (["--state", "finished"], 0),
    ],
)
def test_runs_are_listed_by_tag_owner_and_state(
    options: list[str], found: int, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    RunStore(run.folder.parent).create("vae", settings_from({}), owner="bea")
    change_notes(run, by="ana", add_tags=["paper"])
    assert main(["runs", "--json", *options]) == 0
    assert len(json.loads(capsys.readouterr().out)) == found
    assert main(["runs", *options]) == 0
    assert ("matches." in capsys.readouterr().out) is (found == 0)
