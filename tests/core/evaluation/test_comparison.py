"""Sampler comparisons of tiny real models, end to end: figures, costs, references, and going on after an end."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.comparison import comparison
from core.comparison.comparison import compare, mean_psnr
from core.comparison.comparison_results import (
    CELLS,
    CellResult,
    ComparisonFolder,
    Difference,
    best_of,
    cell_name,
    cheapest_as_good,
    delete_comparison,
    finding,
    list_comparisons,
    on_front,
    pareto_front,
    read_arrays,
    read_comparison,
    results_folder,
    seconds_per_evaluation,
)
from core.comparison.grid import Axis, CellSettings, ComparisonRequest, cost_of
from core.data.arrays import ImageSet, prepare
from core.errors import LabError, RunNotFound, UsageError
from tests.models import Lab, brief_judges, made_once, tiny_settings

pytestmark = pytest.mark.slow

STEPS = 16  # training timesteps: the reference takes as many
VP = {"diffusion.schedule": "linear", "diffusion.prediction_type": "v_prediction"}


class Trained:
    """A tiny U-Net run, its pictures, and a folder for what is found; nothing in the run is changed."""

    def __init__(self, root: Path) -> None:
        self.lab = Lab(root)
        self.run = self.lab.the("unet")
        self.image_set: ImageSet = prepare(self.run.settings.data, data_dir=root / "data", cache_dir=root / "cache")

    def request(self, **changes: Any) -> ComparisonRequest:
        base = CellSettings(sampler="unipc", num_inference_steps=4, guidance_scale=1.5, seed=0, weights="ema", step=16)
        values: dict[str, Any] = {
            "run_id": self.run.id,
            "rows": Axis(setting="sampler", values=("unipc", "euler")),
            "columns": Axis(setting="num_inference_steps", values=(2, 4)),
            "base": base,
            "num_samples": 24,
            "batch_size": 10,
            "judge_epochs": 1,
            **changes,
        }
        return ComparisonRequest(**values)

    def compare(self, request: ComparisonRequest, name: str, **options: Any) -> list[CellResult]:
        return list(
            compare(
                self.run,
                request,
                self.files(name),
                image_set=self.image_set,
                cache_dir=self.lab.folders["cache_dir"],
                device="cpu",
                **options,
            )
        )

    def files(self, name: str) -> ComparisonFolder:
        return results_folder(self.run, name)


@pytest.fixture(scope="module", autouse=True)
def _brief(session_folder: Path) -> Iterator[None]:
    with brief_judges(min_steps=30, kept=session_folder):
        yield


def trained_with(session_folder: Path, own: Path, name: str, **changes: object) -> Trained:
    """A copy, in `own`, of what the first worker that asked has trained."""
    settings = tiny_settings(**{"diffusion.num_train_timesteps": STEPS, "train_unet.steps": 16, **changes})
    shared = made_once(session_folder / f"comparison-{name}", lambda folder: Lab(folder).train_both(settings))
    return Trained(Path(shutil.copytree(shared, own / name)))


@pytest.fixture(scope="module")
def flow(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained_with(session_folder, tmp_path_factory.mktemp("comparison"), "flow")


@pytest.fixture(scope="module")
def vp(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained_with(session_folder, tmp_path_factory.mktemp("comparison"), "vp", **VP)


@pytest.fixture
def named(request: pytest.FixtureRequest) -> str:
    """An id that no other test uses."""
    return hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]


def without_times(result: CellResult) -> CellResult:
    return replace(result, seconds=0.0, created_at="")


def test_every_cell_is_drawn_measured_and_kept(flow: Trained, named: str) -> None:
    results = flow.compare(flow.request(), named)
    assert len(results) == 4
    kept = read_comparison(flow.run, named)
    assert kept.is_done
    assert {index: kept.results[index] for index in range(4)} == {each.index: each for each in results}
    for each in results:
        assert each.num_pictures == 24
        assert each.seconds > 0
        assert 0 <= each.class_accuracy_low <= each.class_accuracy <= each.class_accuracy_high <= 1
        assert each.fd_judge > 0
        assert 0 <= each.recall <= 1
        assert each.verdict in ("better", "as good", "worse", "cannot tell")
    arrays = read_arrays(kept, 0)
    assert arrays is not None
    assert arrays["pictures"].shape == (24, 16, 16, 1)
    assert arrays["features"].shape == (24, 128)
    assert arrays["features"].dtype == np.float16
    assert arrays["labels"].tolist() == [index % 10 for index in range(24)]
    assert kept.facts is not None
    assert kept.facts.fd_floor > 0
    assert not list((kept.folder / "parts").iterdir())


@pytest.mark.parametrize(
    "more",
    [{}, {"guidance_scale": 4.0, "guidance_rescale": 0.7, "guidance_interval": (0.2, 0.7)}, {"whole_timesteps": True}],
)
def test_every_cell_has_the_pictures_that_sampling_alone_gives(flow: Trained, named: str, more: Any) -> None:
    from core.sampling.load import load_model
    from core.sampling.request import SampleRequest
    from core.sampling.steps import sample

    plain = flow.request(with_reference=False)
    flow.compare(replace(plain, base=replace(plain.base, **more)), named)
    model = load_model(flow.run, device="cpu")
    labels = tuple(index % 10 for index in range(24))
    asked = {"sampler": "euler", "num_inference_steps": 4, "guidance_scale": 1.5, "seed": 0, "batch_size": 10, **more}
    expected = sample(model, SampleRequest(labels=labels, **asked))
    found = read_arrays(read_comparison(flow.run, named), 3)
    assert found is not None
    assert np.array_equal(found["pictures"], expected)


@pytest.mark.parametrize(
    ("guidance", "passes"), [(1.0, {"euler": 4, "unipc": 4, "heun": 7}), (1.5, {"euler": 8, "unipc": 8, "heun": 14})]
)
def test_evaluations_are_the_passes_that_were_made(
    flow: Trained, named: str, guidance: float, passes: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = flow.request(
        rows=Axis(setting="sampler", values=tuple(passes)),
        columns=Axis(setting="guidance_scale", values=(guidance,)),
        with_reference=False,
    )
    rows: list[int] = []
    load = comparison.load_model

    def counting(*arguments: Any, **options: Any) -> Any:
        model = load(*arguments, **options)
        forward = model.unet.forward
        model.unet.forward = lambda inputs, *rest, **more: rows.append(len(inputs)) or forward(inputs, *rest, **more)
        return model

    monkeypatch.setattr(comparison, "load_model", counting)
    results = flow.compare(asked, named)
    assert {each.settings.sampler: each.evaluations for each in results} == passes
    warm_up = 10 if guidance == 1.0 and asked.base.guidance_scale == 1.0 else 20
    assert sum(rows) - warm_up == 24 * sum(passes.values()) == cost_of(asked, flow.run.settings.diffusion).evaluations


def test_a_flow_comparison_has_one_reference_and_cells_are_measured_against_it(flow: Trained, named: str) -> None:
    asked = flow.request(columns=Axis(setting="num_inference_steps", values=(2, STEPS)))
    results = {(each.settings.sampler, each.settings.num_inference_steps): each for each in flow.compare(asked, named)}
    found = read_comparison(flow.run, named)
    assert found.reference is not None
    assert found.reference.settings.sampler == "euler"
    assert found.reference.evaluations == 2 * STEPS
    assert found.reference_words == "16-step Euler sampling"
    assert not (found.folder / "path.json").exists()
    itself = results["euler", STEPS]  # the very reference once more
    assert itself.fd_difference == Difference(value=0.0, low=0.0, high=0.0)
    assert itself.agreement == 1.0
    assert itself.psnr_db == pytest.approx(100.0)
    coarse = results["euler", 2]
    assert coarse.psnr_db is not None
    assert coarse.psnr_db < 60
    assert coarse.agreement_count == 24


def test_a_vp_comparison_has_an_ancestral_reference_and_a_deterministic_path(vp: Trained, named: str) -> None:
    asked = vp.request(rows=Axis(setting="sampler", values=("ddim", "ddpm")))
    results = {(each.settings.sampler, each.settings.num_inference_steps): each for each in vp.compare(asked, named)}
    found = read_comparison(vp.run, named)
    assert found.reference is not None
    assert found.reference.settings.sampler == "ddpm"
    assert (found.folder / "path.npz").exists()
    assert results["ddim", 4].agreement is not None
    assert results["ddpm", 4].agreement is None
    assert results["ddpm", 4].psnr_db is None
    assert results["ddim", 4].psnr_db > results["ddim", 2].psnr_db  # type: ignore[operator]


def test_cells_of_another_guidance_seed_or_checkpoint_have_no_path_to_agree_with(flow: Trained, named: str) -> None:
    asked = flow.request(
        rows=Axis(setting="guidance_scale", values=(1.5, 3.0)), columns=Axis(setting="seed", values=(0, 1))
    )
    found = {(each.settings.guidance_scale, each.settings.seed): each for each in flow.compare(asked, named)}
    assert found[1.5, 0].agreement is not None
    assert [found[place].agreement for place in ((3.0, 0), (1.5, 1), (3.0, 1))] == [None] * 3
    assert all(each.fd_difference is not None for each in found.values())


def test_weights_and_checkpoints_are_loaded_as_asked(flow: Trained, named: str) -> None:
    asked = flow.request(
        rows=Axis(setting="weights", values=("ema", "raw")),
        columns=Axis(setting="step", values=(8, 16)),
        with_reference=False,
    )
    results = flow.compare(asked, named)
    pictures = [read_arrays(read_comparison(flow.run, named), index) for index in range(4)]
    assert len({found["pictures"].tobytes() for found in pictures if found}) == 4
    assert [each.settings.step for each in results] == [8, 8, 16, 16]  # the outer loop reloads


def test_refused_cells_are_kept_with_the_reason_and_not_drawn(flow: Trained, named: str) -> None:
    asked = flow.request(
        rows=Axis(setting="sampler", values=("unipc", "deis")),
        columns=Axis(setting="num_inference_steps", values=(2, 4)),
    )
    results = {each.index: each for each in flow.compare(replace(asked, with_reference=False), named)}
    assert "is never better than euler" in results[2].problem
    assert results[2].num_pictures == 0
    assert not (flow.files(named).folder / "cells" / "0002.npz").exists()
    assert len(read_comparison(flow.run, named).drawn) == 2


def test_a_cell_that_diverges_is_kept_with_the_reason(
    flow: Trained, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = comparison.sample_steps

    def diverging(model: Any, part: Any) -> Any:
        for step in original(model, part):
            bad = part.sampler == "euler"
            yield replace(step, next_latents=step.next_latents * torch.nan) if bad else step

    monkeypatch.setattr(comparison, "sample_steps", diverging)
    results = {each.index: each for each in flow.compare(flow.request(with_reference=False), named)}
    assert "diverged" in results[2].problem
    assert not results[0].problem


class Stopping:
    """should_stop that says so after a number of looks."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


