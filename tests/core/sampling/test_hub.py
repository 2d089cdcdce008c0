"""A push to a hub that runs here: every file arrives, each fault is one sentence, and no token is ever said."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from core.__main__ import main
from core.errors import UsageError
from core.model_folders import hub as module
from core.model_folders.export import export_run
from core.model_folders.hub import PushFailed, check_repo_id, has_credentials, push
from core.runs.run import Run
from tests.core.sampling.fake_hub import TOKEN, FakeHub, hub_in_use


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with hub_in_use(monkeypatch) as found:
        yield found


@pytest.fixture
def without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))


@pytest.fixture(scope="module")
def exported(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_run(trained, tmp_path_factory.mktemp("models") / "digits")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("private", [False, True])
def test_every_file_arrives(hub: FakeHub, exported: Path, private: bool) -> None:
    pushed = push(exported, "ana/digits", private=private)
    assert (pushed.url, pushed.is_private) == (f"{hub.address}/ana/digits", private)
    assert hub.repositories == {"ana/digits": {"private": private, "files": contents(exported)}}


def test_what_is_secret_in_the_hubs_address_is_neither_told_nor_kept(
    hub: FakeHub, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address.replace("://", "://ana:secret@"))
    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: None)
    monkeypatch.setattr(HfApi, "upload_folder", lambda *_, **__: None)
    assert push(exported, "ana/digits").url == f"{hub.address}/ana/digits"

    def refuse(*_: object, **__: object) -> None:
        raise ValueError(f"Bad answer for url '{module.endpoint()}/api/repos/create'")

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(PushFailed, match="refused it") as refused:
        push(exported, "ana/digits")
    assert "secret" not in f"{refused.value} {refused.value.hint}"


def test_credentials_are_found_in_the_environment_and_in_the_file(
    hub: FakeHub, without_credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not has_credentials()
    (tmp_path / "no-token").write_text(TOKEN)
    assert has_credentials()
    (tmp_path / "no-token").unlink()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert has_credentials()


def test_without_credentials_nothing_is_sent(hub: FakeHub, exported: Path, without_credentials: None) -> None:
    with pytest.raises(PushFailed, match="no credentials") as refused:
        push(exported, "ana/digits", private=True)
    assert f"hf upload --private ana/digits {exported}" in refused.value.hint
    assert hub.calls == []


FAULTS: dict[str, tuple[dict[str, int], str]] = {
    "401": ({"create": 401}, "does not accept the credentials"),
    "403": ({"create": 403}, "does not let these credentials write"),
    "404": ({"create": 404}, "knows no such namespace"),
    "429": ({"create": 429}, "asks to wait"),
    "500": ({"create": 500}, r"failed \(status 500\)"),
    "403 at the files": ({"preupload": 403}, "does not let these credentials write"),
    "commit refused": ({"commit": 400}, "refused it"),
    "too large": ({"commit": 413}, "takes no files of that size"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_one_sentence_without_the_token_and_leaves_no_repository(
    hub: FakeHub, exported: Path, case: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # its patience between tries
    hub.faults, sentence = FAULTS[case]
    before = contents(exported)
    with caplog.at_level(logging.DEBUG), pytest.raises(PushFailed, match=sentence) as failed:
        push(exported, "ana/digits")
    said = str(failed.value) + failed.value.hint
    assert "\n" not in said and said.isprintable() and "stays" in said
    assert TOKEN not in said and TOKEN not in caplog.text
    assert hub.repositories == {} and contents(exported) == before


def test_a_repository_that_cannot_be_removed_again_is_named(hub: FakeHub, exported: Path) -> None:
    hub.faults = {"commit": 403, "delete": 403}
    with pytest.raises(PushFailed, match="an empty repository ana/digits was left there"):
        push(exported, "ana/digits")


def test_a_repository_that_exists_is_never_written_to(hub: FakeHub, exported: Path) -> None:
    hub.repositories["ana/digits"] = {"private": False, "files": {"mine": b"1"}}
    with pytest.raises(PushFailed, match="already") as refused:
        push(exported, "ana/digits", private=True)
    assert refused.value.hint == "choose another name"
    assert hub.repositories == {"ana/digits": {"private": False, "files": {"mine": b"1"}}}
    assert hub.calls == ["POST /api/repos/create"]


def test_without_a_network_it_says_so(hub: FakeHub, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(PushFailed, match=r"127\.0\.0\.1:9 cannot be reached"):
        push(exported, "ana/digits")


@pytest.mark.parametrize(
    "name",
    ["", "digits", "a/b/c", "/digits", "ana/", "ana/..", "ana/a--b", "an a/x", "ana/x.git", "a/" + "x" * 99, "ü/x"],
)
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="NAMESPACE/NAME"):
        check_repo_id(name)


@pytest.fixture
def lab_of(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    root = trained.folder.parents[1]
    for name in ("runs", "data", "cache"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(root / name))


@pytest.mark.slow
def test_export_pushes_and_says_where(
    hub: FakeHub, trained: Run, lab_of: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", trained.id, str(tmp_path / "d"), "--push", "ana/digits", "--private"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(tmp_path / "d"), f"{hub.address}/ana/digits (private)"]
    assert TOKEN not in said.out + said.err
    assert hub.repositories["ana/digits"]["files"] == contents(tmp_path / "d")


def test_without_credentials_the_exported_folder_stays(
    hub: FakeHub,
    without_credentials: None,
    trained: Run,
    lab_of: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", trained.id, str(tmp_path / "d"), "--push", "ana/digits"]) == 1
    assert "this machine has no credentials" in (said := capsys.readouterr().err) and "hf auth login" in said
    assert (tmp_path / "d" / "model_index.json").is_file()


@pytest.mark.parametrize("options", [["--push", "digits"], ["--private"]])
def test_a_wrong_wish_makes_nothing(trained: Run, lab_of: None, tmp_path: Path, options: list[str]) -> None:
    assert main(["export", trained.id, str(tmp_path / "d"), *options]) == 2
    assert not (tmp_path / "d").exists()
