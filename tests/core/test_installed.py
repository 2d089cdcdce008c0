"""The lab as pip installs it: what its wheel holds, where its data lies, and that its command runs from any folder."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.server import free_port
from core.__main__ import main
from core.home import CONFIG, DATA_FOLDER, HOME_VARIABLE, code_root, config_file, lab_home, python_path
from core.jobs.start_supervisor import supervisor_environment
from core.runs.provenance import code_revision
from core.version import VERSION

HELD = ("core", "lab", "pages", "models/mnist-demo", "config.yaml")
BUILT_WITH = ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE", "latent_diffusion_lab")
SECRETS = "lab/.streamlit/secrets.toml"
AS_IN_A_CHECKOUT = ("core/home.py", "core/model_folders/model_card.py")  # the one who decides; cards for other machines


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A code folder as pip lays it, with a current folder of its own; returns that."""
    package, here = tmp_path / "site-packages" / "latent_diffusion_lab", tmp_path / "here"
    package.mkdir(parents=True)
    here.mkdir()
    (package / "__init__.py").touch()
    (package / CONFIG).write_text("seed: 1\n")
    monkeypatch.setenv("LAB_PROJECT", str(package))
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    for name in (HOME_VARIABLE, "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(here)
    return here


def test_an_installed_lab_keeps_its_data_with_the_person(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab_home() == Path.home() / ".local/share" / DATA_FOLDER
    monkeypatch.setenv("XDG_DATA_HOME", str(installed / "data"))
    assert lab_home() == installed / "data" / DATA_FOLDER
    monkeypatch.setenv("XDG_DATA_HOME", "relative")  # the standard says: ignore it
    assert lab_home() == Path.home() / ".local/share" / DATA_FOLDER
    assert config_file() == code_root() / CONFIG


def test_a_folder_with_settings_is_a_lab_of_its_own(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (installed / CONFIG).write_text("seed: 2\n")
    assert (lab_home(), config_file()) == (installed, installed / CONFIG)
    monkeypatch.setenv(HOME_VARIABLE, "other")
    assert (lab_home(), config_file()) == (installed / "other", code_root() / CONFIG)


def test_a_checkout_is_its_own_home_wherever_it_is_called_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    (tmp_path / CONFIG).touch()
    monkeypatch.chdir(tmp_path)
    assert lab_home() == code_root() != tmp_path


def test_processes_find_what_their_parent_found(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["packages", "", str(code_root())]))
    assert python_path().split(os.pathsep) == [str(code_root()), str(installed / "packages")]


def test_a_relative_home_is_made_absolute_for_processes_that_start_elsewhere(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, "other")
    assert main(["paths"]) == 0
    assert supervisor_environment()[HOME_VARIABLE] == str(installed / "other")


def test_an_installed_lab_does_not_take_the_commit_of_what_lies_around_it(installed: Path) -> None:
    subprocess.run(["git", "init", "-q", installed.parent], check=True)
    identity = ["-c", "user.name=ana", "-c", "user.email=ana@example.org"]
    commit = ["git", "-C", installed.parent, *identity, "commit", "-q", "--allow-empty", "-m", "of another project"]
    subprocess.run(commit, check=True)
    assert code_revision() == ""


def words_of_a_checkout(source: str) -> list[str]:
    """Texts of a module that name `python -m core` and a command: an installed lab does not have it."""
    if "python -m core " not in source:
        return []
    tree = ast.parse(source)
    scopes = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, scopes)}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in texts if "python -m core " in text and text not in docs]


def test_what_people_are_told_to_type_is_there_in_an_installed_lab() -> None:
    assert words_of_a_checkout('"""`python -m core x`"""\nsay(f"run python -m core {name}")') == ["run python -m core "]
    paths = [path for folder in ("core", "lab", "pages") for path in sorted((code_root() / folder).rglob("*.py"))]
    found = {str(path.relative_to(code_root())): words_of_a_checkout(path.read_text()) for path in paths}
    assert {name: words for name, words in found.items() if words and name not in AS_IN_A_CHECKOUT} == {}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of this checkout, in which a secret lies, an earlier build, and bytecode."""
    source, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for name in (*HELD, *BUILT_WITH):
        origin, target = code_root() / name, source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, target)
        else:
            shutil.copyfile(origin, target)
    (source / SECRETS).write_text("[auth]\n")
    stale = source / "build" / "lib" / "latent_diffusion_lab" / "core" / "of_an_earlier_build.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    words = [sys.executable, "-m", "pip", "wheel", "-q", ".", "--no-deps", "--no-build-isolation", "-w", str(out)]
    subprocess.run(words, cwd=source, check=True, stdout=subprocess.DEVNULL)
    (found,) = out.iterdir()
    return found


@pytest.fixture(scope="module")
def prefix(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed, without what it depends on."""
    target = tmp_path_factory.mktemp("prefix")
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return target