WHOLE = hashlib.sha256(b"never stopped").hexdigest()[:20]


@pytest.fixture(scope="module")
def whole(flow: Trained) -> dict[int, Any]:
    """Cells by index of the comparison WHOLE, which was never stopped."""
    return {each.index: without_times(each) for each in flow.compare(flow.request(), WHOLE)}


@pytest.mark.parametrize("looks", [1, 52, 80])
def test_a_stopped_comparison_goes_on_to_the_same_figures_and_draws_nothing_twice(
    flow: Trained, whole: dict[int, Any], named: str, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, int, int]] = []
    original = comparison.sample_steps

    def noting(model: Any, part: Any) -> Any:
        yield from original(model, part)
        if len(part.labels) < 24 and part.batch_size == 10:
            drawn.append((part.sampler, part.num_inference_steps, part.first_index))

    monkeypatch.setattr(comparison, "sample_steps", noting)
    first = flow.compare(flow.request(), named, should_stop=Stopping(looks))
    assert len(first) < 4
    second = flow.compare(flow.request(), named)
    assert {each.index: without_times(each) for each in second} == whole
    assert len(drawn) == len(set(drawn)) == 3 * 5
    for index in range(4):
        one = read_arrays(read_comparison(flow.run, named), index)
        other = read_arrays(read_comparison(flow.run, WHOLE), index)
        assert one is not None
        assert other is not None
        assert np.array_equal(one["pictures"], other["pictures"])
        assert np.array_equal(one["features"], other["features"])


