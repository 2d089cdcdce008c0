from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import core.evaluation.judge as module
from core.data.arrays import ImageSet
from core.errors import NonFiniteError
from core.evaluation.judge import (
    Judge,
    JudgeNetwork,
    SecondNetwork,
    load_or_train,
    shift_images,
    split_features,
    train_judge,
)
from core.evaluation.judge_facts import JudgeRecipe, judge_folder
from tests.core.evaluation.conftest import Judged, toy_set
from tests.models import brief_judges

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TOY = toy_set()


@pytest.fixture
def trainings() -> Iterator[list[int]]:
    """Every training really happens, with three steps; the list has one entry each."""
    with brief_judges(min_steps=3) as done:
        yield done


def judge_of(cache_dir: Path, image_set: ImageSet = TOY, *, epochs: int = 1, seed: int = 0) -> Judge:
    return load_or_train(image_set, cache_dir=cache_dir, epochs=epochs, seed=seed, device="cpu")


def test_a_brief_judge_of_real_pictures_is_right_on_most_heldout_ones(judged: Judged) -> None:
    assert judged.judge.accuracy > 0.96
    assert judged.judge.heldout_count == len(judged.image_set.heldout.labels)


def test_accuracy_is_the_share_of_heldout_pictures_it_classifies_right(judged: Judged) -> None:
    heldout = judged.image_set.heldout
    guesses = judged.judge.classify(heldout.images).argmax(axis=1)
    assert judged.judge.accuracy == pytest.approx(float(np.mean(guesses == heldout.labels)))


def test_probabilities_sum_to_one_and_features_have_128_dimensions() -> None:
    judge = train_judge(TOY, JudgeRecipe(seed=0, epochs=1, min_steps=3), device=CPU)
    features, probabilities = judge.look(TOY.heldout.images)
    assert features.shape == (len(TOY.heldout.labels), 128)
    assert probabilities.shape == (len(TOY.heldout.labels), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_an_opinion_does_not_depend_on_the_batch() -> None:
    judge = train_judge(TOY, JudgeRecipe(seed=0, epochs=1, min_steps=3), device=CPU)
    whole, _ = judge.look(TOY.train.images)
    parts, _ = judge.look(TOY.train.images, batch_size=7)
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)


def test_no_pictures_have_no_features() -> None:
    judge = train_judge(TOY, JudgeRecipe(seed=0, epochs=1, min_steps=1), device=CPU)
    features, probabilities = judge.look(TOY.train.images[:0])
    assert features.shape == (0, 128)
    assert probabilities.shape == (0, 3)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    hashes = [train_judge(TOY, JudgeRecipe(seed=seed, epochs=1, min_steps=4), device=CPU).hash for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_number_of_threads_changes_no_weights_and_is_left_alone() -> None:
    before = torch.get_num_threads()
    hashes = set()
    try:
        torch.set_num_threads(1)
        hashes.add(train_judge(TOY, JudgeRecipe(seed=0, epochs=1, min_steps=3), device=CPU).hash)
        torch.set_num_threads(2)
        hashes.add(train_judge(TOY, JudgeRecipe(seed=0, epochs=1, min_steps=3), device=CPU).hash)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert len(hashes) == 1


def test_training_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_judge(TOY, JudgeRecipe(seed=0, epochs=1, min_steps=1), device=CPU)
    torch.testing.assert_close(torch.rand(3), expected)


def test_a_judge_that_diverges_is_refused() -> None:
    recipe = JudgeRecipe(seed=0, epochs=1, min_steps=30, learning_rate=1e18)
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        train_judge(TOY, recipe, device=CPU)


def test_a_judge_that_diverges_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wildly(image_set: ImageSet, recipe: JudgeRecipe, **others: Any) -> Judge:
        return train_judge(image_set, replace(recipe, min_steps=30, learning_rate=1e18), **others)

    monkeypatch.setattr(module, "train_judge", wildly)
    with pytest.raises(NonFiniteError):
        judge_of(tmp_path)
    assert [path for path in (tmp_path / "judges").iterdir() if path.is_dir()] == []


def test_training_reports_its_progress_up_to_the_end() -> None:
    seen: list[float] = []
    recipe = JudgeRecipe(seed=0, epochs=1, min_steps=12)
    train_judge(TOY, recipe, device=CPU, progress=lambda _, fraction: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("kind", [JudgeNetwork, SecondNetwork])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 16, 24, 32, 40, 64, 128, 200])
def test_the_network_takes_every_size_and_colour(kind: type[JudgeNetwork], size: int, channels: int) -> None:
    network = kind(channels=channels, image_size=size, num_classes=5).eval()
    features, logits = network(torch.zeros(2, channels, size, size))
    assert features.shape == (2, 128)
    assert logits.shape == (2, 5)


def test_a_second_judge_of_another_shape_lies_beside_the_first_and_is_read_again(tmp_path: Path) -> None:
    with brief_judges(min_steps=30) as done:
        first, second = (
            load_or_train(TOY, cache_dir=tmp_path, epochs=1, device="cpu", seed=seed, architecture=architecture)
            for seed, architecture in ((0, 1), (1, 2))
        )
        again = load_or_train(TOY, cache_dir=tmp_path, epochs=1, device="cpu", seed=1, architecture=2)
    assert len(done) == 2
    assert first.folder != second.folder == again.folder
    assert again.hash == second.hash != first.hash
    assert set(again.network.state_dict()) != set(first.network.state_dict())
    np.testing.assert_array_equal(again.classify(TOY.heldout.images), second.classify(TOY.heldout.images))


