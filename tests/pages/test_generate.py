"""The Generate screen with a real, tiny model."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import LabError
from core.home import code_root
from core.model_folders.model_facts import DEMO
from core.runs.listing import newest_step
from core.runs.provenance import current_user
from core.runs.run import Run
from core.runs.store import RunStore
from core.sampling.drawing import Drawing
from core.sampling.recipe import Recipe, png_with_recipe
from lab.frame.state import WHO_KEY
from lab.generate import model_import_service
from lab.generate.ahead import first_recipe
from lab.generate.model_import import OPEN
from lab.generate.model_import_service import imported_models
from lab.generate.workbench import ASKED
from lab.services import models
from lab.services.models import model_sources, source_of
from lab.services.settings import current_site
from tests.pages.conftest import OpenPage
from tests.pages.run_folders import make_run, write_checkpoint

DEMO_STEP = int(json.loads((code_root() / DEMO / "lab.json").read_text())["step"])
RECIPE = Recipe(
    source="model:mnist-demo",
    step=DEMO_STEP,
    labels=(1,),
    seeds=(3,),
    sampler="unipc",
    num_inference_steps=5,
    guidance_scale=1.5,
)


def draw_from(source: str, step: int, *, labels: tuple[int, ...] = (0, 1), seed: int = 0, **changes: Any) -> Drawing:
    asked = {"sampler": "unipc", "num_inference_steps": 3, "guidance_scale": 1.5, **changes}
    seeds, places = (seed,) * len(labels), tuple(range(len(labels)))
    recipe = Recipe(source=source, step=step, labels=labels, seeds=seeds, places=places, **asked)
    return models.draw_recipe(recipe)


def draw(run: Run, **changes: Any) -> Drawing:
    return draw_from(run.id, newest_step(run), **changes)


def test_an_empty_lab_draws_with_the_demo_and_tells_how_good_it_is(open_page: OpenPage) -> None:
    app = open_page("generate")
    assert not app.exception and not app.error
    assert app.query_params["run"] == "model:mnist-demo"
    assert len(app.get("download_button")) == 4
    (told,) = [text.value for text in app.caption if "The demo model" in text.value]
    card = json.loads((code_root() / DEMO / "lab.json").read_text())["report"]
    for figure in (f"{card['class_accuracy']:.2%} in the right class", f"FD-judge {card['fd_judge']:.3f}", "5,000"):
        assert figure in told
    assert [link.label for link in app.get("page_link")][-1:] == ["Train a model of your own"]


def test_a_link_that_asks_for_the_noise_of_a_newer_lab_is_refused(open_page: OpenPage) -> None:
    app = open_page("generate", run="model:mnist-demo", noise="3")
    assert "version 3 of the rule 'noise'" in app.error[0].value and not app.exception


def test_the_demo_draws_the_classes_that_were_asked_for(store: RunStore) -> None:
    facts, (source,) = source_of("model:mnist-demo"), model_sources()
    drawing = draw_from(source.id, source.steps[0], labels=(3, 7), num_inference_steps=4)
    assert drawing.class_names == facts.class_names and drawing.images.shape == (2, 32, 32, 1)
    assert drawing.recipe.source == "model:mnist-demo" and drawing.recipe.weights_sha256
    assert 10 < drawing.images.mean() < 80  # a bright digit on black, as MNIST is


def test_a_model_folder_put_under_the_same_name_is_not_drawn_with_the_old_weights(store: RunStore) -> None:
    folder = current_site().models / "mine"
    shutil.copytree(code_root() / DEMO, folder)
    recipe = Recipe(
        source="model:mine",
        step=DEMO_STEP,
        labels=(3,),
        seeds=(0,),
        sampler="unipc",
        num_inference_steps=1,
        guidance_scale=1.5,
    )
    first = models.draw_recipe(recipe)
    facts = json.loads((folder / "lab.json").read_text())
    (folder / "lab.json").write_text(json.dumps({**facts, "shift": [value + 1 for value in facts["shift"]]}))
    assert not np.array_equal(models.draw_recipe(recipe).images, first.images)


def test_a_recipe_for_other_weights_than_a_model_folder_holds_is_refused(store: RunStore) -> None:
    for changed in ({"step": 1}, {"step": DEMO_STEP, "weights": "raw"}):
        with pytest.raises(LabError, match=f"holds the ema weights of step {DEMO_STEP:,} only"):
            models.draw_recipe(
                Recipe(
                    **{
                        "source": "model:mnist-demo",
                        "labels": (3,),
                        "seeds": (0,),
                        "sampler": "unipc",
                        "num_inference_steps": 1,
                        "guidance_scale": 1.0,
                        **changed,
                    }  # type: ignore[arg-type]
                )
            )


@pytest.mark.slow
def test_damaged_model_folders_are_left_out_and_the_page_works(store: RunStore, open_page: OpenPage) -> None:
    folder = current_site().models / "broken"
    folder.mkdir(parents=True)
    (folder / "lab.json").write_text("[" * 1000)
    assert [source.id for source in model_sources()] == ["model:mnist-demo"]
    app = open_page("generate", run="model:broken")
    for _ in range(2):  # it stays when the page is drawn again, as it is when its pictures are done
        assert not app.exception and "cannot generate" in app.warning[0].value
        app.run()


def test_the_page_draws_at_once_and_offers_both_downloads(unet: Run, open_page: OpenPage) -> None:
    app = open_page("generate", run=unet.id)
    assert not app.exception
    assert not app.error
    assert [button.label for button in app.get("download_button")] == [
        "Image (PNG)",
        "Arrays (npz)",
        "Animation (WebP)",
        "Recipe (JSON)",
    ]
    assert app.session_state[ASKED] == first_recipe(source_of(unet.id))  # which is generated ahead


def test_the_link_decides_seed_steps_sampler_and_guidance(unet: Run, open_page: OpenPage, monkeypatch: Any) -> None:
    asked: list[Recipe] = []
    real = models.draw_recipe
    monkeypatch.setattr(models, "draw_recipe", lambda recipe, **kw: asked.append(recipe) or real(recipe, **kw))
    open_page("generate", run=unet.id, seed="7", steps="2", sampler="euler", guidance="1.0")
    assert (asked[-1].seeds[:2], asked[-1].places[:2]) == ((7, 7), (0, 1))
    assert (asked[-1].num_inference_steps, asked[-1].sampler, asked[-1].guidance_scale) == (2, "euler", 1.0)


def test_the_next_seed_is_one_click_away(unet: Run, open_page: OpenPage) -> None:
    app = open_page("generate", run=unet.id)
    next(button for button in app.button if "casino" in button.label).click().run()
    assert app.number_input(key="seed").value == 1
    assert not app.exception


def test_a_changed_setting_is_generated_only_when_asked_and_the_images_say_so(
    unet: Run, open_page: OpenPage, monkeypatch: Any
) -> None:
    asked: list[Recipe] = []
    real = models.draw_recipe
    monkeypatch.setattr(models, "draw_recipe", lambda recipe, **kw: asked.append(recipe) or real(recipe, **kw))
    app = open_page("generate", run=unet.id, steps="3", classes="0,1")
    assert (len(asked), "earlier settings" in notes_on(app)) == (1, False)
    app.number_input(key="steps").set_value(2).run()
    assert (len(asked), "earlier settings" in notes_on(app), "2 × 2 steps" in notes_on(app)) == (1, True, True)
    app.button(key="generate-now").click().run()
    assert (asked[-1].num_inference_steps, "earlier settings" in notes_on(app)) == (2, False)
    app.button(key="classes-none").click().run()
    assert app.button(key="generate-now").disabled and "at least one class" in notes_on(app)
    assert len(asked) == 2 and not app.exception


def test_more_images_are_appended_with_the_next_seeds_and_the_link_keeps_them(
    unet: Run, open_page: OpenPage, monkeypatch: Any
) -> None:
    shown: list[Recipe] = []
    generated: list[Recipe] = []
    draw_recipe, ask = models.draw_recipe, models.asked

    def counting(question: Any, recipe: Recipe, *rest: Any) -> Any:
        generated.append(recipe)
        return ask(question, recipe, *rest)

    monkeypatch.setattr(models, "draw_recipe", lambda recipe, **kw: shown.append(recipe) or draw_recipe(recipe, **kw))
    monkeypatch.setattr(models, "asked", counting)
    app = open_page("generate", run=unet.id, seed="7", steps="2", classes="0,1")
    for _ in range(2):
        app.button(key="more").click().run()
    whole = max(shown, key=lambda recipe: len(recipe.labels))
    assert (whole.labels, whole.seeds, whole.places) == ((0, 1) * 3, (7, 7, 8, 8, 9, 9), (0, 1) * 3)
    assert [recipe.seeds for recipe in generated] == [(7, 7), (8, 8), (9, 9)]  # each once
    step_by_step = models.kept_drawing(whole, with_layers=True)
    models.drawings().clear()
    at_once = draw_recipe(whole, with_layers=True)
    assert step_by_step is not None and step_by_step.layers is not None and at_once.layers is not None
    for name in ("noisy_images", "predicted_images"):
        np.testing.assert_array_equal(getattr(at_once, name), getattr(step_by_step, name))
    np.testing.assert_array_equal(at_once.layers.latents, step_by_step.layers.latents)
    np.testing.assert_array_equal(at_once.images[:2], draw_recipe(generated[0]).images)
    link = {name: value[0] if isinstance(value, list) else value for name, value in app.query_params.items()}
    shown.clear()
    models.drawings().clear()
    open_page("generate", **link)
    assert shown[0].seeds == whole.seeds
    for wild in ("-1", "1e9", "99999", "x"):
        assert not open_page("generate", **{**link, "more": wild}).exception
        assert len(shown[-1].labels) in (2, 6)


def test_cancel_brings_back_what_was_shown_before(unet: Run, open_page: OpenPage) -> None:
    app = open_page("generate", run=unet.id, steps="2", classes="0,1")
    app.number_input(key="steps").set_value(3)
    app.button(key="generate-now").click().run()
    last = app.session_state["generate-finished"]
    app.session_state["generate-finished"] = last.model_copy(update={"num_inference_steps": 2})
    app.session_state["cancelled-main"] = app.session_state["waits-main"]
    app.run()
    assert "earlier settings" in notes_on(app) and len(app.get("download_button")) == 4


def notes_on(app: Any) -> str:
    return "\n".join(text.value for text in app.caption)


def test_samplers_that_do_not_fit_are_explained(unet: Run, open_page: OpenPage) -> None:
    app = open_page("generate", run=unet.id)
    allowed, refused = unet.settings.diffusion.offered_samplers(3)
    assert app.selectbox(key="sampler").options == allowed
    words = "\n".join(element.value for element in app.markdown).replace("\\", "")
    assert [name for name in refused if f"**{name}**" not in words] == []
    assert refused


def test_a_run_that_cannot_draw_is_told_and_another_is_shown(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    vae = next(run for run in store.list() if run.info.kind == "vae")
    app = open_page("generate", run=vae.id)
    assert "cannot generate" in app.warning[0].value
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


def test_kept_drawings_do_not_fill_the_memory(unet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.drawings(), "max_bytes", 1)
    first = draw(unet)
    draw(unet, seed=1)
    assert draw(unet) is not first


def test_sessions_that_draw_at_the_same_time_get_their_own_pictures(unet: Run) -> None:
    expected = {seed: draw(unet, seed=seed).images for seed in range(4)}
    models.drawings().clear()
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


def test_a_cancelled_drawing_leaves_nothing(unet: Run) -> None:
    seen: list[int] = []
    recipe = draw(unet).recipe.model_copy(update={"seeds": (5, 6)})
    with pytest.raises(LabError, match="cancelled"):
        models.draw_recipe(
            recipe, on_step=lambda done, total, pictures: seen.append(len(pictures)), should_stop=lambda: bool(seen)
        )
    assert seen == [2]
    with pytest.raises(ZeroDivisionError):  # as Streamlit stops a script: by an error out of the callback
        models.draw_recipe(recipe, on_step=lambda done, total, pictures: 1 // 0)
    assert models.kept_drawing(recipe) is None


def test_more_pictures_than_a_page_draws_are_refused(unet: Run) -> None:
    recipe = draw(unet).recipe.model_copy(update={"labels": (0,) * 65, "seeds": (0,) * 65})
    with pytest.raises(LabError, match="65 images, at most 64"):
        models.draw_recipe(recipe)


def test_raw_weights_are_drawn_when_the_link_says_so(unet: Run, open_page: OpenPage, monkeypatch: Any) -> None:
    asked: list[Recipe] = []
    real = models.draw_recipe
    monkeypatch.setattr(models, "draw_recipe", lambda recipe, **kw: asked.append(recipe) or real(recipe, **kw))
    open_page("generate", run=unet.id, weights="raw", rescale="0.5")
    assert (asked[-1].weights, asked[-1].guidance_rescale, asked[-1].guidance_interval) == ("raw", 0.5, (0.0, 1.0))
    assert asked[-1].places == tuple(range(len(asked[-1].labels)))


@pytest.mark.slow
def test_a_branch_is_shown_under_the_original(unet: Run, open_page: OpenPage) -> None:
    app = open_page("generate", run=unet.id)
    app.session_state["branch-at"] = 1
    app.run()
    assert not app.exception
    assert any("Branch from step 1 of" in text.value for text in app.markdown)
    assert len(app.get("download_button")) == 4
    (which,) = [group for group in app.get("button_group") if group.key == "save-which"]
    assert list(which.options) == ["The images", "The branch"]
    (close,) = [button for button in app.button if button.label == "Close"]
    close.click().run()
    assert len(app.get("download_button")) == 4


def test_the_branch_of_a_recipe_keeps_what_is_not_changed(unet: Run) -> None:
    from lab.generate.branch import with_branch

    recipe = draw(unet).recipe
    branch = with_branch(recipe, 2, 3, recipe.sampler, 2.0).branch
    assert branch is not None
    assert (branch.at, branch.labels, branch.sampler, branch.guidance_scale) == (2, (3,) * len(recipe.labels), "", 2.0)
    end = int(draw(unet).steps[-1])
    same = models.draw_recipe(with_branch(recipe, end, 3, "", 4.0))
    np.testing.assert_array_equal(same.images, draw(unet).images)


def test_the_link_decides_classes_number_checkpoint_and_interval(
    unet: Run, open_page: OpenPage, monkeypatch: Any
) -> None:
    asked: list[Recipe] = []
    real = models.draw_recipe
    monkeypatch.setattr(models, "draw_recipe", lambda recipe, **kw: asked.append(recipe) or real(recipe, **kw))
    link = {"run": unet.id, "classes": "7,3", "number": "2", "checkpoint": "4", "rescale": "0.5", "steps": "2"}
    app = open_page("generate", **link, interval=["0.2", "0.8"])  # type: ignore[arg-type]
    assert not app.exception
    assert (asked[-1].labels, asked[-1].places) == ((3, 7, 3, 7), (0, 2, 1, 3))
    assert (asked[-1].step, asked[-1].guidance_interval, asked[-1].guidance_rescale) == (4, (0.2, 0.8), 0.5)
    for name, value in link.items():
        assert app.query_params[name] in (value, [value])
    sigma = {"levels": "sigma", "sigma-low": "0.4", "sigma-high": "3"}
    app = open_page("generate", **link, **sigma)
    assert not app.exception
    assert asked[-1].guidance_interval == (0.4, 3.0, "sigma")


@pytest.mark.parametrize("value", ["1e999", "nan", "-1", "9" * 400, "0x1", ""])
def test_wild_links_show_what_can_be_shown(unet: Run, open_page: OpenPage, value: str) -> None:
    names = (
        "seed",
        "steps",
        "guidance",
        "sampler",
        "rescale",
        "interval",
        "classes",
        "number",
        "checkpoint",
        "weights",
    )
    app = open_page("generate", run=unet.id, **dict.fromkeys(names, value))
    assert not app.exception
    assert not app.error
    assert len(app.get("download_button")) == 4


def test_the_page_draws_what_the_command_draws(unet: Run) -> None:
    from core.sampling.load import load_model
    from core.sampling.request import request_of
    from core.sampling.steps import sample

    model = load_model(unet, device="cpu")
    sampling = unet.settings.sampling.model_copy(update={"sampler": "unipc", "num_inference_steps": 3})
    asked = request_of(sampling, (0, 0, 4, 4), noise_rule=1, seed=5)  # of a recipe that names none
    drawing = draw(unet, labels=(0, 0, 4, 4), seed=5, guidance_scale=sampling.guidance_scale)
    np.testing.assert_array_equal(drawing.images, sample(model, asked))


def test_an_animation_holds_every_step_and_the_recipe(unet: Run) -> None:
    import io

    from PIL import Image

    from core.sampling.recipe import read_recipe
    from lab.generate.generation_view import animated

    drawing = draw(unet)
    data = animated(drawing)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 0) == len(drawing.steps)
    assert read_recipe(data, where="file") == drawing.recipe


def test_a_drawing_in_the_background_is_shared_and_ends_with_its_last_watcher(
    unet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.generate import generation_service

    gate = threading.Event()

    def _slow(recipe: Recipe, **options: Any) -> str:
        while not options["should_stop"]():
            if gate.wait(0.01):
                return "drawn"
        raise LabError("generating: cancelled")

    monkeypatch.setattr(models, "draw_recipe", _slow)
    recipe = Recipe(
        source=unet.id, step=4, labels=(0,), seeds=(9,), sampler="unipc", num_inference_steps=3, guidance_scale=1.0
    )
    first = generation_service.begin(recipe, watcher="ana")
    assert generation_service.begin(recipe, watcher="ben") is first
    generation_service.leave(first.key, "ana")
    assert not first.is_cancelled
    generation_service.leave(first.key, "ben")
    assert first.wait(600) and first.problem is not None
    again = generation_service.begin(recipe, watcher="ana")
    assert again is not first
    gate.set()
    assert again.wait(600) and again.result == "drawn"


def test_a_cancelled_drawing_is_told_and_can_be_drawn_after_all(unet: Run, open_page: OpenPage) -> None:
    app = open_page("generate", run=unet.id)
    app.session_state["cancelled-main"] = app.session_state["waits-main"]
    app.run()
    assert any("Cancelled" in text.value for text in app.markdown)
    assert not app.get("download_button")
    next(button for button in app.button if button.key == "again-main").click().run()
    assert len(app.get("download_button")) == 4


@pytest.mark.slow
def test_a_drawing_is_kept_opened_again_and_removed(unet: Run, open_page: OpenPage) -> None:
    from lab.generate import gallery_service

    app = open_page("generate", run=unet.id, seed="6", steps="2")
    app.text_input(key="drawing-title").set_value("![x](http://x) **bold**")
    next(button for button in app.button if button.key == "drawing-keep").click().run()
    assert not app.error
    (entry,), _ = gallery_service.entries()
    assert (entry.recipe().seeds[0], entry.recipe().num_inference_steps) == (6, 2)
    shown = open_page("generate", view="Gallery")
    assert not shown.exception
    assert not any("![x]" in text.value for text in shown.markdown)
    again = open_page("generate", run=unet.id, kept=entry.id)
    assert any("from the recipe of" in text.value for text in again.markdown)
    next(button for button in shown.button if button.key == f"gallery-remove-{entry.id}").click().run()
    assert gallery_service.entries() == ([entry], [])  # one's own is asked for too
    next(button for button in shown.button if button.key == "confirm-yes").click().run()
    assert gallery_service.entries() == ([], [])
    gone = open_page("generate", run=unet.id, kept=entry.id)
    assert "there is no entry" in gone.error[0].value


@pytest.mark.parametrize("damaged", [False, True])
def test_a_drawing_of_somebody_else_is_removed_only_after_a_yes(
    store: RunStore, open_page: OpenPage, damaged: bool
) -> None:
    from lab.generate import gallery_service

    picture = png_with_recipe(np.zeros((8, 8, 1), dtype=np.uint8), RECIPE)
    entry_id = gallery_service.keep(picture, title="ones", owner="ana", source_title="first", device="CPU")
    if damaged:
        (gallery_service.entry_of(entry_id).folder / "picture.png").write_bytes(b"\x89PNG nothing")
    app = open_page("generate", view="Gallery")
    app.session_state[WHO_KEY] = "Bea"
    next(button for button in app.button if button.key == f"gallery-remove-{entry_id}").click().run()
    assert len(gallery_service.entries()[0]) == 1
    words = words_on(app)
    assert (
        "belongs to **ana**" in words and "permanently deletes **ones** for everyone" in words and "events" not in words
    )
    next(button for button in app.button if button.key == "confirm-no").click().run()
    assert len(gallery_service.entries()[0]) == 1
    next(button for button in app.button if button.key == f"gallery-remove-{entry_id}").click().run()
    app.button(key="confirm-yes").click().run()
    assert gallery_service.entries() == ([], []) and not app.exception and not app.error


def test_damaged_drawings_are_nobody_s_and_are_asked_for(store: RunStore, open_page: OpenPage) -> None:
    from lab.generate import gallery_service

    picture = png_with_recipe(np.zeros((8, 8, 1), dtype=np.uint8), RECIPE)
    entry_id = gallery_service.keep(picture, title="ones", owner="ana", source_title="first", device="CPU")
    (gallery_service.entry_of(entry_id).folder / "entry.json").write_text("{")
    app = open_page("generate", view="Gallery")
    app.button(key="gallery-damaged").click().run()
    assert gallery_service.entries() == ([], [entry_id])
    app.button(key="confirm-yes").click().run()
    assert gallery_service.entries() == ([], [])


def words_on(app: Any) -> str:
    return "\n".join(text.value for text in app.markdown)


def import_on_the_page(app: Any, path: Path, name: str) -> Any:
    app.text_input(key="model-path").input(str(path))
    app.text_input(key="model-name").input(name)
    next(button for button in app.button if button.label == "Import").click().run()
    return app


@pytest.mark.slow
def test_an_imported_model_draws_at_once(store: RunStore, open_page: OpenPage) -> None:
    app = import_on_the_page(open_page("generate", **{OPEN: "true"}), code_root() / DEMO, "given")
    assert not app.exception and not app.error
    assert app.query_params["run"] == "model:given"
    assert any("An imported model" in text.value for text in app.caption)
    assert len(app.get("download_button")) == 4
    assert [info.owner for info in imported_models()] == [current_user()]
    app.session_state[WHO_KEY] = "Bea"
    app.run()
    app.button(key="model-remove-given").click().run()
    assert len(imported_models()) == 1 and f"belongs to **{current_user()}**" in words_on(app)
    app.button(key="confirm-yes").click().run()
    assert imported_models() == [] and not app.exception and not app.error
    assert app.query_params.get("run") != "model:given"


@pytest.mark.slow
def test_a_second_importer_is_told_and_is_not_led_to_the_model_of_the_first(
    store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(source: Path, *, models_dir: Path, name: str, **_: Any) -> str:
        goes_on.wait(600)
        return str(shutil.copytree(source, models_dir / name))

    goes_on = threading.Event()
    monkeypatch.setattr(model_import_service, "import_model", copied)
    work = model_import_service.begin_model_import(
        source=code_root() / DEMO, name="hers", data_set="", imported_by="Ana", upload=None
    )
    app = import_on_the_page(open_page("generate", **{OPEN: "true"}), code_root() / DEMO, "mine")
    assert [error.value for error in app.error] == ["Another model is being imported by Ana; wait until it is done"]
    goes_on.set()
    assert work.wait(600) and work.problem is None
    assert app.run().query_params.get("run") != "model:hers"
    assert [info.name for info in imported_models()] == ["hers"]


@pytest.mark.slow
def test_a_hostile_model_is_one_sentence_and_the_page_goes_on(
    store: RunStore, open_page: OpenPage, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(code_root() / DEMO, tmp_path / "evil"))
    (folder / "transformer" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    app = import_on_the_page(open_page("generate", **{OPEN: "true"}), folder, "<b>evil</b>")
    assert "is not made of letters" in app.error[0].value
    app = import_on_the_page(app, folder, "evil")
    assert not app.exception and len(app.error) == 1 and "can run code" in app.error[0].value
    assert not current_site().models.exists()
    assert len(app.get("download_button")) == 4  # it still draws
    assert not app.run().error


@pytest.mark.parametrize("way", ["seeds", "between", "picture"])
def test_walks_and_real_pictures_are_drawn_from_the_link(
    unet: Run, open_page: OpenPage, monkeypatch: Any, way: str
) -> None:
    asked: list[Recipe] = []
    real = models.draw_recipe
    monkeypatch.setattr(models, "draw_recipe", lambda recipe, **kw: asked.append(recipe) or real(recipe, **kw))
    link = {"way": way, "classes": "3", "way-number": "5", "to-seed": "9", "to-class": "7", "from-picture": "2"}
    app = open_page("generate", run=unet.id, steps="4", **link)
    assert not app.exception
    assert not app.error
    recipe = asked[-1]
    if way == "picture":
        assert recipe.start is not None and (recipe.start.at, set(recipe.start.places)) == (1, {2})
        return
    assert recipe.labels == (3,) * 5
    mix, ends = (recipe.noise_mix, recipe.to_seeds) if way == "seeds" else (recipe.label_mix, recipe.to_labels)
    assert (mix, set(ends)) == ((0.0, 0.25, 0.5, 0.75, 1.0), {9 if way == "seeds" else 7})
    assert ("euler_ancestral" in app.selectbox(key="sampler").options) is False or way == "between"


def test_a_walk_between_seeds_refuses_samplers_that_draw_noise(unet: Run) -> None:
    recipe = draw(unet).recipe.model_copy(
        update={"sampler": "dpmpp_2m_sde", "to_seeds": (3, 3), "noise_mix": (0.0, 1.0), "places": ()}
    )
    with pytest.raises(LabError, match="adds new noise at every step"):
        models.draw_recipe(recipe)