def test_what_was_finished_before_a_failure_stays(flow: Trained, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = comparison.sample_steps

    def failing(model: Any, part: Any) -> Any:
        if part.sampler == "unipc" and part.num_inference_steps == 4:
            raise RuntimeError("planted")
        yield from original(model, part)

    monkeypatch.setattr(comparison, "sample_steps", failing)
    with pytest.raises(RuntimeError, match="planted"):
        flow.compare(flow.request(), named)
    kept = read_comparison(flow.run, named)
    assert sorted(kept.results) == [0, 2, 3]
    assert kept.reference is not None
    monkeypatch.setattr(comparison, "sample_steps", original)
    flow.compare(flow.request(), named)
    again = read_comparison(flow.run, named)
    assert [again.results[index] for index in (0, 2, 3)] == [kept.results[index] for index in (0, 2, 3)]
    assert again.is_done


@pytest.mark.parametrize("damage", ["torn json", "torn arrays", "other settings"])
def test_a_damaged_cell_is_drawn_again(flow: Trained, named: str, damage: str) -> None:
    asked = flow.request(with_reference=False)
    flow.compare(asked, named)
    path = flow.files(named).folder / f"{cell_name(1)}.json"
    before = read_comparison(flow.run, named).results[1]
    if damage == "torn json":
        path.write_text(path.read_text()[:40])
    elif damage == "torn arrays":
        path.with_suffix(".npz").write_bytes(b"PK\x03\x04 torn")
    else:
        values = json.loads(path.read_text())
        values["settings"]["seed"] = 9
        path.write_text(json.dumps(values))
    flow.compare(asked, named)
    assert without_times(read_comparison(flow.run, named).results[1]) == without_times(before)
    assert read_arrays(read_comparison(flow.run, named), 1) is not None


def test_another_request_does_not_take_over_a_folder(flow: Trained, named: str) -> None:
    asked = flow.request(with_reference=False, columns=Axis(setting="num_inference_steps", values=(2,)))
    flow.compare(asked, named)
    with pytest.raises(LabError, match="another comparison"):
        flow.compare(replace(asked, num_samples=30), named)


def test_other_pictures_than_the_run_was_trained_on_are_refused(flow: Trained, named: str) -> None:
    other = replace(flow.image_set, fingerprint="0" * 64)
    with pytest.raises(UsageError, match="was trained on other images"):
        list(
            compare(
                flow.run,
                flow.request(),
                flow.files(named),
                image_set=other,
                cache_dir=flow.lab.folders["cache_dir"],
                device="cpu",
            )
        )


def test_a_checkpoint_that_is_gone_refuses_its_cells_only(flow: Trained, named: str) -> None:
    asked = flow.request(columns=Axis(setting="step", values=(3, 16)), with_reference=False)
    results = {(each.settings.sampler, each.settings.step): each for each in flow.compare(asked, named)}
    assert "no checkpoint of step 3" in results["unipc", 3].problem
    assert not results["unipc", 16].problem


def test_progress_counts_every_pass_and_ends_at_the_whole(flow: Trained, named: str) -> None:
    told: list[tuple[str, int, int]] = []
    flow.compare(flow.request(), named, progress=lambda *words: told.append(words))
    total = cost_of(flow.request(), flow.run.settings.diffusion).evaluations
    assert {each[2] for each in told} == {total}
    assert [each[1] for each in told] == sorted(each[1] for each in told)
    assert total - told[-1][1] <= 2 * 10  # but for the last batch's last pass
    assert any("reference" in each[0] for each in told)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format_version": 1}', '{"rows": {"setting": "../../x"}}', "\x00", '{"a":' * 5000]
)
def test_a_hostile_request_file_is_one_sentence(flow: Trained, named: str, text: str) -> None:
    folder = flow.files(named).folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request.json").write_text(text)
    with pytest.raises(UsageError, match=r"request\.json"):
        read_comparison(flow.run, named)


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "x" * 200])
def test_an_id_that_is_no_folder_name_is_refused(flow: Trained, name: str) -> None:
    with pytest.raises(UsageError, match="is not an id"):
        read_comparison(flow.run, name)


