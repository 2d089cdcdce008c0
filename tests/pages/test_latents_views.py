"""Map, decoder and ceiling of the Latents page, with a real, tiny VAE."""

from __future__ import annotations

import json
import shutil
import threading
import time
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.compute.questions import DECODE_LATENTS
from core.errors import LabError
from core.jobs.disk import CACHE_KINDS, cache_entries
from core.latent.inspection import projection
from core.runs.run import Run
from core.runs.store import RunStore
from lab.latents import ceiling_service, decoder_service, map_service, memoize_bytes, overview_service, vae_service
from lab.latents.vae_service import Chosen, asked_vae
from lab.services import computing
from lab.services.background import Task
from lab.services.settings import current_site
from tests.figures import figures_of
from tests.pages.conftest import OpenPage


@pytest.fixture
def vae(trained: dict[str, Run]) -> Run:
    """The only run of the lab."""
    shutil.rmtree(trained["drawer"].folder)
    return trained["encoder"]


def chosen_of(run: Run) -> Chosen:
    view = next(view for view in vae_service.runs_with_a_vae() if view.id == run.id)
    return vae_service.choices_of(view)[0]


def made(task: Task) -> Any:
    """Its result, waited for."""
    return task(lambda stage, fraction, look=None: None, lambda: False)


def words_of(app: AppTest) -> str:
    kinds = ("markdown", "caption", "error", "warning")
    return "\n".join(element.value for kind in kinds for element in app.get(kind)).replace("\\", "")


def titles_of(app: AppTest) -> list[str]:
    return [figure["layout"]["title"]["text"] for figure in figures_of(app)]


def open_view(open_page: OpenPage, **query: str) -> AppTest:
    app = open_page("latents", **query)
    assert not app.exception
    assert not app.error
    return app


def test_the_map_opens_with_two_typical_pictures_and_says_how_to_read_each_part(vae: Run, open_page: OpenPage) -> None:
    app = open_view(open_page, run=vae.id, view="Map")
    words = words_of(app)
    for part in (
        "From A, 0, to B, 9",
        "What lies nearest to B",
        "The mean of each class",
        "From B along one direction",
    ):
        assert part in words
    for source in ("Pearson 1901", "arXiv 1609.04468"):
        assert any(source in caption.proto.help for caption in app.caption)
    assert "have B's class" in words


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ("Map", ("20 of 179 held-out images: hover",)),
        ("Decoder", ("20 of 179 held-out images with the same noise", "On 20 of 179 held-out images")),
        ("Channels", ("Over 30 of 179 held-out images",)),
    ],
)
def test_every_view_says_on_how_many_of_the_held_out_pictures_it_rests(
    vae: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch, view: str, said: tuple[str, ...]
) -> None:
    monkeypatch.setattr(overview_service, "FIRST", 30)

    def refuse(*_: Any, **__: Any) -> None:
        raise LabError("the rest is not measured")

    monkeypatch.setattr(overview_service, "measure", refuse)
    for module in (map_service, decoder_service):
        monkeypatch.setattr(module, "asked_vae", lambda chosen: asked_vae(chosen, 20))
    monkeypatch.setattr(decoder_service, "SURVIVAL_POINTS", 3)
    words = words_of(open_view(open_page, run=vae.id, view=view))
    assert all(part in words for part in said)


def test_the_link_names_the_picked_pictures(vae: Run, open_page: OpenPage) -> None:
    found = made(map_service.latent_map(chosen_of(vae), 1000))
    names = [found.class_names[int(found.labels[place])] for place in (4, 7)]
    words = words_of(open_view(open_page, run=vae.id, view="Map", points="5-8"))
    assert f"From A, {names[0]}, to B, {names[1]}" in words


