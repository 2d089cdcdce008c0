"""The Generate screen with a real, tiny model."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import LabError
from core.runs.run import Run
from core.runs.store import RunStore
from core.training import train_unet, train_vae
from lab.services import models
from tests.pages.conftest import OpenPage
from tests.pages.run_folders import make_run, tiny_settings, write_checkpoint

TINY = {
    "vae.block_out_channels": [8, 8], "unet.block_out_channels": [8, 16], "train_vae.steps": 4,
    "train_unet.steps": 4, "train_vae.batch_size": 8, "train_unet.batch_size": 8, "logging.num_previews": 2,
    "logging.preview_images": 2, "logging.preview_inference_steps": 2, "logging.validation_images": 16,
    "sampling.num_inference_steps": 3, "machine.device": "cpu", "machine.num_threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs folder with a finished VAE and U-Net of a few steps on digits; to be copied."""
    root = tmp_path_factory.mktemp("trained")
    store, settings = RunStore(root / "runs"), tiny_settings(**TINY)
    folders: dict[str, Any] = {"data_dir": root / "data", "cache_dir": root / "cache", "store_root": store.root}
    vae = store.create("vae", settings, name="encoder")
    train_vae.train(vae, should_stop=lambda: False, **folders)
    unet = store.create("unet", settings, name="drawer", parents=(vae.id,))
    train_unet.train(unet, should_stop=lambda: False, **folders)
    return store.root


@pytest.fixture
def unet(trained: Path, store: RunStore) -> Run:
    shutil.copytree(trained, store.root)
    return next(run for run in store.list() if run.info.kind == "unet")


def draw(run: Run, **changes: Any) -> models.Drawing:
    request: dict[str, Any] = {
        "labels": (0, 1), "sampler": "unipc", "num_inference_steps": 3, "guidance_scale": 1.5, "seed": 0, **changes,
    }  # fmt: skip
    return models.draw(run.id, models.newest_step(run), **request)


def test_an_empty_lab_leads_to_train(open_page: OpenPage) -> None:
    app = open_page("generate")
    assert [link.label for link in app.get("page_link")][-1:] == ["Train a model"]


def test_the_page_draws_at_once_and_offers_both_downloads(unet: Run, open_page: OpenPage) -> None:
    app = open_page("generate", run=unet.id)
    assert not app.exception
    assert not app.error
    assert [button.label for button in app.get("download_button")] == ["Picture (PNG)", "Arrays (npz)"]


def test_the_link_decides_seed_steps_sampler_and_guidance(unet: Run, open_page: OpenPage, monkeypatch: Any) -> None:
    asked: list[dict[str, Any]] = []
    original = models.draw

    def _draw(run_id: str, step: int, **request: Any) -> models.Drawing:
        asked.append(request)
        return original(run_id, step, **request)

    monkeypatch.setattr(models, "draw", _draw)
    open_page("generate", run=unet.id, seed="7", steps="2", sampler="euler", guidance="1.0")
    facts = {name: asked[-1][name] for name in ("seed", "num_inference_steps", "sampler", "guidance_scale")}
    assert facts == {"seed": 7, "num_inference_steps": 2, "sampler": "euler", "guidance_scale": 1.0}


def test_the_next_seed_is_one_click_away(unet: Run, open_page: OpenPage) -> None:
    app = open_page("generate", run=unet.id)
    next(button for button in app.button if "casino" in button.label).click().run()
    assert app.number_input(key="seed").value == 1
    assert not app.exception


def test_samplers_that_do_not_fit_are_explained(unet: Run, open_page: OpenPage) -> None:
    app = open_page("generate", run=unet.id)
    allowed, refused = models.sampler_choices(unet, 3)
    assert app.selectbox(key="sampler").options == allowed
    words = "\n".join(element.value for element in app.markdown).replace("\\", "")
    assert [name for name in refused if f"**{name}**" not in words] == []
    assert refused


def test_a_run_that_cannot_draw_is_told_and_another_is_shown(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    vae = next(run for run in store.list() if run.info.kind == "vae")
    app = open_page("generate", run=vae.id)
    assert "cannot draw" in app.warning[0].value
    assert app.query_params["run"] == unet.id


def test_a_damaged_checkpoint_is_one_sentence(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store)
    write_checkpoint(run, 100)
    app = open_page("generate", run=run.id)
    assert not app.exception
    assert len(app.error) == 1


def test_damaged_class_names_are_one_sentence(unet: Run, open_page: OpenPage) -> None:
    unet.data_path.write_text('{"class_names": 7}')
    app = open_page("generate", run=unet.id)
    assert not app.exception
    assert "data.json cannot be read" in app.error[0].value.replace("\\", "")


def test_the_same_request_is_the_same_drawing_without_drawing_again(unet: Run) -> None:
    assert draw(unet) is draw(unet)


def test_another_seed_is_another_drawing(unet: Run) -> None:
    assert not np.array_equal(draw(unet).images, draw(unet, seed=1).images)


def test_the_path_ends_in_the_finished_pictures(unet: Run) -> None:
    drawing = draw(unet)
    assert drawing.noisy_images.shape == drawing.predicted_images.shape == (4, 2, 16, 16, 1)
    np.testing.assert_array_equal(drawing.noisy_images[-1], drawing.predicted_images[-1])
    assert list(drawing.steps) == [0, 1, 2, 3]
    assert (drawing.noise_scale[-1], drawing.signal_scale[-1]) == (0, 1)


def test_a_long_path_is_thinned_out_and_keeps_its_ends(unet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MAX_FRAMES", 3)
    assert list(draw(unet, num_inference_steps=8, sampler="euler").steps) == [0, 4, 8]


def test_kept_drawings_do_not_fill_the_memory(unet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MAX_KEPT_BYTES", 1)
    first = draw(unet)
    draw(unet, seed=1)
    assert draw(unet) is not first


def test_sessions_that_draw_at_the_same_time_get_their_own_pictures(unet: Run) -> None:
    expected = {seed: draw(unet, seed=seed).images for seed in range(4)}
    models._drawings().clear()
    found: dict[int, np.ndarray] = {}

    def _session(seed: int) -> None:
        found[seed] = draw(unet, seed=seed).images

    threads = [threading.Thread(target=_session, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal(np.stack([found[k] for k in range(4)]), np.stack([expected[k] for k in range(4)]))


def test_a_label_outside_the_classes_is_refused(unet: Run) -> None:
    with pytest.raises(LabError):
        draw(unet, labels=(99,))
