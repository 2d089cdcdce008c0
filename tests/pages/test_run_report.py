"""The report on the tab Export of a run's page: written in the background, then there to save."""

from __future__ import annotations

from core.runs.store import RunStore
from tests.pages.conftest import OpenPage, until
from tests.pages.run_folders import make_run


def test_a_report_is_written_and_can_be_saved(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store, "vae", name="first try")
    app = open_page("runs", run=run.id, tab="Export")
    next(button for button in app.button if button.label == "Write the report").click().run()
    until(app, lambda app: any(button.label == "Write it again" for button in app.button))
    assert [button.label for button in app.get("download_button")] == ["Save the report"]
    assert not app.error and not app.exception