@pytest.mark.parametrize("points", ["0-3", "5", "1-99999", "a-b", "<b>-1"])
def test_a_link_to_pictures_that_are_not_there_shows_the_typical_ones(
    vae: Run, open_page: OpenPage, points: str
) -> None:
    assert "From A, 0, to B, 9" in words_of(open_view(open_page, run=vae.id, view="Map", points=points))


def test_the_map_in_space_by_tsne_is_computed_once_and_kept_on_disk(
    vae: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def embed(points: np.ndarray, dimensions: int, **_: Any) -> np.ndarray:
        calls.append(dimensions)
        return projection.principal_components(points, dimensions).coordinates

    monkeypatch.setattr(projection, "embed", embed)
    query = {
        "run": vae.id,
        "view": "Map",
        "map": "t-SNE",
        "map-in": "3-D",
        "map-of": "500",
        "along": "principal directions",
    }
    words = words_of(open_view(open_page, **query))
    assert "perplexity 30, seed 0" in words
    memoize_bytes.answers.clear()
    open_view(open_page, **query)
    assert calls == [3]


def test_a_view_that_is_stopped_stays_so_until_somebody_begins_it_again(
    vae: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def embed(points: np.ndarray, dimensions: int, *, progress: Any, **_: Any) -> np.ndarray:
        begun.set()
        while True:  # until it is stopped
            progress("arranging", 0.5)
            time.sleep(0.01)

    monkeypatch.setattr(projection, "embed", embed)
    chosen = chosen_of(vae)
    found = made(map_service.latent_map(chosen, 500))
    name = f"t-sne-{len(found.labels)}-2"
    work = vae_service.begin(chosen, name, lambda tell, _: map_service.embedding(chosen, found, 2, tell))
    assert begun.wait(600)
    work.cancel()  # as the button does
    query = {"run": vae.id, "view": "Map", "map": "t-SNE", "map-of": "500"}
    app = open_view(open_page, **query)
    assert "Once for this VAE and these images: stopped." in words_of(app)
    assert "What lies nearest to B" in words_of(app)  # the rest of the view is there
    assert work.wait(600) and work.problem is not None
    monkeypatch.setattr(
        projection, "embed", lambda points, dimensions, **_: np.zeros((len(points), dimensions), dtype=np.float32)
    )
    next(button for button in app.button if button.label == "Begin again").click().run()
    assert not app.exception and not app.error
    assert "perplexity 30, seed 0" in words_of(app) and "stopped." not in words_of(app)


def test_a_run_that_is_deleted_while_its_map_is_made_is_one_sentence(
    vae: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    latent_map = map_service.latent_map

    def deleted(*arguments: Any) -> Any:
        task = latent_map(*arguments)
        shutil.rmtree(vae.folder)
        return task

    monkeypatch.setattr(map_service, "latent_map", deleted)
    app = open_page("latents", run=vae.id, view="Map")
    assert not app.exception
    assert [vae.id in error.value.replace("\\", "") for error in app.error] == [True]
    app = open_page("latents", run=vae.id, view="Map")  # and gone for good
    assert not app.exception and not app.error
    assert f"Run {vae.id} has no VAE with a checkpoint" in words_of(app)


@pytest.mark.slow
def test_everything_that_is_kept_lies_where_the_clean_up_looks(vae: Run, open_page: OpenPage, store: RunStore) -> None:
    chosen = chosen_of(vae)
    map_service.embedding(chosen, made(map_service.latent_map(chosen, 500)), 2)
    kept = {folder.name for folder in (store.root.parent / "cache").iterdir()}
    assert "projections" in kept and kept <= set(CACHE_KINDS)
    entries = cache_entries(store.root.parent / "cache", store)
    assert all(entry.name.startswith("digits-") for entry in entries if entry.kind != "judges")


def test_walks_neighbours_and_means_are_those_of_the_latents(vae: Run) -> None:
    chosen = chosen_of(vae)
    found = made(map_service.latent_map(chosen, 1000))
    straight, circle = map_service.walk_pictures(chosen, found, 0, 1)
    ends = computing.ask(DECODE_LATENTS, asked_vae(chosen), found.latents[:2], current_site()).astype(int)
    for walk in (straight, circle):  # in another batch: the last digits of a convolution depend on it
        assert np.abs(walk[[0, -1], 0] - ends).max() <= 1
    pixels = map_service.mean_pictures(chosen, found)[1]
    assert np.abs(pixels[3] - found.images[found.labels == 3].mean(axis=0)).max() <= 0.5
    moved = map_service.traversal(chosen, found, 0, "channels")
    assert moved.shape[:2] == (13, 4)
    assert np.abs(moved[6] - ends[0]).max() <= 1  # the middle is not moved
    assert map_service.traversal(chosen, found, 0, "directions").shape[1] == 8


def test_an_answer_is_computed_once_for_all_sessions(vae: Run) -> None:
    chosen = chosen_of(vae)
    first = made(decoder_service.traits(chosen))
    assert made(decoder_service.traits(chosen)) is first


def test_what_is_kept_in_memory_is_bounded(vae: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memoize_bytes.answers(), "max_bytes", 100_000)
    chosen = chosen_of(vae)
    found = made(map_service.latent_map(chosen, 1000))
    for end in range(1, 6):
        map_service.walk_pictures(chosen, found, 0, end)
    assert 1 <= len(memoize_bytes.answers().kept()) < 6


@pytest.mark.slow
def test_the_decoder_says_what_it_survives_and_the_judge_is_asked_for(
    vae: Run, open_page: OpenPage, quick_judge: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, few in (("SURVIVAL_PICTURES", 24), ("SURVIVAL_POINTS", 5), ("FEW_PICTURES", 24)):
        monkeypatch.setattr(decoder_service, name, few)
    app = open_view(open_page, run=vae.id, view="Decoder", schedule="cosine")
    assert titles_of(app) == [
        "Noisy latents decoded as they are: what is left of the image",
        "Power by spatial frequency",
        "Error of encode(T x) against T encode(x), lower is better",
        "How far one deviation of a latent moves the image",
    ]
    words = words_of(app)
    assert "dB" in words and "the judge still names right" not in words
    explained = words + "".join(caption.proto.help for caption in app.caption)
    for source in ("2204.00227", "2502.14831", "2502.09509", "1711.08014"):
        assert source in explained
    (judge,) = [button for button in app.button if button.label == "Judge the images too"]
    app = judge.click().run()
    assert not app.exception
    assert "the share that the judge still names right" in words_of(app)
    assert ceiling_service.judge_is_known(chosen_of(vae))
    again = open_view(open_page, run=vae.id, view="Decoder")  # known now: nobody is asked
    assert "Judge the images too" not in [button.label for button in again.button]


def test_the_ceiling_is_measured_on_request_kept_with_the_run_and_shown(
    vae: Run, open_page: OpenPage, quick_judge: None
) -> None:
    app = open_view(open_page, run=vae.id, view="Ceiling")
    assert "No U-Net generates better images than its VAE reconstructs" in words_of(app)
    assert not list(vae.folder.glob("ceiling/*"))
    (measure,) = [button for button in app.button if button.label == "Measure the ceiling"]
    app = measure.click().run(timeout=600)
    assert not app.exception
    (kept,) = vae.folder.glob("ceiling/*.json")
    facts = json.loads(kept.read_text())
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Class accuracy"] == f"{facts['class_accuracy']:.2%}"
    assert "of real images keep their class" in words_of(app)
    assert titles_of(app) == ["What a linear classifier gets right"]


def test_of_raw_weights_there_is_no_ceiling_and_the_page_says_why(vae: Run, open_page: OpenPage) -> None:
    step = chosen_of(vae).step
    app = open_view(open_page, run=vae.id, view="Ceiling", checkpoint=f"{step}-raw")
    assert "The ceiling is of the averaged weights" in words_of(app)