def test_the_place_of_a_first_judge_is_what_it_was(tmp_path: Path) -> None:
    folder = judge_folder(tmp_path, "cdf79f960121" + "0" * 52, JudgeRecipe(seed=0, epochs=3))
    assert folder.name == "cdf79f960121-89ae4339f379"  # as version 0.2.0 named it


def test_the_learning_rate_rises_to_its_peak_and_ends_at_zero() -> None:
    recipe = JudgeRecipe(seed=0, epochs=3)
    assert recipe.learning_rate_at(0, 100) == 0.0
    assert recipe.learning_rate_at(20, 100) == pytest.approx(recipe.learning_rate)
    assert recipe.learning_rate_at(100, 100) == 0.0


@pytest.mark.parametrize(("count", "batch_size", "steps"), [(60000, 256, 703), (1600, 64, 300), (20, 20, 300)])
def test_small_sets_take_small_batches_and_enough_steps(count: int, batch_size: int, steps: int) -> None:
    recipe = JudgeRecipe(seed=0, epochs=3)
    assert recipe.batch_for(count) == batch_size
    assert recipe.steps_for(count) == steps


def test_a_shift_moves_a_picture_and_repeats_its_border() -> None:
    images = torch.arange(36.0).view(1, 1, 6, 6).expand(64, 1, 6, 6)
    shifted = shift_images(images, 2, torch.Generator().manual_seed(0))
    rows = torch.arange(6)
    expected = {
        (down, right): images[0, 0][(rows + down).clamp(0, 5)][:, (rows + right).clamp(0, 5)]
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    found = {key for key, picture in expected.items() if (shifted[:, 0] == picture).flatten(1).all(dim=1).any()}
    assert all(any(torch.equal(picture[0], wanted) for wanted in expected.values()) for picture in shifted)
    assert len(found) > 15


def test_a_judge_is_trained_once_and_then_found_in_the_cache(tmp_path: Path, trainings: list[int]) -> None:
    first, second = judge_of(tmp_path), judge_of(tmp_path)
    assert trainings == [0]
    assert (first.hash, first.accuracy, first.folder) == (second.hash, second.accuracy, second.folder)
    np.testing.assert_array_equal(first.classify(TOY.heldout.images), second.classify(TOY.heldout.images))


def test_the_cache_says_what_a_reader_needs_to_know(tmp_path: Path, trainings: list[int]) -> None:
    judge = judge_of(tmp_path, epochs=2, seed=7)
    assert judge.folder is not None
    assert judge.folder.parent == tmp_path / "judges"
    assert judge.folder.name.startswith(TOY.fingerprint[:12] + "-")
    facts = json.loads((judge.folder / "judge.json").read_text())
    expected = {"accuracy": judge.accuracy, "seed": 7, "sha256": judge.hash, "architecture_version": 1}
    assert facts.items() >= expected.items()


@pytest.mark.parametrize("change", [{"seed": 1}, {"epochs": 2}, {"image_set": toy_set(seed=9)}])
def test_another_seed_length_or_data_set_has_another_judge(
    tmp_path: Path, trainings: list[int], change: dict[str, Any]
) -> None:
    first = judge_of(tmp_path)
    second = judge_of(tmp_path, **change)
    assert len(trainings) == 2
    assert first.folder != second.folder


def flip_a_bit(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def spoil_facts(folder: Path) -> None:
    (folder / "judge.json").write_text("{")


def exchange_fingerprint(folder: Path) -> None:
    facts = json.loads((folder / "judge.json").read_text())
    (folder / "judge.json").write_text(json.dumps({**facts, "fingerprint": "f" * 64}))


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, remove_weights, spoil_facts, exchange_fingerprint])
def test_a_damaged_judge_is_trained_again(tmp_path: Path, trainings: list[int], damage: Callable[[Path], None]) -> None:
    first = judge_of(tmp_path)
    assert first.folder is not None
    damage(first.folder)
    second, third = judge_of(tmp_path), judge_of(tmp_path)
    assert len(trainings) == 2
    assert first.hash == second.hash == third.hash
    assert [path.name for path in first.folder.parent.iterdir() if path.is_dir()] == [first.folder.name]


def test_of_two_that_want_one_judge_one_trains_and_the_other_waits(tmp_path: Path, trainings: list[int]) -> None:
    start = threading.Barrier(3)
    found: list[Judge] = []

    def want() -> None:
        start.wait()
        found.append(judge_of(tmp_path))

    threads = [threading.Thread(target=want) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert trainings == [0]
    assert len({judge.hash for judge in found}) == 1
    assert len(found) == 3


def test_a_cache_that_cannot_be_written_costs_the_keeping_only(tmp_path: Path, trainings: list[int]) -> None:
    (tmp_path / "judges").write_text("a file where the folder should be")
    judge = judge_of(tmp_path)
    assert judge.folder is None
    assert split_features(judge, TOY, "train").shape == (60, 128)


def test_features_of_a_split_are_kept_beside_the_judge(
    tmp_path: Path, trainings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = judge_of(tmp_path)
    first = split_features(judge, TOY, "train")
    torch.testing.assert_close(first, judge.features(TOY.train.images))
    monkeypatch.setattr(Judge, "look", lambda *_, **__: pytest.fail("looked again"))
    torch.testing.assert_close(split_features(judge, TOY, "train"), first, rtol=0, atol=0)


def test_altered_features_are_noticed_and_made_again(tmp_path: Path, trainings: list[int]) -> None:
    judge = judge_of(tmp_path)
    assert judge.folder is not None
    first = split_features(judge, TOY, "heldout")
    (path,) = judge.folder.glob("heldout-features-*")
    data = bytearray(path.read_bytes())
    data[-2] ^= 64
    path.write_bytes(bytes(data))
    torch.testing.assert_close(split_features(judge, TOY, "heldout"), first, rtol=0, atol=0)
