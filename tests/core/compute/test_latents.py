"""What looks into VAEs for the Latents page, with a real tiny VAE: the same numbers wherever they are made, few VAEs
open at a time, politeness, and one sentence for what is damaged."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from core.compute import wire
from core.compute.answers import latent_decoder, latents
from core.config.schema import DiffusionSettings
from core.config.site import SiteSettings
from core.errors import CheckpointError, LabError
from core.latent.inspection.overview import read_overview
from core.latent.inspection.vae_source import WEIGHTS_FILE, AskedVae, LatentSubject, Weights, find_subject
from core.runs.run import Run
from tests.models import Lab


class Listener:
    """Hears everything; `then` is called with each stage."""

    def __init__(self, then: Callable[[str], None] = lambda stage: None) -> None:
        self.stages: list[str] = []
        self.then = then

    def __call__(self, stage: str, fraction: float, look: Any = None) -> None:
        assert 0.0 <= fraction <= 1.0
        self.stages.append(stage)
        self.then(stage)

    def is_cancelled(self) -> bool:
        return False


@pytest.fixture
def site(trained_lab: Path, tmp_path: Path) -> SiteSettings:
    shutil.copytree(trained_lab, tmp_path, dirs_exist_ok=True)
    latents.studies.clear()
    return SiteSettings(**{name: tmp_path / name for name in ("runs", "data", "cache", "models")})


def run_of(site: SiteSettings, kind: str = "vae") -> Run:
    return Lab(site.runs.parent).the(kind)


def subject_of(site: SiteSettings, kind: str = "vae", weights: Weights = "ema", **options: Any) -> LatentSubject:
    return find_subject(run_of(site, kind), weights=weights, data_dir=site.data, cache_dir=site.cache, **options)


@pytest.mark.parametrize("kind", ["vae", "unet"])
def test_the_first_look_is_the_overview_of_the_same_pictures_and_keeps_nothing(site: SiteSettings, kind: str) -> None:
    asked = subject_of(site, kind).asked(30)
    before = sorted(site.cache.rglob("*"))
    found = latents.first_look(Listener(), asked, site)
    assert sorted(site.cache.rglob("*")) == before
    assert found.subject.key == asked.key and len(found.labels) == 30
    latents.measure(Listener(), asked, site, False)
    kept = read_overview(subject_of(site, kind, limit=30), site.cache)
    assert kept is not None
    np.testing.assert_array_equal(found.reconstructions, kept.reconstructions)
    np.testing.assert_array_equal(found.raw.kl, kept.raw.kl)
    assert found.psnr == kept.psnr


@pytest.mark.slow
def test_every_answer_can_be_read_without_pytorch(site: SiteSettings, tmp_path: Path) -> None:
    asked = subject_of(site).asked(4)
    answers = (
        latents.first_look(Listener(), asked, site),
        latents.make_map(Listener(), asked, 4, site),
        latent_decoder.traits(Listener(), asked, 4, site),
        latent_decoder.survive(Listener(), asked, DiffusionSettings(), 4, 3, False, site),
    )
    (tmp_path / "answers").write_bytes(pickle.dumps(answers))
    program = (
        "import pickle, sys; sys.modules |= dict.fromkeys(('torch', 'diffusers', 'scipy')); "
        f"print(len(pickle.load(open({str(tmp_path / 'answers')!r}, 'rb'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("4", "")


def test_few_vaes_stay_open(site: SiteSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents.studies, "max_count", 2)
    for kind, weights in (("vae", "ema"), ("vae", "raw"), ("unet", "ema")):
        with latents.opened(Listener(), subject_of(site, kind, weights).asked(10), site):  # type: ignore[arg-type]
            pass
    assert len(latents.studies.kept()) == 2


def test_who_is_polite_gives_way_and_nobody_else_does(site: SiteSettings) -> None:
    asked = subject_of(site).asked(10)
    for polite in (True, False):
        found = set()

        def look(_stage: str, found: set[int] = found) -> None:
            found.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

        question = threading.Thread(target=latents.measure, args=(Listener(look), asked, site, polite))
        question.start()
        question.join()
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert found == {max(own, latents.POLITE) if polite else own}


def test_who_hangs_up_ends_the_measuring_and_nothing_half_made_is_left(site: SiteSettings) -> None:
    def hang_up(stage: str) -> None:
        if stage == "decoding and measuring":
            raise wire.HungUp

    asked = subject_of(site).asked(20)
    with pytest.raises(wire.HungUp):
        latents.measure(Listener(hang_up), asked, site, True)
    assert read_overview(subject_of(site, limit=20), site.cache) is None
    assert not list(site.cache.glob("*/.*tmp*"))


def test_a_vae_that_was_replaced_meanwhile_is_one_sentence(site: SiteSettings) -> None:
    good = subject_of(site).asked(20)
    other = AskedVae(run_id=good.run_id, step=good.step, weights="raw", limit=20, key=good.key)
    for question in (
        lambda: latents.first_look(Listener(), other, site),
        lambda: latents.make_map(Listener(), other, 20, site),
    ):
        with pytest.raises(CheckpointError, match="its VAE was replaced just now; load the page again"):
            question()


def test_a_map_of_one_picture_is_refused(site: SiteSettings) -> None:
    with pytest.raises(LabError, match="the map needs at least 2 held-out images, got 1"):
        latents.make_map(Listener(), subject_of(site).asked(1), 500, site)


@pytest.mark.parametrize("file", ["config.json", WEIGHTS_FILE])
def test_a_damaged_copy_is_one_sentence(site: SiteSettings, file: str) -> None:
    about = subject_of(site, "unet")
    (about.vae_dir / file).write_bytes(b"[")
    with pytest.raises(CheckpointError, match="its copy of the VAE cannot be read"):
        latents.first_look(Listener(), about.asked(10), site)


@pytest.mark.parametrize("layer", ["encoder.conv_out", "decoder.conv_out"])
def test_weights_that_are_no_numbers_are_one_sentence(site: SiteSettings, layer: str) -> None:
    folder = run_of(site, "unet").vae_dir
    weights = load_safetensors((folder / WEIGHTS_FILE).read_bytes())
    weights[f"{layer}.bias"][0] = torch.nan
    (folder / WEIGHTS_FILE).write_bytes(altered := save_safetensors(weights))
    facts = json.loads((folder / "codec.json").read_text())
    (folder / "codec.json").write_text(json.dumps({**facts, "sha256": hashlib.sha256(altered).hexdigest()}))
    for question in (
        lambda asked: latents.first_look(Listener(), asked, site),
        lambda asked: latents.measure(Listener(), asked, site, False),
    ):
        with pytest.raises(CheckpointError, match="not finite numbers"):
            question(subject_of(site, "unet").asked(10))
