"""The tab Export of a run's page: a folder is made in the background, taken home, pushed where it can be, removed."""

from __future__ import annotations

import io
import shutil
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.errors import LabError, UsageError
from core.evaluation.report import write_report
from core.model_folders.export import DEFAULTS, files_of_run
from core.model_folders.exports import ExportWish, keep_export, list_exports
from core.model_folders.hub import Pushed, PushFailed
from core.runs.listing import newest_step
from core.runs.run import Run
from core.runs.store import RunStore
from lab.frame.state import WHO_KEY
from lab.runs import run_export as component
from lab.runs import run_export_service
from lab.services.background import Task, Tell
from tests.core.evaluation.test_report import REPORT
from tests.core.sampling.test_exports import events
from tests.pages.conftest import OpenPage, until
from tests.pages.run_folders import make_run


def words(app: AppTest) -> str:
    kinds = ("markdown", "caption", "success", "error")
    return "\n".join(element.value for kind in kinds for element in app.get(kind)).replace("\\", "")


def by_key(app: AppTest, key: str) -> Any:
    return next(button for button in app.button if button.key == key)


def make_export(run: Run) -> None:
    """ "digits", by ana."""
    keep_export(run, "digits", lambda progress: files_of_run(run, DEFAULTS, progress), by="ana")


