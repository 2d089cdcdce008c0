"""Where a run comes from: who started it, which code, which library versions. Never fails, never imports torch."""

from __future__ import annotations

import getpass
import os
import platform
import pwd
import subprocess
from importlib import metadata

from core.config.load import read_site
from core.home import code_root
from core.rules import NEWEST, Rules
from core.version import VERSION

PACKAGES = ("torch", "torchvision", "diffusers", "accelerate", "safetensors", "numpy")


def current_user() -> str:
    """LAB_USER, else the login name, else 'unknown'.

    Always the account where people sign in (`site.members`), and while config.yaml is wrong: they might.
    """
    site, problem = read_site()
    try:
        if problem or site.has_login:
            return pwd.getpwuid(os.getuid()).pw_name
        return os.environ.get("LAB_USER", "").strip() or getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def code_revision() -> str:
    """The commit of this checkout, with '-dirty' when tracked files were changed; empty without git."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return ""
    return f"{commit}-dirty" if _git("status", "--porcelain", "--untracked-files=no") else commit


def package_versions(rules: Rules = NEWEST) -> dict[str, str]:
    """Versions of the lab, of these rules, of Python and of packages that decide a result, or 'missing'."""
    versions = {"lab": VERSION, **rules.written(), "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions


def _git(*arguments: str) -> str:
    root = code_root()
    if not (root / ".git").exists():  # an installed lab may lie in the checkout of something else
        return ""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
