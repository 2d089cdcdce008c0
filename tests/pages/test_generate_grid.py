"""X/Y/Z grid on the Generate screen: axes from the link, what it costs, cells, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from core.comparison.grid import Axis
from core.comparison.recipe_grid import CellImages, cells_of, with_axes
from core.runs.run import Run
from core.sampling.recipe import Recipe, png_with_recipe, read_recipe
from lab.generate import grid_service, workbench
from lab.generate.ahead import first_recipe
from lab.generate.grid import ASKED, WAITS
from lab.services import background, models
from lab.services.models import source_of
from tests.pages.conftest import OpenPage

LINK = {"classes": "0,1", "x": "num_inference_steps", "num_inference_steps-values": "2, 3", "grid": "1"}
IMAGE_GRID = "lab_image_grid"


def finished(app: Any) -> Any:
    """The page once its grid is there."""
    work = background.find(app.session_state[WAITS])
    assert work is not None and work.wait(600) and work.problem is None
    return app.run()


def words_on(app: Any) -> str:
    return "\n".join(text.value for text in (*app.caption, *app.markdown, *app.error))


def test_a_link_generates_its_grid_and_a_longer_axis_only_what_is_new(
    unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    generated: list[Recipe] = []
    real = grid_service.asked

    def counting(question: Any, recipes: tuple[Recipe, ...], *rest: Any) -> Any:
        generated.extend(recipes)
        return real(question, recipes, *rest)

    monkeypatch.setattr(grid_service, "asked", counting)
    app = finished(open_page("generate", run=unet.id, y="seed", **{**LINK, "seed-values": "7,8"}))
    assert not app.exception and not app.error
    assert "4 cells × 2 images: 40 evaluations" in words_on(app) and "Choose a cell" in words_on(app)
    assert [button.label for button in app.get("download_button")] == ["Grid (PNG)", "Recipe (JSON)"]
    asked = app.session_state[ASKED]
    cells = cells_of(asked, source_of(unet.id).settings.diffusion)
    assert [cell.recipe for cell in cells] == generated
    look = background.find(app.session_state[WAITS]).result
    for cell in (cells[0], cells[-1]):
        np.testing.assert_array_equal(look[cell.index].images, models.draw_recipe(cell.recipe).images)
    app.text_input(key="num_inference_steps-values").set_value("2,3,4").run()
    assert "earlier settings" in words_on(app) and len(generated) == 4
    app.button(key="grid-now").click()
    app = finished(app.run())
    assert [recipe.num_inference_steps for recipe in generated[4:]] == [4, 4]
    app.button(key="grid-close").click().run()
    assert "grid" not in app.query_params and len(app.get("download_button")) == 4


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ({"num_inference_steps-values": "2,x"}, "Steps: 'x' is not a number"),
        ({"num_inference_steps-values": ""}, "Steps: no values"),
        ({"x": "guidance_scale", "guidance_scale-values": "1,9"}, "Guidance: this page takes 1 to 5"),
        ({"num_inference_steps-values": "1-200"}, "200 cells, more than 100"),
    ],
)
def test_bad_values_are_one_sentence_and_the_images_stay(
    unet: Run, open_page: OpenPage, link: dict[str, str], sentence: str
) -> None:
    app = open_page("generate", run=unet.id, steps="2", **{**LINK, **link})
    assert not app.exception
    (told,) = [error.value for error in app.error]
    assert sentence in told.replace("\\", "") and "\n" not in told
    assert len(app.get("download_button")) == 4 and "grid" not in app.query_params


def test_a_grid_saved_as_a_recipe_opens_again(unet: Run, open_page: OpenPage) -> None:
    from lab.generate import gallery_service
    from lab.generate.grid import png_of

    app = finished(open_page("generate", run=unet.id, **LINK))
    work = background.find(app.session_state[WAITS])
    assert work is not None
    data = png_of(app.session_state[ASKED], source_of(unet.id), work.result)
    assert read_recipe(data, where="grid.png") == app.session_state[ASKED]
    entry = gallery_service.keep(data, title="steps", owner="ana", source_title="drawer", device="CPU")
    app = finished(open_page("generate", kept=entry))
    assert not app.exception and "2 cells" in words_on(app)


@pytest.mark.parametrize("opened", ["grid", "images"])
def test_a_large_recipe_that_is_opened_waits_for_its_button(
    unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch, opened: str
) -> None:
    from lab.generate import gallery_service

    recipe = first_recipe(source_of(unet.id)).model_copy(update={"num_inference_steps": 2})
    if opened == "grid":
        recipe = with_axes(recipe, [Axis(setting="num_inference_steps", values=(1, 2))])
    picture = png_with_recipe(np.zeros((8, 8, 1), np.uint8), recipe)
    entry = gallery_service.keep(picture, title="large", owner="ana", source_title="drawer", device="CPU")
    monkeypatch.setattr(workbench, "AT_ONCE", 10)
    app = open_page("generate", kept=entry)
    assert not app.error and "This recipe is large" in words_on(app) and not app.get("download_button")
    app.button(key="begin-opened").click().run()
    app = finished(app) if opened == "grid" else app
    assert "This recipe is large" not in words_on(app) and app.get("download_button")


def test_cells_that_failed_are_tried_again(unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(question: Any, recipes: tuple[Recipe, ...], *rest: Any) -> Any:
        def answer(tell: Any, should_stop: Any) -> None:
            for place in range(len(recipes)):
                tell("drawing", 1.0, (place, CellImages(images=None, problem="the model was gone")))

        return answer

    def problems(app: Any) -> dict[str, str]:
        (sent,) = [each.proto for each in app.get("bidi_component") if each.proto.component_name == IMAGE_GRID]
        return dict(json.loads(sent.bytes[4 : 4 + int.from_bytes(sent.bytes[:4], "little")])["problems"])

    with monkeypatch.context() as broken:
        broken.setattr(grid_service, "asked", failing)
        app = finished(open_page("generate", run=unet.id, **LINK))
    assert len(problems(app)) == 2 and not app.get("download_button")
    app.button(key="grid-now").click()
    app = finished(app.run())
    assert problems(app) == {} and len(app.get("download_button")) == 2
