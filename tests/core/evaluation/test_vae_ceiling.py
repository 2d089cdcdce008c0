from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from core.config.schema import EvaluationSettings, Settings, VaeSettings
from core.data.arrays import ImageSet
from core.data.batches import images_to_model
from core.errors import CheckpointError, UsageError
from core.evaluation import vae_ceiling as module
from core.evaluation.ceiling_results import (
    Ceiling,
    ProbeScore,
    ceiling_for,
    ceiling_row,
    ceiling_rows,
    in_words,
    keep,
    list_ceilings,
    subject_of,
)
from core.evaluation.labels import asked_labels
from core.evaluation.measures import measure
from core.evaluation.report import report_rows
from core.evaluation.vae_ceiling import open_codec, probe_scores, reconstruct, vae_ceiling
from core.latent.codec import LatentCodec, LatentScaling
from core.latent.inspection.opened_vae import LatentStudy
from core.latent.inspection.quality import look_at
from core.latent.inspection.vae_source import LatentSubject
from core.models.vae import build_vae
from core.runs.checkpoints import network_files, save_checkpoint
from core.runs.run import Run
from core.runs.store import RunStore
from tests.core.evaluation.conftest import toy_set
from tests.core.evaluation.test_report import REPORT
from tests.models import brief_judges

TOY = toy_set(count=90, size=16)
CPU = torch.device("cpu")
PROBE = ProbeScore(num_train=4000, num_test=4000, num_inputs=256, correct=3600, accuracy=0.9, low=0.89, high=0.91)
CEILING = Ceiling(
    key="k" * 16,
    created_at="2026-01-01T00:00:00.000+00:00",
    run_id="20260101-000000-vae-abcd",
    step=500,
    vae_hash="c" * 64,
    data_set="mnist",
    fingerprint="a" * 64,
    num_pictures=10_000,
    num_classes=10,
    judge_hash="b" * 64,
    judge_accuracy=0.9948,
    judge_epochs=3,
    class_accuracy=0.992,
    class_accuracy_low=0.99,
    class_accuracy_high=0.994,
    real_accuracy=0.9948,
    fd_judge=1.1,
    fd_reference_count=60_000,
    fd_floor=0.35,
    fd_floor_count=10_000,
    precision=0.91,
    recall=0.9,
    neighbours=3,
    precision_recall_count=10_000,
    psnr=29.0,
    psnr_error=0.05,
    ssim=0.98,
    ssim_error=0.001,
    probe_samples=PROBE,
    probe_means=PROBE,
    probe_pixels=PROBE,
    elapsed_s=30.0,
    device="CPU, 1 thread",
    labels="proportions",
    num_asked=10_000,
)


class Copying:
    """A VAE whose latents are the pictures: posterior mean = picture, and noise of the given size around it."""

    config = SimpleNamespace(in_channels=1, latent_channels=1)

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def encode(self, images: torch.Tensor) -> Any:
        posterior = SimpleNamespace(mean=images, std=torch.full_like(images, self.noise))
        return SimpleNamespace(latent_dist=posterior)

    def decode(self, latents: torch.Tensor) -> Any:
        return SimpleNamespace(sample=latents)


