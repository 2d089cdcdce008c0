from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch

import core.evaluation.evaluate as evaluate_module
from core.config.schema import (
    LABEL_CHOICES,
    DiffusionSettings,
    EvaluationSettings,
    LabelChoice,
    SamplingSettings,
    Settings,
    UnetSettings,
)
from core.config.schema import VaeSettings as VaeSection
from core.diffusion.schedule import build_schedule
from core.errors import UsageError
from core.evaluation.evaluate import evaluate
from core.evaluation.judge import load_or_train, split_features
from core.evaluation.labels import asked_labels
from core.evaluation.measures import measure
from core.evaluation.metrics import frechet_distance
from core.evaluation.report import Measures
from core.latent.codec import LatentCodec, LatentScaling
from core.models.unet import build_unet
from core.models.vae import build_vae
from core.sampling.load import LoadedModel
from core.sampling.request import SampleRequest
from core.sampling.steps import sample
from tests.core.evaluation.conftest import Judged, toy_set
from tests.models import brief_judges

TOY = toy_set()
Planted = tuple[np.ndarray, np.ndarray]


def tiny_model(fingerprint: str = TOY.fingerprint) -> LoadedModel:
    torch.manual_seed(0)
    vae = VaeSection(latent_channels=2, block_out_channels=(4, 8), norm_num_groups=2)
    unet = UnetSettings(block_out_channels=(8,), norm_num_groups=4)
    settings = Settings(vae=vae, unet=unet).model_copy(
        update={"data": Settings().data.model_copy(update={"image_size": 8})}
    )
    return LoadedModel(
        unet=build_unet(unet, latent_channels=2, latent_size=4, num_classes=3).eval(),
        codec=LatentCodec(
            vae=build_vae(vae, channels=1, image_size=8).eval(),
            scaling=LatentScaling(shift=(0.0, 0.0), scale=(1.0, 1.0)),
        ),
        schedule=build_schedule(DiffusionSettings()),
        settings=settings,
        class_names=TOY.class_names,
        image_set_fingerprint=fingerprint,
        run_id="20260101-000000-unet-abcd",
        step=40,
        device=torch.device("cpu"),
    )


@pytest.fixture(scope="module")
def toy_cache(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy-cache")
    with brief_judges(min_steps=30, kept=session_folder):
        load_or_train(TOY, cache_dir=folder, epochs=1, device="cpu")
    return folder


def as_they_are(images: np.ndarray, labels: np.ndarray) -> Planted:
    return images, labels


def blurred(images: np.ndarray, labels: np.ndarray) -> Planted:
    sigma = images.shape[1] / 32  # one pixel of MNIST
    return scipy.ndimage.gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0)).astype(np.uint8), labels


def without_a_class(images: np.ndarray, labels: np.ndarray) -> Planted:
    """A model that was asked for all classes, and never draws a nine."""
    others = np.flatnonzero(labels != 9)
    return images[np.where(labels == 9, others[np.arange(len(labels)) % len(others)], np.arange(len(labels)))], labels


def with_shuffled_labels(images: np.ndarray, labels: np.ndarray) -> Planted:
    return images, np.random.default_rng(0).permutation(labels)


def one_picture_a_class(images: np.ndarray, labels: np.ndarray) -> Planted:
    firsts = np.array([np.flatnonzero(labels == label)[0] for label in range(10)])
    return images[firsts[labels]], labels


def alarms(found: Measures) -> set[str]:
    """The measures that are far from what held-out real pictures get."""
    assert found.real_precision is not None
    assert found.real_recall is not None
    raised = {
        "class accuracy": found.class_accuracy_high < 0.9,
        "FD-judge": found.fd_judge > 2.0 * found.fd_floor,
        "precision": found.precision < 0.75 * found.real_precision,
        "recall": found.recall < 0.75 * found.real_recall,
        "copy ratio": found.copy_ratio < 0.5,
    }
    return {name for name, is_raised in raised.items() if is_raised}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "caught_by"),
    [
        (as_they_are, set()),
        (blurred, {"FD-judge"}),
        (without_a_class, {"FD-judge"}),
        (with_shuffled_labels, {"class accuracy"}),
        (one_picture_a_class, {"FD-judge", "recall"}),
    ],
)
def test_each_planted_fault_is_caught(
    judged: Judged, fault: Callable[[np.ndarray, np.ndarray], Planted], caught_by: set[str]
) -> None:
    images, labels = fault(judged.unseen.images, judged.unseen.labels)
    found = measure([images], labels, judge=judged.judge, image_set=judged.image_set, neighbours=3, seed=0)
    assert alarms(found) >= caught_by
    assert caught_by or not alarms(found)