@pytest.mark.slow
def test_a_folder_is_made_and_stands_there_with_its_download(
    unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: dict[str, Any] = {}
    real = component.st.download_button

    def remembered(label: str, data: Any, file_name: str, *args: Any, **kwargs: Any) -> Any:
        offered[file_name] = data
        return real(label, data, file_name, *args, **kwargs)

    monkeypatch.setattr(component.st, "download_button", remembered)
    app = open_page("runs", run=unet.id, tab="Export")
    step = newest_step(unet)
    assert "loads without this lab" in words(app)
    by_key(app, f"export-{unet.id}/go").click().run()
    name = f"drawer-step-{step}"
    until(app, lambda app: f"**{name}**" in words(app))
    assert f"step {step}, not evaluated" in words(app)
    with zipfile.ZipFile(io.BytesIO(offered[f"{name}.zip"]())) as archive:
        assert f"{name}/model_index.json" in archive.namelist()
    assert app.text_input(key=f"export-{unet.id}/name/{name}-2").value == f"{name}-2"  # proposed for the next one


@pytest.mark.slow
def test_a_name_that_is_taken_is_one_sentence(unet: Run, open_page: OpenPage) -> None:
    make_export(unet)
    app = open_page("runs", run=unet.id, tab="Export")
    name = run_export_service.suggested_name("drawer", newest_step(unet), "ema", {"digits"})
    app.text_input(key=f"export-{unet.id}/name/{name}").set_value("digits")
    by_key(app, f"export-{unet.id}/go").click().run()
    until(app, lambda app: bool(app.error))
    assert [error.value.replace("\\", "") for error in app.error] == [
        "name: there is already an export 'digits' of this run; choose another name"
    ]


@pytest.mark.usefixtures("quick_judge")
def test_the_card_has_the_figures_of_averaged_weights_and_the_judge_comes_along(unet: Run, open_page: OpenPage) -> None:
    step = newest_step(unet)
    write_report(unet, replace(REPORT, run_id=unet.id, step=step))
    options: dict[str, Any] = {"by": "ana", "step": step, "licence": "mit", "sampler": ""}
    for name, weights, with_judge in (("averaged", "ema", True), ("raw", "raw", False)):
        work = run_export_service.begin_export(unet, name, weights=weights, with_judge=with_judge, **options)
        assert work.wait(600) and work.problem is None
    raw, averaged = list_exports(unet)
    assert (averaged.facts.report or {})["class_accuracy"] == REPORT.class_accuracy and raw.facts.report is None
    assert (averaged.has_judge, raw.has_judge) == (True, False)
    assert f"{100 * REPORT.class_accuracy:.1f} % of the right class" in words(
        open_page("runs", run=unet.id, tab="Export")
    )


def test_who_comes_second_is_told_and_does_not_get_what_the_first_one_asked_for(
    unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, asked = threading.Event(), []

    def slow(question: object, run_id: str, wish: ExportWish, *others: object) -> Task:
        def task(tell: Tell, cancelled: Callable[[], bool]) -> None:
            asked.append(wish.name)
            goes_on.wait(600)
            raise LabError("the export was cancelled")

        return task

    monkeypatch.setattr(run_export_service, "asked", slow)
    options: dict[str, Any] = {
        "by": "ana",
        "step": 4,
        "weights": "ema",
        "licence": "mit",
        "sampler": "",
        "with_judge": False,
    }
    first = run_export_service.begin_export(unet, "first", **options)
    with pytest.raises(UsageError, match=f"{unet.id}: another export is being made by ana; wait until it is done"):
        run_export_service.begin_export(unet, "second", **options)
    goes_on.set()
    assert first.wait(600)
    assert run_export_service.begin_export(unet, "third", **options).wait(600)
    assert asked == ["first", "third"]


def test_the_page_does_not_wait_for_an_export_that_goes_on(
    unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dialog and the live parts of a page are answered only when its script has ended."""
    began = threading.Event()

    def endless(*question: object) -> Task:
        def task(tell: Tell, cancelled: Callable[[], bool]) -> None:
            while True:
                tell("generating its example images", 0.5)
                began.set()
                time.sleep(0.02)

        return task

    monkeypatch.setattr(run_export_service, "asked", endless)
    app = open_page("runs", run=unet.id, tab="Export")
    by_key(app, f"export-{unet.id}/go").click().run()
    assert began.wait(600)
    app.run()
    assert any("Exporting: generating its example images" in bar.text for bar in app.get("progress"))
    cancel = next(button for button in app.button if button.label == "Cancel")
    cancel.click().run()
    until(app, lambda app: "It was cancelled" in words(app))
    assert "Cancel" not in [button.label for button in app.button]


def test_without_credentials_it_says_what_to_do(
    unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_export(unet)
    monkeypatch.setattr(component.hub, "has_credentials", lambda: False)
    app = open_page("runs", run=unet.id, tab="Export")
    assert "This machine has no credentials for **huggingface.co**" in words(app)
    assert f"export-{unet.id}-digits/push" not in [button.key for button in app.button]


@pytest.mark.slow
def test_it_is_pushed_and_a_refusal_is_one_sentence(
    unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_export(unet)
    asked: list[tuple[str, bool]] = []

    def push(folder: Any, repo_id: str, *, private: bool) -> Pushed:
        asked.append((repo_id, private))
        if repo_id == "ana/taken":
            raise PushFailed("push: the hub has a repository of that name already", "choose another name")
        return Pushed(url=f"https://hub.test/{repo_id}", is_private=private)

    monkeypatch.setattr(component.hub, "has_credentials", lambda: True)
    monkeypatch.setattr(component.hub, "push", push)
    app = open_page("runs", run=unet.id, tab="Export")
    app.session_state[WHO_KEY] = unet.info.owner
    app.run()
    key = f"export-{unet.id}-digits"
    for repository, sentence in (
        ("digits", "Repository: 'digits' is not a NAMESPACE/NAME"),
        ("ana/taken", "has a repository of that name already; choose another name"),
        ("ana/digits", "(https://hub.test/ana/digits) (private)."),
    ):
        app.text_input(key=f"{key}/repo").set_value(repository)
        by_key(app, f"{key}/push").click().run()
        until(app, lambda app, sentence=sentence: sentence in words(app))
    assert asked == [("ana/taken", True), ("ana/digits", True)]
    assert [event["url"] for event in events(unet, "pushed to a hub")] == ["https://hub.test/ana/digits"]


@pytest.mark.slow
def test_what_is_anothers_is_pushed_and_removed_after_a_question(
    unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_export(unet)
    sent: list[str] = []
    monkeypatch.setattr(component.hub, "has_credentials", lambda: True)
    monkeypatch.setattr(component.hub, "push", lambda folder, repo_id, private: sent.append(repo_id))
    app = open_page("runs", run=unet.id, tab="Export")
    app.session_state[WHO_KEY] = "another person"
    app.run()
    key = f"export-{unet.id}-digits"
    app.text_input(key=f"{key}/repo").set_value("ben/digits")
    by_key(app, f"{key}/push").click().run()
    assert "This belongs to" in words(app) and sent == []
    by_key(app, "confirm-no").click().run()
    by_key(app, f"{key}/remove").click().run()
    assert len(list_exports(unet)) == 1
    by_key(app, "confirm-yes").click().run()
    until(app, lambda app: list_exports(unet) == [])
    assert [event["by"] for event in events(unet, "export removed")] == ["another person"]
    assert sent == []


def test_before_the_first_checkpoint_there_is_nothing_to_export(
    unet: Run, store: RunStore, open_page: OpenPage
) -> None:
    shutil.rmtree(unet.checkpoints_dir)
    app = open_page("runs", run=unet.id, tab="Export")
    assert "Available after the first checkpoint." in words(app)
    vae = make_run(store, "vae", name="encoder")
    assert "Export" not in [tab.label for tab in open_page("runs", run=vae.id, tab="Export").tabs]
