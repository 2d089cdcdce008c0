"""What is found out about a drawing after it is shown: the judge's odds and the nearest training pictures."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.evaluation.decision_step import commit_frame
from core.evaluation.nearest_results import Nearest
from core.runs.listing import newest_step
from core.runs.run import Run
from core.runs.store import RunStore
from core.sampling.drawing import Drawing
from lab.generate import generation_analysis_service, generation_view
from lab.generate.generation_analysis_service import analysis_of
from lab.services import computing, judges
from lab.services.models import source_of
from tests.pages.conftest import OpenPage, until, working_in
from tests.pages.test_generate import DEMO_STEP, draw_from


def drawn(run: Run) -> Drawing:
    return draw_from(run.id, newest_step(run))


def finished(run: Run, drawing: Drawing) -> generation_analysis_service.Analysis:
    for _ in range(3):
        looks = analysis_of(drawing, source_of(run.id), watcher="me")
        if not looks.waiting:
            return looks
        assert all(work.wait(600) for work in looks.waiting)
    raise AssertionError("it looks for ever")


def header_of(payload: bytes) -> dict[str, Any]:
    (length,) = struct.unpack("<I", payload[:4])
    found: dict[str, Any] = json.loads(payload[4 : 4 + length])
    return found


def words_of(app: AppTest) -> str:
    return "\n".join(text.value for text in [*app.markdown, *app.caption]).replace("\\", "")


def test_without_a_judge_nothing_is_trained_and_the_page_says_how(unet: Run, open_page: OpenPage) -> None:
    app = open_page("generate", run=unet.id)
    assert not app.exception and not app.error
    assert "No judge for digits yet. A judge shows the step at which each image settles on its class." in words_of(app)
    assert [button.label for button in app.button if button.key == "train-judge"] == ["Train the judge"]
    assert finished(unet, drawn(unet)).odds is None and judges.find(source_of(unet.id)) is None


def test_the_judge_is_trained_once_on_request_and_its_odds_are_added(
    unet: Run, open_page: OpenPage, quick_judge: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[dict[str, Any]] = []
    real = generation_view.scrubber
    monkeypatch.setattr(
        generation_view, "scrubber", lambda payload, key: packed.append(header_of(payload)) or real(payload, key=key)
    )
    facts, app = source_of(unet.id), open_page("generate", run=unet.id)
    next(button for button in app.button if button.key == "train-judge").click().run()
    work = judges.training(facts)
    assert work is None or work.wait(600)
    app.run()
    assert not app.exception and not app.error
    judge = judges.find(facts)
    assert judge is not None
    assert "train-judge" not in [button.key for button in app.button]
    until(app, lambda app: packed[-1]["odds"] > 0)
    assert packed[0]["odds"] == 0 and packed[-1]["classes"] == list(facts.class_names)
    assert packed[0]["same"] == packed[-1]["same"]  # the pictures were there at once, and stay
    assert f"The judge of digits is right on {judge.accuracy:.1%}" in words_of(app)


def test_commits_follow_from_the_odds_of_the_judge(unet: Run, quick_judge: None) -> None:
    facts, drawing = source_of(unet.id), drawn(unet)
    assert judges.begin_training(facts).wait(600)
    odds = finished(unet, drawing).odds
    assert odds is not None and odds.probabilities.shape == (4, 2, 10)
    header = header_of(generation_view.pack_drawing(drawing, odds).payload)
    assert header["asked"] == [0, 1]
    assert header["commits"] == commit_frame(odds.probabilities).tolist()


def test_the_nearest_training_picture_travels_with_how_to_read_it(unet: Run) -> None:
    drawing = drawn(unet)
    found = finished(unet, drawing).nearest
    assert found is not None and found.pictures.shape == drawing.images.shape
    header = header_of(generation_view.pack_drawing(drawing, None, found).payload)["nearest"]
    assert header["bytes"] > 0
    assert header["titles"][1] == f"Nearest training image: {found.labels[1]}"
    assert header["words"][1].startswith(f"No. {found.places[1]:,}, {found.distances[1]:.0f} of 255 gray levels")


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.4, "40% of held-out images are nearer to theirs: no sign of memorization by this test"),
        (0.02, "only 2% of held-out"),
        (0.0, "It may be memorized"),
        (float("nan"), "12 of 255 gray levels apart (root mean square)."),
    ],
)
def test_a_distance_is_read_against_real_pictures(share: float, words: str) -> None:
    picture = np.zeros((1, 8, 8, 1), dtype=np.uint8)
    one = np.array([0])
    found = Nearest(
        pictures=picture, labels=one, places=one, distances=np.array([12.3]), closer=np.array([share]), every=1
    )
    assert words in found.in_words(0)


def test_where_the_pictures_are_not_one_sentence_says_what_is_missing(
    unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judges, "pictures_are_here", lambda facts: False)
    app = open_page("generate", run=unet.id)
    assert not app.exception and not app.error
    missing = "digits is not on this machine, so there is no judge and no nearest training image"
    assert [missing in text.value for text in app.caption].count(True) == 1
    assert "train-judge" not in [button.key for button in app.button]


def test_the_demo_brings_its_judge_and_needs_no_pictures_for_it(store: RunStore) -> None:
    facts = source_of("model:mnist-demo")
    drawing = draw_from("model:mnist-demo", DEMO_STEP, labels=(3, 7), num_inference_steps=5)
    (work,) = analysis_of(drawing, facts, watcher="me").waiting  # MNIST is not here: no nearest pictures
    assert work.wait(600)
    looks = analysis_of(drawing, facts, watcher="me")
    assert looks.odds is not None and looks.has_judge and looks.nearest is None
    assert looks.odds.probabilities[-1].argmax(axis=1).tolist() == [3, 7]
    assert (commit_frame(looks.odds.probabilities) >= 0).all()


def test_a_training_that_was_cancelled_leaves_no_judge_and_can_be_begun_again(
    unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "COMMAND", working_in("models.endless_judges()"))
    facts, app = source_of(unet.id), open_page("generate", run=unet.id)
    next(button for button in app.button if button.key == "train-judge").click().run()
    work = judges.training(facts)
    assert work is not None and judges.begin_training(facts) is work  # a second person joins
    until(app, lambda _: work.fraction > 0)
    next(button for button in app.button if button.key == "cancel-judge").click().run()
    assert work.wait(600)
    app.run()
    assert not app.error and judges.find(facts) is None
    assert "train-judge" in [button.key for button in app.button]


def test_a_training_that_failed_is_told_once(unet: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "COMMAND", working_in("models.failing_judges()"))
    app = open_page("generate", run=unet.id)
    work = judges.begin_training(source_of(unet.id))
    assert work.wait(600)
    assert [error.value for error in app.run().error] == ["The judge's weights became NaN"]
    assert not app.run().error


def test_looks_of_a_drawing_that_nobody_waits_for_are_cancelled(unet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with generation_analysis_service._ONE_AT_A_TIME:  # another drawing is looked at
        (work,) = analysis_of(drawn(unet), source_of(unet.id), watcher="ana").waiting
        assert analysis_of(drawn(unet), source_of(unet.id), watcher="ben").waiting == (work,)
        generation_analysis_service.leave((work.key,), "ana")
        assert not work.is_cancelled
        generation_analysis_service.leave((work.key,), "ben")
    assert work.wait(600) and work.result is None
    assert finished(unet, drawn(unet)).nearest is not None