def codec(noise: float = 0.0) -> LatentCodec:
    return LatentCodec(vae=Copying(noise), scaling=LatentScaling(shift=(0.0,), scale=(1.0,)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cache(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with brief_judges(min_steps=30, kept=session_folder):
        yield tmp_path_factory.mktemp("cache")


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def vae_run(store: RunStore, steps: tuple[int, ...] = (10,)) -> Run:
    run = store.create("vae", Settings())
    sizes = VaeSettings(latent_channels=2, block_out_channels=(4, 8), norm_num_groups=2)
    for step in steps:
        torch.manual_seed(step)
        network = build_vae(sizes, channels=1, image_size=16)
        files = network_files("vae_ema", dict(network.config), network.state_dict()) | {"state.json": b"{}"}
        save_checkpoint(run.checkpoints_dir, step, files, keep=9)
    run.data_path.write_text(json.dumps({"fingerprint": TOY.fingerprint, "class_names": list(TOY.class_names)}))
    return run


def unet_run(store: RunStore, parent: Run, vae_hash: str, step: int = 10) -> Run:
    run = store.create("unet", Settings(), parents=(parent.id,))
    run.vae_dir.mkdir()
    facts = {"vae_run": parent.id, "vae_step": step, "sha256": vae_hash, "shift": [0.0], "scale": [1.0]}
    (run.vae_dir / "codec.json").write_text(json.dumps(facts))
    return run


def measured(run: Run, cache: Path, image_set: ImageSet = TOY, **others: Any) -> Ceiling:
    usual = {"num_pictures": 40, "evaluation": EvaluationSettings(judge_epochs=1), "cache_dir": cache, "device": CPU}
    return vae_ceiling(run, image_set, **{**usual, **others})


def test_a_vae_that_changes_nothing_reaches_what_the_real_pictures_reach(store, cache, monkeypatch):
    monkeypatch.setattr(module, "open_codec", lambda run, subject, device: codec())
    found = measured(vae_run(store), cache, num_pictures=1000)
    assert found.num_pictures == 45  # all there are
    assert (found.class_accuracy, found.psnr, found.ssim) == (found.real_accuracy, 100.0, pytest.approx(1.0))
    assert found.fd_judge == pytest.approx(found.fd_floor, rel=1e-3)
    assert found.probe_means == found.probe_pixels == found.probe_samples
    assert found.probe_pixels.accuracy == 1.0  # a bright row a class


def test_a_vae_of_random_weights_loses_the_class_and_it_is_kept_with_the_run(store, cache):
    run = vae_run(store)
    found = measured(run, cache)
    assert found.class_accuracy < 0.7 < found.real_accuracy
    assert found.fd_judge > 10 * found.fd_floor
    assert [path.name for path in (run.folder / "ceiling").iterdir()] == [f"step-00000010-{found.key}.json"]
    assert list_ceilings(run) == [found]


def test_what_is_kept_is_not_measured_again_and_other_counts_are(store, cache, monkeypatch):
    run = vae_run(store)
    first = measured(run, cache)
    with monkeypatch.context() as patch:
        patch.setattr(module, "open_codec", lambda *others: pytest.fail("measured again"))
        assert measured(run, cache) == first
    assert measured(run, cache, num_pictures=30).num_pictures == 30
    assert [each.num_pictures for each in list_ceilings(run)] == [40, 30]


def test_each_checkpoint_has_a_ceiling_of_its_own(store, cache):
    run = vae_run(store, (10, 20))
    found = [measured(run, cache, step=step, num_pictures=20) for step in (10, 20)]
    assert [each.step for each in found] == [10, 20] and found[0].vae_hash != found[1].vae_hash
    assert ceiling_for(run) == found[1] and ceiling_for(run, step=10) == found[0]


def test_a_unet_run_finds_the_ceiling_of_its_vae_by_its_weights(store):
    parent = vae_run(store)
    keep(parent, CEILING)
    same, other = unet_run(store, parent, CEILING.vae_hash), unet_run(store, parent, "d" * 64)
    assert ceiling_for(same) == CEILING and ceiling_for(other) is None
    assert ceiling_for(same, judge_hash="e" * 64) is None
    keep(same, replace(CEILING, run_id=same.id))
    shutil.rmtree(parent.folder)
    assert ceiling_for(same) == replace(CEILING, run_id=same.id)  # it stands alone


def test_ceilings_come_back_as_they_were_written_and_foreign_files_are_left_out(store):
    run = vae_run(store)
    keep(run, CEILING)
    folder = run.folder / "ceiling"
    (folder / "step-00000001-torn.json").write_text("{")
    for name, change in (("kind", {"psnr": "high"}), ("nan", {"fd_judge": 1e999}), ("old", {"format_version": 0})):
        (folder / f"step-00000001-{name}.json").write_text(json.dumps(asdict(CEILING) | change))
    assert list_ceilings(run) == [CEILING]


def test_probes_of_posterior_samples_see_a_collapse_that_those_of_the_means_do_not():
    scores = probe_scores(codec(noise=30.0), TOY, CPU)
    assert scores["means"] == scores["pixels"] and scores["means"].accuracy == 1.0
    assert scores["samples"].high < scores["means"].low
    words = in_words(replace(CEILING, probe_samples=scores["samples"], probe_means=scores["means"]))
    assert "the class drowns in the posterior's own noise" in words


def test_a_reconstruction_keeps_shape_and_kind():
    images, places = TOY.heldout.images[:5], np.arange(5)
    for found in reconstruct(codec(), images, places, CPU):
        assert np.array_equal(found, images)
    of_means, of_samples = reconstruct(codec(noise=0.1), images, places, CPU)
    assert np.array_equal(of_means, images) and not np.array_equal(of_samples, images)
    assert np.array_equal(reconstruct(codec(noise=0.1), images[2:3], places[2:3], CPU)[1], of_samples[2:3])


def test_the_judge_sees_what_a_unet_is_taught(store, cache, monkeypatch):
    def found(noise: float) -> Ceiling:
        monkeypatch.setattr(module, "open_codec", lambda run, subject, device: codec(noise))
        return measured(vae_run(store), cache)

    quiet, loud = found(0.0), found(1.0)
    assert loud.fd_judge > 10 * quiet.fd_judge and loud.class_accuracy < quiet.class_accuracy
    assert (loud.psnr, loud.ssim) == (quiet.psnr, quiet.ssim) == (100.0, pytest.approx(1.0))


@pytest.mark.parametrize("choice", ["proportions", "balanced"])
def test_its_labels_are_those_of_an_evaluation_of_as_many(store, cache, monkeypatch, choice):
    seen = []
    monkeypatch.setattr(module, "open_codec", lambda run, subject, device: codec())
    monkeypatch.setattr(
        module, "measure", lambda batches, labels, **others: seen.append(labels) or measure(batches, labels, **others)
    )
    found = measured(
        vae_run(store), cache, evaluation=EvaluationSettings(judge_epochs=1, labels=choice), num_pictures=20
    )
    wanted = asked_labels(choice, TOY.train.labels, TOY.num_classes, 20, 0)
    assert np.array_equal(np.sort(seen[0]), np.sort(wanted)) and (found.labels, found.num_asked) == (choice, 20)


def test_the_ceiling_of_the_same_number_and_labels_stands_beside_an_evaluation(store):
    run = vae_run(store)
    hash = subject_of(run).vae_hash
    small = replace(CEILING, key="a" * 16, vae_hash=hash, num_pictures=990, num_asked=1000)
    balanced = replace(small, key="b" * 16, labels="balanced")
    old = replace(CEILING, key="c" * 16, vae_hash=hash, num_pictures=50_000, labels=None, num_asked=0)
    for each in (small, balanced, old, replace(CEILING, vae_hash=hash)):
        keep(run, each)
    assert ceiling_for(run, num_pictures=1000, labels="proportions") == small
    assert ceiling_for(run, num_pictures=1000, labels="balanced") == balanced
    assert ceiling_for(run) == replace(CEILING, vae_hash=hash)
    assert "does not compare" in ceiling_row(small, 5000, "proportions")[2]
    assert "does not compare" not in ceiling_row(small, 1000, "proportions")[2]
    assert "measured the old way" in ceiling_row(old, 1000, "proportions")[2]


@torch.no_grad()
def test_psnr_and_ssim_are_those_of_the_latents_page(store, cache):
    run = vae_run(store)
    found = measured(run, cache, num_pictures=1000)
    pictures = {"images": TOY.heldout.images, "labels": np.asarray(TOY.heldout.labels)}
    names = {"class_names": TOY.class_names, "fingerprint": TOY.fingerprint, "vae_hash": found.vae_hash}
    about = {"step": 10, "weights": "ema", **pictures, **names}
    opened = open_codec(run, subject_of(run), CPU)
    posterior = opened.vae.encode(images_to_model(torch.from_numpy(TOY.heldout.images))).latent_dist
    moments = torch.cat([posterior.mean, posterior.logvar], dim=1).numpy()
    subject = LatentSubject(
        run=run, set_name=TOY.name, vae_dir=run.folder, scaling=None, num_heldout=len(moments), **about
    )
    study = LatentStudy(run_id=run.id, title="", codec=opened, key="k", moments=moments, device=CPU, **about)
    seen = look_at(subject, study)
    assert found.num_pictures == len(moments)
    assert (found.psnr, found.ssim) == (pytest.approx(seen.psnr, abs=1e-6), pytest.approx(seen.mean_ssim, abs=1e-6))


@pytest.mark.parametrize(
    ("number", "sentence"), [(19, "20 to 100,000 images, got 19"), (100_001, "images, got 100,001")]
)
def test_a_count_outside_the_bounds_is_refused(store, cache, number, sentence):
    with pytest.raises(UsageError, match=sentence):
        measured(vae_run(store), cache, num_pictures=number)


def test_what_has_no_vae_is_refused_in_a_sentence(store, cache):
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        measured(store.create("vae", Settings()), cache)
    with pytest.raises(CheckpointError, match="has no VAE yet"):
        subject_of(store.create("unet", Settings()))
    with pytest.raises(CheckpointError, match="of step 7"):
        measured(vae_run(store), cache, step=7)
    with pytest.raises(CheckpointError, match="trained on other images"):
        measured(vae_run(store), cache, replace(TOY, fingerprint="f" * 64))


def test_the_table_and_the_words_state_what_they_rest_on():
    rows = {name: (value, note) for name, value, note in ceiling_rows(CEILING)}
    assert rows["class accuracy"] == ("99.20%", "95 % interval 99.00% to 99.40%; untouched 99.48%")
    assert "3,600 of 4,000" in rows["linear probe, samples"][1]
    assert "99.2% of real images keep their class (0.3 points are lost)" in in_words(CEILING)
    assert "as well as the pixels" in in_words(CEILING)


def test_an_evaluation_draws_the_ceiling_only_when_it_is_known():
    assert "VAE ceiling" not in {row[0] for row in report_rows(REPORT)}
    assert ceiling_row(CEILING, REPORT.num_samples, REPORT.labels) in report_rows(REPORT, CEILING)
    assert ceiling_row(CEILING)[1] == "99.20% / 1.1"


def test_what_is_kept_is_read_without_pytorch():
    program = "import sys, core.evaluation.ceiling_results, core.commands.ceiling\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).resolve().parents[3])