@pytest.mark.parametrize(
    "damage", [{"fd_judge": float("nan")}, {"fd_judge": "low"}, {"settings": 3}, {"fd_difference": [1]}, {"problem": 1}]
)
def test_a_hostile_result_is_no_result(flow: Trained, damage: dict[str, Any]) -> None:
    result = CellResult(index=0, settings=flow.request().base)
    values = CELLS.as_json(result)
    assert CELLS.parse(json.dumps(values).encode(), "0000.json") == result
    with pytest.raises(ValueError, match=r"0000\.json"):
        CELLS.parse(json.dumps({**values, **damage}).encode(), "0000.json")


def test_results_are_listed_and_can_be_deleted(flow: Trained, named: str) -> None:
    flow.compare(flow.request(with_reference=False, columns=Axis(setting="seed", values=(0,))), named)
    assert named in list_comparisons(flow.run)
    delete_comparison(flow.run, named)
    assert named not in list_comparisons(flow.run)
    with pytest.raises(RunNotFound):
        read_comparison(flow.run, named)
    with pytest.raises(RunNotFound):
        delete_comparison(flow.run, named)


# -- what the cells say


def test_psnr_of_known_pictures() -> None:
    black = np.zeros((2, 4, 4, 1), dtype=np.uint8)
    assert mean_psnr(black, black) == pytest.approx(100.0)
    assert mean_psnr(black, black + 255) == pytest.approx(0.0)
    assert mean_psnr(black, black + np.uint8(16)) == pytest.approx(20 * np.log10(255 / 16))


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    points = [(10, 3.0), (20, 1.0), (20, 2.0), (5, 4.0), (40, 1.0), (30, 0.5)]
    assert pareto_front(points) == [3, 0, 1, 5]
    assert pareto_front([]) == []


