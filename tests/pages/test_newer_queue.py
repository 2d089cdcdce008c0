"""Beside a queue that a newer version of the lab has migrated everything is shown, and nothing is put into it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

import pytest

from core.__main__ import main
from core.jobs.queue import Job, Queue
from core.jobs.queue_schema import FORMAT, NewerQueue
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.endings import nobody_serves
from tests.pages.conftest import OpenPage, table
from tests.pages.run_folders import make_run


@pytest.fixture
def waiting(store: RunStore) -> Iterator[Run]:
    """A run that waits in a queue of the next format, in which another one waits in a state that is not known here."""
    run = make_run(store, name="Next", state=RunState.QUEUED, step=0, logged=0)
    queue = Queue(store.root)
    assert queue.put(Job(run_id=run.id)) and queue.put(Job(run_id="another"))
    queue.close()
    with sqlite3.connect(queue.path) as database:
        database.execute("update jobs set state = 'resting' where run_id = 'another'")
        database.execute("drop table leases")
        database.execute(f"pragma user_version = {FORMAT + 1}")
    with nobody_serves(store):
        yield run


@pytest.mark.parametrize("page", ["overview", "runs", "machine", "train"])
def test_pages_show_what_they_can_read_of_it(waiting: Run, open_page: OpenPage, page: str) -> None:
    app = open_page(page)
    assert not app.exception and not app.error
    if page == "runs":
        assert [row["title"] for row in table(app)["rows"]] == ["Next"]


def test_the_command_line_lists_it_with_one_sentence_and_changes_nothing(
    waiting: Run, store: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["queue", "--json"]) == 0
    printed = capsys.readouterr()
    assert [entry["id"] for entry in json.loads(printed.out)] == [waiting.id]
    assert f"made by a newer version of the lab (format {FORMAT + 1}; this one knows {FORMAT})" in printed.err
    assert main(["queue", "--move", waiting.id, "--to", "first", "--yes"]) == 1
    with pytest.raises(NewerQueue):
        Queue(store.root).put(Job(run_id="third"))
