"""The view Film of the Generate page: empty, one run, two, live, damaged, hostile."""

from __future__ import annotations

from core.runs.run import RunState
from core.runs.store import RunStore
from tests.pages.conftest import OpenPage
from tests.pages.run_folders import HOSTILE_NAMES, make_run


def words(app: object) -> str:
    return " ".join(item.value for kind in ("markdown", "caption", "warning", "error") for item in getattr(app, kind))


def test_without_previews_it_says_how_a_film_comes_about(open_page: OpenPage, store: RunStore) -> None:
    make_run(store, logged=0)
    app = open_page("generate", view="Film")
    assert not app.exception
    assert "No film yet" in words(app)


def test_a_unet_run_has_two_axes_and_two_animations(open_page: OpenPage, store: RunStore) -> None:
    run = make_run(store, name="learner")
    app = open_page("generate", view="Film", run=run.id)
    assert not app.exception
    assert "3 training steps × 2 denoising steps" in words(app)
    assert app.selectbox(key="pick-run").value == run.id
    assert {button.label for button in app.get("download_button")} == {
        "Training (WebP)",
        "Training and denoising (WebP)",
    }


def test_a_vae_run_has_one_axis_and_only_vae_runs_stand_beside_it(open_page: OpenPage, store: RunStore) -> None:
    vae, other = make_run(store, "vae", name="one"), make_run(store, "vae", name="other")
    unet = make_run(store, "unet", name="drawer")
    app = open_page("generate", view="Film", run=vae.id, against=other.id)
    assert not app.exception
    assert "3 training steps, " in words(app)
    beside = app.selectbox(key="pick-against")
    assert beside.value == other.id
    assert not any("drawer" in option for option in beside.options)
    assert unet.id not in words(app)


def test_a_running_run_has_a_film_so_far_that_follows_it(open_page: OpenPage, store: RunStore) -> None:
    make_run(store, state=RunState.RUNNING, step=40)
    app = open_page("generate", view="Film")
    assert not app.exception
    assert "3 training steps" in words(app)


def test_damaged_previews_are_told_and_the_rest_is_shown(open_page: OpenPage, store: RunStore) -> None:
    run = make_run(store)
    (run.previews_dir / "step-00000050.npz").write_bytes(b"PK torn")
    app = open_page("generate", view="Film", run=run.id)
    assert not app.exception
    assert "2 training steps" in words(app)
    assert "1 preview is damaged" in words(app)


def test_nothing_readable_is_one_sentence(open_page: OpenPage, store: RunStore) -> None:
    run = make_run(store)
    for path in run.previews_dir.iterdir():
        path.write_bytes(b"")
    app = open_page("generate", view="Film", run=run.id)
    assert not app.exception
    assert "previews cannot be read" in " ".join(error.value for error in app.error)


def test_hostile_names_are_text(open_page: OpenPage, store: RunStore) -> None:
    runs = [make_run(store, name=name) for name in HOSTILE_NAMES]
    app = open_page("generate", view="Film", run=runs[0].id, against=runs[1].id)
    assert not app.exception
    assert "<img" not in words(app) and "![pixel](" not in words(app)
    assert not any("![pixel](" in button.label for button in app.get("download_button"))


def test_the_page_of_a_run_with_several_previews_leads_to_its_film(open_page: OpenPage, store: RunStore) -> None:
    filmed, young = make_run(store), make_run(store, step=0, logged=0)
    there, not_there = (
        [link.proto.label for link in open_page("runs", run=run.id).get("page_link")] for run in (filmed, young)
    )
    assert "Watch the film" in there
    assert "Watch the film" not in not_there
