"""Whether PyTorch can use the GPUs that the driver tells of, asked in a child.

A driver may be too old for it, or it may be built without CUDA. Where there is no GPU nobody is asked.

A recording of NVML (see `core.machine.gpus`) stands in for PyTorch too: "pytorch" in it is the problem, '' by default.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core import atomic, reading
from core.config.load import read_site
from core.errors import quoted
from core.machine.attempts import boot_id
from core.machine.gpus import RECORDING_VARIABLE, Gpu, read_gpus, visible_gpus

MEMO_FILE = "pytorch-and-gpus.json"
WALL_S = 60.0
AGAIN_S = 600.0  # a problem may be mended without a new start of the machine
_answers: dict[Path, Mapping[str, Any]] = {}  # of this process: not everyone may write into the cache
_SCRIPT = """
import sys, torch
if not torch.cuda.is_available():
    if torch.version.cuda is None and torch.version.hip is None:
        sys.exit("it is built without CUDA")
    torch.cuda.init()
"""
ASK = (sys.executable, "-P", "-c", _SCRIPT)


def usable_gpus() -> tuple[list[Gpu], tuple[str, ...]]:
    """(the GPUs that runs can use, the names of those that no driver describes): one of both is empty.

    Both are empty where PyTorch cannot use them, whatever CUDA_VISIBLE_DEVICES says.
    """
    known, blind, problem = seen_gpus()
    return ([], ()) if problem else (known, blind)


def seen_gpus() -> tuple[list[Gpu], tuple[str, ...], str]:
    """As `usable_gpus`, those too that PyTorch cannot use; and why it cannot, '' where it can."""
    known = read_gpus()
    blind = () if known else visible_gpus()
    return known, blind, pytorch_problem() if known or blind else ""


def pytorch_problem() -> str:
    """Why PyTorch cannot use the GPUs of this machine, in words; '' where it can, or where nobody knows.

    It takes some seconds, so the answer is kept in the cache, until machine, driver or PyTorch is another.
    """
    if recording := os.environ.get(RECORDING_VARIABLE):
        return str(reading.read_object(Path(recording)).get("pytorch", ""))
    return remembered(read_site()[0].cache / MEMO_FILE, ASK)


def remembered(memo: Path, command: Sequence[str], *, wall_s: float = WALL_S) -> str:
    """The problem as `memo` has it, or as the command tells it: its last line when it fails, '' when it does not.

    '' too where it has not ended after `wall_s` seconds: that says nothing.
    """
    asked = {
        "boot": boot_id(),
        "torch": _torch_version(),
        "driver": _text("/proc/driver/nvidia/version"),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    if memo not in _answers:
        with contextlib.suppress(OSError, ValueError):
            _answers[memo] = reading.read_object(memo)
    told = _answers.get(memo, {})
    problem, at, is_known = told.get("problem"), told.get("at"), told.get("is_known") is True
    if told.get("asked") == asked and isinstance(problem, str) and isinstance(at, int | float):
        is_fresh = 0 <= time.time() - at < AGAIN_S
        if is_fresh or (is_known and not problem):
            return quoted(problem, 200)
    returned, last_line = _ran(command, wall_s)
    problem = "" if returned in (0, None) else last_line or "it fails"
    _answers[memo] = {"asked": asked, "problem": problem, "is_known": returned is not None, "at": time.time()}
    with contextlib.suppress(OSError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(memo, _answers[memo])
    return quoted(problem, 200)


def _ran(command: Sequence[str], wall_s: float) -> tuple[int | None, str]:
    """(exit code, None when it did not end; the last line of its errors). What hangs in a driver is not waited for."""
    quiet = subprocess.DEVNULL
    with tempfile.TemporaryFile() as errors:
        try:
            child = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=errors)
        except OSError:
            return None, ""
        try:
            returned = child.wait(wall_s)
        except subprocess.TimeoutExpired:
            child.kill()
            return None, ""
        errors.seek(0)
        lines = errors.read().decode(errors="replace").splitlines()
    return returned, next((line.strip() for line in reversed(lines) if line.strip()), "")


def _torch_version() -> str:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
