"""Where the lab's code lies, where its data lies, and what its command is called.

In a checkout both are its root folder. An installed lab keeps its code among the packages of Python, and its data
(`config.yaml`, runs, cache, models) in a folder of the person: its home.
"""

from __future__ import annotations

import os
from pathlib import Path

HOME_VARIABLE = "LAB_HOME"
CONFIG = "config.yaml"
COMMAND = "latent-lab"  # what pip installs
DATA_FOLDER = "latent-diffusion-lab"  # in the person's data folder


def code_root() -> Path:
    """The folder that holds core/, lab/, pages/, the bundled model and the default config.yaml.

    LAB_PROJECT names it to a run that trains with frozen code.
    """
    named = os.environ.get("LAB_PROJECT")
    return Path(named) if named else Path(__file__).resolve().parents[1]


def is_installed() -> bool:
    """Whether this code lies in the package that pip installs; a checkout's root is no package."""
    return (code_root() / "__init__.py").is_file()


def lab_home() -> Path:
    """The absolute folder that relative folders of the settings start at; it may not exist yet.

    LAB_HOME, else a checkout's root, else the current folder where that holds a config.yaml, else a folder in the
    person's data folder (XDG_DATA_HOME or ~/.local/share).
    """
    if named := os.environ.get(HOME_VARIABLE, "").strip():
        return Path(os.path.abspath(Path(named).expanduser()))  # noqa: PTH100 - a link keeps its name
    if not is_installed():
        return code_root()
    here = Path.cwd()
    if (here / CONFIG).is_file():
        return here
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (data if data.is_absolute() else Path.home() / ".local" / "share") / DATA_FOLDER


def fix_home() -> None:
    """Make a relative LAB_HOME absolute, for processes that start in other folders; any other home needs nothing."""
    if os.environ.get(HOME_VARIABLE, "").strip():
        os.environ[HOME_VARIABLE] = str(lab_home())


def python_path(first: Path | None = None) -> str:
    """PYTHONPATH of a process that runs this code: `first` (default: `code_root`), then what is there already.

    All paths are absolute.
    """
    there = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    paths = [str(first or code_root()), *there]
    return os.pathsep.join(dict.fromkeys(os.path.abspath(path) for path in paths))  # noqa: PTH100


def config_file() -> Path:
    """The settings of this installation: config.yaml in the lab's home, else the one that comes with the code."""
    own = lab_home() / CONFIG
    return own if own.exists() else code_root() / CONFIG


PROGRAM = COMMAND if is_installed() else "python -m core"  # what a person types before a command
