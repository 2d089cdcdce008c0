"""What belongs to this installation: where it is read, its old names, and that no run holds it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from core.config.load import load_config, read_site, usable_site
from core.config.site import FOLDERS, ONCE_IN_MACHINE, SiteSettings, resolve_path
from core.errors import ConfigError
from core.home import code_root
from core.runs.store import RunStore

SECRET = "https://hooks.example/T0/planted-secret"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config.yaml of a project folder of its own, without LAB_* folders."""
    for variable in FOLDERS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    return tmp_path / "config.yaml"


def test_folders_are_absolute_and_relative_ones_start_at_the_project(config: Path) -> None:
    config.write_text("site: {runs: here/runs, data: /elsewhere, cpu_slots: 3}\n")
    site, problem = usable_site()
    assert problem == ""
    assert (site.runs, site.data, site.cache) == (
        config.parent / "here/runs",
        Path("/elsewhere"),
        config.parent / "cache",
    )
    assert site.cpu_slots == 3


def test_later_wins_file_other_file_override_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("site: {runs: /a, data: /a, cache: /a, models: /a}\n")
    other = config.with_name("other.yaml")
    other.write_text("seed: 4\nsite: {data: /b, cache: /b, models: /b}\n")
    monkeypatch.setenv("LAB_MODELS", "/d")
    site, _ = usable_site(other, overrides=["site.cache=/c", "site.models=/c"])
    assert [str(folder) for folder in (site.runs, site.data, site.cache, site.models)] == ["/a", "/b", "/c", "/d"]


def test_old_names_still_work_with_one_sentence(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    config.write_text("seed: 5\nmachine: {device: cpu, cpu_slots: 2, trash_days: 3.0}\npaths: {runs: /old/runs}\n")
    with caplog.at_level(logging.WARNING):
        site, problem = usable_site(overrides=["machine.slots_per_gpu=4"])
        usable_site(overrides=["machine.slots_per_gpu=4"])
    assert problem == ""
    assert (site.cpu_slots, site.trash_days, site.slots_per_gpu, str(site.runs)) == (2, 3.0, 4, "/old/runs")
    assert load_config().machine.device == "cpu"
    assert caplog.messages == [
        "config.yaml: write site.runs, site.cpu_slots, site.trash_days; the old names paths.runs, machine.cpu_slots, "
        "machine.trash_days still work",
        "--set machine.slots_per_gpu: write site.slots_per_gpu; the old name machine.slots_per_gpu still works",
    ]


def test_a_setting_under_both_names_is_refused(config: Path) -> None:
    config.write_text("paths: {runs: /a}\nsite: {runs: /b}\n")
    with pytest.raises(ConfigError, match=r"paths\.runs: is also given as site.runs"):
        load_config()


@pytest.mark.parametrize(
    ("text", "runs", "complaint"),
    [
        ("seed: many\nsite: {runs: /good}\n", "/good", "seed: should be a valid integer"),
        ("site: {runs: /good, cpu_slots: 0}\n", "", "site.cpu_slots: should be greater"),
        ("site: [broken", "", "not valid YAML"),
    ],
)
def test_of_a_broken_file_the_site_is_used_where_it_is_sound(
    config: Path, text: str, runs: str, complaint: str
) -> None:
    config.write_text(text)
    site, problem = usable_site()
    assert site.runs == (Path(runs) if runs else config.parent / "runs")
    assert complaint in problem


def test_the_site_is_read_again_when_the_file_or_the_environment_changes(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("site: {cpu_slots: 2}\n")
    assert read_site()[0].cpu_slots == 2
    config.write_text("site: {cpu_slots: 12}\n")
    assert read_site()[0].cpu_slots == 12
    monkeypatch.setenv("LAB_CACHE", "/elsewhere")
    assert read_site()[0].cache == Path("/elsewhere")


def test_children_get_every_folder(config: Path) -> None:
    config.write_text("site: {imports: /shared/imports}\n")
    environment = usable_site()[0].environment()
    assert set(environment) == set(FOLDERS)
    assert environment["LAB_IMPORTS"] == "/shared/imports"


def test_no_run_holds_what_belongs_to_the_site(config: Path) -> None:
    config.write_text(f"site: {{webhook_url: '{SECRET}', runs: {config.parent / 'planted-runs'}}}\n")
    site, _ = read_site()
    assert site.webhook_url == SECRET
    run = RunStore(site.runs).create("vae", load_config())
    held = b"".join(path.read_bytes() for path in run.folder.rglob("*") if path.is_file()).decode()
    assert "planted" not in held
    assert [name for name in (*SiteSettings.model_fields, "paths", "site") if f"\n  {name}:" in held] == []
    assert not set(ONCE_IN_MACHINE) & set(run.settings.model_dump()["machine"])


@pytest.mark.parametrize("text", ["~nobody-of-that-name/runs", " ~nobody-of-that-name "])
def test_a_home_of_nobody_is_a_folder_like_any_other(text: str) -> None:
    assert resolve_path(text) == code_root() / text.strip()
