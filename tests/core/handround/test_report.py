"""The report: complete, private, bounded, and enough to train the runs again."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.__main__ import main
from core.handround.private import public_value, without_secrets
from core.handround.report import report_html, weights_of
from core.handround.sheets import LEVELS, pictures_of
from core.runs.run import Run
from core.runs.store import RunStore
from tests.conftest import ROOT
from tests.endings import end_lab
from tests.pages.run_folders import HOSTILE_NAMES, make_run, tiny_settings


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def page_of(store: RunStore, *runs: Run, **others: bool) -> str:
    return report_html(store, runs, **others).decode()


def script_in(page: str) -> str:
    """The commands that a reader copies."""
    return html.unescape(re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)[-1])


def test_a_report_holds_curves_films_settings_and_names_no_machine_and_nobody(store: RunStore) -> None:
    settings = tiny_settings(**{"data.name": "image_folder", "data.path": "/home/ana/secret place/digits"})
    run = make_run(store, settings=settings, owner="ana-the-owner", reason="see https://hooks.example.org/T0/B1 ")
    page = page_of(store, run)
    for needed in ("<polyline", "data:image/webp;base64,", "data.image_size", "Content-Security-Policy"):
        assert needed in page, needed
    assert "was deleted" in page  # its VAE: it cannot be trained again, and the report says why
    for private in ("ana-the-owner", "/home/ana", "secret place", "hooks.example.org", str(store.root)):
        assert private not in page, private
    assert "ana-the-owner" in page_of(store, run, with_owner=True)


def test_hostile_names_are_text_and_several_runs_stand_side_by_side(store: RunStore) -> None:
    runs = [make_run(store, name=name[:120]) for name in HOSTILE_NAMES]
    page = page_of(store, *runs)
    assert not re.search(r"<(img|b|script src|iframe)\b", page)
    assert page.count("<script>") == 1
    assert "onerror=alert(1)&gt;" in page or "onerror" not in page
    assert page.count('class="again"') == len(runs)


def test_images_are_thinned_until_they_fit_and_the_report_says_what_is_left(store: RunStore) -> None:
    run = make_run(store)
    whole = pictures_of(run, 10**7)
    assert whole and whole.thinned == "" and len(whole.learning[0].words) == 3
    small = pictures_of(run, whole.size // 2)
    assert small and small.size <= whole.size // 2
    assert small.thinned.startswith("To save room, it shows")
    assert pictures_of(run, 10) is None
    assert tuple(sorted(LEVELS, key=lambda level: (-level[0], -level[1], level[2]))) == LEVELS


def test_a_report_is_refused_for_what_trains_nothing_and_for_too_many_runs(
    store: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_RUNS", str(store.root))
    run = make_run(store, "evaluation")
    assert main(["report", run.id, "--out", str(tmp_path / "a.html")]) == 2
    assert "is a quality evaluation; name the run that it measures" in capsys.readouterr().err
    assert main(["report", run.id, "--out", str(tmp_path / "a.pdf")]) == 2
    assert "a report is an HTML file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("step 3/4 of images/s and 1/2", "step 3/4 of images/s and 1/2"),
        ("cannot read /home/ana/runs/x.npz: gone", "cannot read <folder>/x.npz: gone"),
        ("in ~/lab/data and C:\\Users\\ana\\x.png", "in <folder>/data and <folder>/x.png"),
        ("POST https://hooks.slack.com/services/T0/B0/xyz failed", "POST <address> failed"),
        ("HF_TOKEN=hf_abcdefghijkl", "<secret>"),
        ("Authorization: Bearer abc.def-123456", "Authorization: <secret>"),
        ('"password": "hunter22"', '"<secret>"'),
        ("by ana.b@example.org, Ana and anagram", "by <mail>, <name> and anagram"),
    ],
)
def test_what_names_a_machine_or_a_person_is_taken_out(text: str, shown: str) -> None:
    assert without_secrets(text, ["ana"]) == shown


def test_values_of_settings_keep_their_kind() -> None:
    assert public_value({"a": [1, None, "/data/x y/z"]}) == {"a": [1, None, "<folder>/z"]}


@pytest.mark.slow
def test_whoever_has_only_the_report_trains_the_run_again_to_equal_weights(trained_lab: Path, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    shutil.copytree(trained_lab, origin)
    store = RunStore(origin / "runs")
    run = store.get("drawer")
    page = page_of(store, run)
    sums = dict(re.findall(r"<th>sha256 of ([^<]+)</th><td>([0-9a-f]{64})</td>", page))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folders = {f"LAB_{name.upper()}": str(elsewhere / name) for name in ("runs", "cache", "imports")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **folders, "LAB_DATA": str(origin / "data"), "PYTHONPATH": str(ROOT), "PATH": path}
    script = script_in(page)
    try:
        done = subprocess.run(
            ["/bin/sh", "-e"], input=script, env=environment, cwd=elsewhere, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    finally:
        end_lab(RunStore(elsewhere / "runs"))
    (again,) = [each for each in RunStore(elsewhere / "runs").list() if each.info.kind == "unet"]
    assert again.id != run.id
    found = weights_of(again)
    assert found == sums and len(found) == 3