def test_copies_of_training_pictures_are_caught(judged: Judged) -> None:
    train = judged.image_set.train
    count = len(judged.unseen.labels)
    found = measure(
        [np.array(train.images[:count])],
        train.labels[:count],
        judge=judged.judge,
        image_set=judged.image_set,
        neighbours=3,
        seed=0,
    )
    assert alarms(found) == {"copy ratio"}
    assert found.copy_ratio < 0.05


def test_shuffled_labels_are_invisible_to_the_frechet_distance(judged: Judged) -> None:
    unseen = judged.unseen
    plain, shuffled = (
        measure([images], labels, judge=judged.judge, image_set=judged.image_set, neighbours=3, seed=0)
        for images, labels in (
            as_they_are(unseen.images, unseen.labels),
            with_shuffled_labels(*unseen.__dict__.values()),
        )
    )
    assert plain.fd_judge == shuffled.fd_judge
    assert shuffled.class_accuracy < 0.2


def test_the_floor_is_that_of_heldout_pictures_against_the_training_split(judged: Judged) -> None:
    drawn = judged.image_set.heldout
    found = measure([drawn.images], drawn.labels, judge=judged.judge, image_set=judged.image_set, neighbours=3, seed=0)
    train, heldout = (split_features(judged.judge, judged.image_set, name) for name in ("train", "heldout"))
    assert found.fd_floor_count == len(heldout)
    assert found.fd_floor == pytest.approx(frechet_distance(train, heldout), rel=1e-6)


def test_the_distance_of_enough_images_has_an_interval_and_is_extrapolated(judged: Judged) -> None:
    real = judged.image_set.train
    images, labels = real.images[:600], real.labels[:600]
    found = measure([images], labels, judge=judged.judge, image_set=judged.image_set, neighbours=3, seed=0)
    assert found.fd_low is not None and found.fd_high is not None and found.fd_infinite is not None
    assert found.fd_low < found.fd_judge < found.fd_high
    assert found.fd_infinite.value < found.fd_judge
    assert found.precision_low is not None and found.precision_low < found.precision


def test_measures_do_not_depend_on_how_the_pictures_are_cut_into_batches(judged: Judged) -> None:
    images, labels = judged.unseen.images[:90], judged.unseen.labels[:90]
    first, second = (
        measure(parts, labels, judge=judged.judge, image_set=judged.image_set, neighbours=3, seed=0)
        for parts in ([images], np.array_split(images, 4))
    )
    assert first.class_accuracy == second.class_accuracy
    assert first.fd_judge == pytest.approx(second.fd_judge, rel=1e-3)


def test_pictures_without_a_label_are_refused(judged: Judged) -> None:
    with pytest.raises(UsageError, match="9 images but 8 labels"):
        measure(
            [judged.unseen.images[:9]],
            judged.unseen.labels[:8],
            judge=judged.judge,
            image_set=judged.image_set,
            neighbours=3,
            seed=0,
        )


