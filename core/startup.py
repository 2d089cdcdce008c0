"""Whether the lab can start at all, in one sentence where it cannot. Standard library only, and any Python 3 reads it:
whoever starts the lab asks here before anything else is imported."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

FEWEST = (3, 11)
PACKAGES = {  # as pip names them → as they are imported
    "torch": "torch",
    "torchvision": "torchvision",
    "diffusers": "diffusers",
    "accelerate": "accelerate",
    "safetensors": "safetensors",
    "huggingface_hub": "huggingface_hub",
    "torchmetrics": "torchmetrics",
    "streamlit": "streamlit",
    "plotly": "plotly",
    "pandas": "pandas",
    "numpy": "numpy",
    "pillow": "PIL",
    "pydantic": "pydantic",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "psutil": "psutil",
    "nvidia-ml-py": "pynvml",
    "tqdm": "tqdm",
    "argcomplete": "argcomplete",
}
ROOT = Path(__file__).resolve().parents[1]


def check_start() -> None:
    """Ends this program with status 1 and one sentence on stderr, with the command that helps, where it cannot run."""
    problem = start_problem()
    if problem:
        sys.exit(f"error: {problem}")


def start_problem(
    version: Sequence[int] = sys.version_info[:2],
    encoding: str = sys.getfilesystemencoding(),
    environment: Mapping[str, str] = os.environ,
    modules: Mapping[str, str] = PACKAGES,
) -> str:
    """Why the lab cannot start here, and what to do; '' where it can.

    encoding: of paths. modules: package → what is imported.
    """
    if tuple(version) < FEWEST:
        here = f"{version[0]}.{version[1]} ({sys.executable})"
        return f"Python {FEWEST[0]}.{FEWEST[1]} or newer is needed, and this is {here}. Run: make PYTHON=python3.11"
    if encoding.lower().replace("-", "") != "utf8":
        names = [f" ({name}={environment[name]})" for name in ("LC_ALL", "LC_CTYPE", "LANG") if environment.get(name)]
        return f"this shell's locale is not UTF-8{names[0] if names else ''}. Run: export LC_ALL=C.UTF-8"
    missing = [name for name, module in modules.items() if not _is_there(module)]
    if not missing:
        return ""
    own = ROOT / ".venv" / "bin" / "python"
    more = f", and {len(missing) - 1} more are" if len(missing) > 1 else ""
    words = f"the package {missing[0]} is missing{more}"
    if own.exists() and Path(sys.prefix).resolve() != own.parents[1].resolve():
        return f"{words}. The lab's packages belong to another Python: start it with {own}"
    listed = ROOT / "requirements.txt"
    what = f"-r {listed}" if listed.exists() else "--force-reinstall latent-diffusion-lab"
    return f"{words}. Run: {sys.executable} -m pip install {what}"


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