Planted = Callable[..., CellResult]


@pytest.fixture
def planted(flow: Trained, named: str) -> Planted:
    """Write cells with chosen figures into a folder, without drawing anything."""
    asked = flow.request()
    files = flow.files(named)
    files.open(asked)

    def plant(index: int, evaluations: float, fd: float, verdict: str = "", *, reference: bool = False) -> CellResult:
        values = [(sampler, steps) for sampler in asked.rows.values for steps in asked.columns.values]
        sampler, steps = ("euler", STEPS) if reference else values[index]
        settings = replace(asked.base, sampler=str(sampler), num_inference_steps=int(steps))
        difference = None if reference or not verdict else Difference(value=fd - 0.3, low=-0.05, high=0.07)
        result = CellResult(
            index=index,
            settings=settings,
            num_pictures=24,
            evaluations=evaluations,
            seconds=evaluations * 24 * 0.01,
            fd_judge=fd,
            class_accuracy=0.9,
            fd_difference=difference,
            verdict=verdict,  # type: ignore[arg-type]
        )
        files.write("reference" if reference else cell_name(index), result, {})
        return result

    return plant


def test_the_finding_names_the_cheapest_cell_that_is_as_good(flow: Trained, named: str, planted: Planted) -> None:
    planted(-1, 32, 0.30, reference=True)
    for index, evaluations, fd, verdict in (
        (0, 4, 0.9, "worse"),
        (1, 8, 0.31, "as good"),
        (2, 4, 1.2, "worse"),
        (3, 8, 0.29, "worse"),
    ):
        planted(index, evaluations, fd, verdict)
    found = read_comparison(flow.run, named)
    assert finding(found) == (
        "unipc with 4 steps (8 network evaluations per image) is as good as 16-step Euler sampling: "
        "FD-judge 0.31 against 0.3, difference -0.05 to +0.07 (an interval wider than 95 %, for few images)."
    )
    many = {index: replace(each, num_pictures=512) for index, each in found.results.items()}
    assert "0.3, 95 % interval of the difference -0.05 to +0.07" in finding(replace(found, results=many))
    assert cheapest_as_good(found) == found.results[1]
    assert best_of(found) == found.results[3]
    assert on_front(found) == {0, 3}
    assert seconds_per_evaluation(found) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (["worse", "worse", "worse", "better"], "euler with 4 steps (8 network evaluations per image) is better than"),
        (["worse"] * 4, "No cell reaches 16-step Euler sampling; closest is unipc with 2 steps"),
        (["worse", "cannot tell", "worse", "worse"], "24 images per cell cannot tell unipc with 4 steps"),
        (["worse", "as good", "worse"], "So far: unipc with 4 steps"),
    ],
)
def test_the_finding_says_what_is_not_known(
    flow: Trained, named: str, planted: Planted, verdicts: list[str], words: str
) -> None:
    planted(-1, 32, 0.30, reference=True)
    for index, verdict in enumerate(verdicts):
        planted(index, 4 + 4 * (index % 2), 0.4 + 0.1 * index, verdict)
    assert words in finding(read_comparison(flow.run, named))


def test_the_finding_without_a_reference_names_the_best_and_a_cheaper_one(
    flow: Trained, named: str, planted: Planted
) -> None:
    assert finding(read_comparison(flow.run, named)) == ""
    for index, evaluations, fd in ((0, 4, 0.9), (1, 8, 0.31), (2, 4, 1.2), (3, 8, 0.29)):
        planted(index, evaluations, fd)
    assert finding(read_comparison(flow.run, named)) == (
        "euler with 4 steps (8 network evaluations per image) has the lowest FD-judge, 0.29; "
        "unipc with 2 steps (4 network evaluations per image) reaches 0.9."
    )