@pytest.mark.slow
def test_a_report_says_all_that_a_reader_needs_to_believe_it(toy_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float]] = []
    pictures: list[np.ndarray] = []

    def draw(model: LoadedModel, request: SampleRequest) -> np.ndarray:
        pictures.append(sample(model, request))
        return pictures[-1]

    monkeypatch.setattr(evaluate_module, "sample", draw)
    report = evaluate(
        tiny_model(),
        TOY,
        num_samples=40,
        sampling=SamplingSettings(num_inference_steps=2, guidance_scale=1.0, batch_size=16),
        evaluation=EvaluationSettings(judge_epochs=1, second_judge=True),
        cache_dir=toy_cache,
        seed=3,
        progress=lambda text, fraction: seen.append((text, fraction)),
    )
    judge = load_or_train(TOY, cache_dir=toy_cache, epochs=1, device="cpu")
    assert (report.num_samples, report.sampler, report.num_inference_steps) == (40, "unipc", 2)
    assert (report.guidance_scale, report.seed, report.step) == (1.0, 3, 40)
    assert (report.judge_hash, report.judge_accuracy) == (judge.hash, judge.accuracy)
    assert [score.count for score in report.per_class] == [14, 13, 13]
    assert sum(score.correct for score in report.per_class) == round(report.class_accuracy * 40)
    assert report.class_accuracy_low <= report.class_accuracy <= report.class_accuracy_high
    assert (report.fd_floor_count, report.fd_reference_count, report.precision_recall_count) == (30, 60, 40)
    assert report.fd_infinite is None is report.fd_low  # 40 images do not give an interval
    assert report.kid is not None and report.kid.low is not None and report.kid.low < report.kid.value
    assert report.confusion is not None and [sum(row) for row in report.confusion] == [14, 13, 13]
    assert [row[k] for k, row in enumerate(report.confusion)] == [score.correct for score in report.per_class]
    assert all(score.fd is not None and score.fd_floor is not None for score in report.per_class)
    second = load_or_train(TOY, cache_dir=toy_cache, epochs=1, device="cpu", seed=1, architecture=2)
    labels = asked_labels("proportions", TOY.train.labels, 3, 40, 3)
    right = second.classify(np.concatenate(pictures)).argmax(axis=1) == labels
    assert report.second_judge is not None
    assert report.second_judge.class_accuracy == pytest.approx(right.mean())
    assert report.second_judge.judge_hash == second.hash != judge.hash
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions)
    assert any("Generating images, 40 of 40" in text for text, _ in seen)


@pytest.mark.parametrize("choice", LABEL_CHOICES)
def test_classes_are_asked_as_often_as_in_the_training_data_or_balanced(
    toy_cache: Path, monkeypatch: pytest.MonkeyPatch, choice: LabelChoice
) -> None:
    asked: list[tuple[int, tuple[int, ...]]] = []

    def draw(model: LoadedModel, request: SampleRequest) -> np.ndarray:
        asked.append((request.first_index, request.labels))
        return sample(model, request)

    monkeypatch.setattr(evaluate_module, "sample", draw)
    report = evaluate(
        tiny_model(),
        TOY,
        num_samples=10,
        sampling=SamplingSettings(num_inference_steps=1, batch_size=4),
        evaluation=EvaluationSettings(judge_epochs=1, labels=choice),
        cache_dir=toy_cache,
        seed=0,
    )
    labels = asked_labels(choice, TOY.train.labels, 3, 10, 0)
    assert [(first, len(part)) for first, part in asked] == [(0, 4), (4, 4), (8, 2)]
    assert [label for _, part in asked for label in part] == labels.tolist()
    assert (report.labels, report.is_old) == (choice, False)


def test_a_seed_gives_the_same_report_whatever_the_batch_size(toy_cache: Path) -> None:
    first, second = (
        evaluate(
            tiny_model(),
            TOY,
            num_samples=20,
            sampling=SamplingSettings(num_inference_steps=2, batch_size=batch_size),
            evaluation=EvaluationSettings(judge_epochs=1),
            cache_dir=toy_cache,
            seed=0,
        )
        for batch_size in (20, 7)
    )
    assert first.class_accuracy == second.class_accuracy
    assert first.fd_judge == pytest.approx(second.fd_judge, rel=1e-2)


@pytest.mark.parametrize(
    ("fingerprint", "samples", "neighbours", "sentence"),
    [
        ("f" * 64, 20, 3, "was trained on other images"),
        (TOY.fingerprint, 12, 12, "needs more than 12 images, got 12"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_anything_is_trained(
    tmp_path: Path, fingerprint: str, samples: int, neighbours: int, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        evaluate(
            tiny_model(fingerprint),
            TOY,
            num_samples=samples,
            sampling=SamplingSettings(num_inference_steps=2),
            evaluation=EvaluationSettings(judge_epochs=1, recall_neighbours=neighbours),
            cache_dir=tmp_path,
            seed=0,
        )
    assert list(tmp_path.iterdir()) == []