@pytest.fixture
def person(prefix: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """(an empty folder, the environment of somebody who has installed the lab and set nothing)."""
    here = tmp_path / "empty"
    here.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LAB_", "XDG_"))}
    return here, {**environment, "PYTHONPATH": str(prefix), "HOME": str(tmp_path / "person")}


@pytest.mark.slow
def test_a_wheel_holds_what_the_lab_runs_from_and_no_more(wheel: Path) -> None:
    root = code_root()
    paths = [path for name in HELD for path in ([root / name] if (root / name).is_file() else (root / name).rglob("*"))]
    wanted = {str(path.relative_to(root)) for path in paths if path.is_file() and "__pycache__" not in path.parts}
    names = zipfile.ZipFile(wheel).namelist()
    package = {name.removeprefix("latent_diffusion_lab/") for name in names if name.startswith("latent_diffusion_lab/")}
    assert package == wanted - {SECRETS} | {"__init__.py"}
    assert len(names) - len(package) == len([name for name in names if ".dist-info/" in name])
    assert f"-{VERSION}-" in wheel.name


@pytest.mark.slow
def test_its_command_runs_in_an_empty_folder(prefix: Path, person: tuple[Path, dict[str, str]]) -> None:
    here, environment = person
    home = Path(environment["HOME"]) / ".local" / "share" / DATA_FOLDER

    def said(*words: str) -> str:
        command = [prefix / "bin" / "latent-lab", *words]
        return subprocess.run(command, cwd=here, env=environment, check=True, capture_output=True, text=True).stdout

    assert said("--version") == f"latent-diffusion-lab {VERSION}\n"
    folders = json.loads(said("paths", "--json"))
    assert (folders["home"], folders["runs"]) == (str(home), str(home / "runs"))
    assert folders["config"] == str(prefix / "latent_diffusion_lab" / CONFIG)
    assert said("presets").startswith("preset ")
    assert json.loads(said("runs", "--json")) == []
    assert "mnist-demo" in said("models")
    assert "latent-lab train all" in said("train", "--help")
    assert list(here.iterdir()) == []
    (here / CONFIG).write_text("site: {runs: mine}\n")
    assert json.loads(said("paths", "--json"))["runs"] == str(here / "mine")
    words = [sys.executable, "-c", "import latent_diffusion_lab; from core import api; print(len(api.runs()))"]
    done = subprocess.run(words, cwd=here, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "0\n"


@pytest.mark.slow
def test_bash_completes_it(prefix: Path, person: tuple[Path, dict[str, str]]) -> None:
    here, environment = person
    script = """
    eval "$(latent-lab completion bash)"
    COMP_LINE='latent-lab train all --preset qui'; COMP_POINT=33; COMP_TYPE=9
    _python_argcomplete latent-lab qui --preset
    printf '%s' "${COMPREPLY[@]}"
    """
    environment = {**environment, "PATH": f"{prefix / 'bin'}:{environment['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=here, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "quick", done.stderr


@pytest.fixture
def served(prefix: Path, person: tuple[Path, dict[str, str]]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """(the address of a lab that is served from the wheel, its process)."""
    here, environment = person
    port = free_port()
    command = [prefix / "bin" / "latent-lab", "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=here, env=environment, start_new_session=True) as server:
        yield f"http://127.0.0.1:{port}", server
        server.terminate()


@pytest.mark.slow
def test_it_serves_its_screens(served: tuple[str, subprocess.Popen[bytes]]) -> None:
    address, server = served
    deadline, answer = time.monotonic() + 120, b""
    while not answer:
        assert server.poll() is None and time.monotonic() < deadline, "it does not serve"
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=120) as reply:
                answer = reply.read()
        except urllib.error.URLError:
            time.sleep(0.05)
    assert answer == b"ok"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "refusal"),
    [
        ("secrets.toml", "[auth]\nclient_id = 'lab'\n", "site.members is empty"),
        ("config.toml", '[server]\ntrustedUserHeaders = \'{"X-Login": "email"}\'\n', "site.login_secret_file"),
    ],
)
def test_a_login_in_its_home_is_the_servers(
    prefix: Path, person: tuple[Path, dict[str, str]], tmp_path: Path, name: str, text: str, refusal: str
) -> None:
    here, environment = person
    path = tmp_path / "home" / ".streamlit" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    command = [prefix / "bin" / "latent-lab", "serve", "--port", str(free_port())]
    environment = {**environment, HOME_VARIABLE: str(tmp_path / "home")}
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert refusal in done.stderr
