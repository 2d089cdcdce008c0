"""`doctor`: what works on this machine and what does not."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from core import atomic
from core.commands.answer import answer, say
from core.commands.command_help import add_command
from core.commands.options import usable_site_of
from core.commands.tables import plain
from core.config.frozen import without_webhook
from core.config.site import SiteSettings, SlurmSettings
from core.errors import ConfigError, LabError, RunBusy
from core.jobs import sharing
from core.jobs.disk_quota import use_by_person
from core.jobs.engines.choose import observed_status
from core.jobs.engines.slurm import try_settings
from core.jobs.engines.slurm_commands import SlurmAway
from core.machine.torch_gpus import seen_gpus
from core.runs.lock import lock_in_run
from core.runs.run import Run
from core.runs.store import RunStore, lock_path
from core.runs.trash import FOLDER as TRASH
from core.words import size

PACKAGES = ("torch", "torchvision", "diffusers", "accelerate", "safetensors", "torchmetrics", "streamlit", "plotly")
LOW_DISK_BYTES = 5e9


class Finding(NamedTuple):
    """One line: what was looked at, whether it works (None = for information), and the facts."""

    subject: str
    works: bool | None
    words: str


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "doctor",
        "Check what works on this machine: packages, devices, folders, disk, datasets.",
        ("doctor", "doctor --json"),
    )
    parser.add_argument(
        "--clean-webhooks", action="store_true", help="remove webhook addresses from the settings of old runs"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print every finding; exit 1 when something needed does not work."""
    site, problem = usable_site_of(arguments)
    if arguments.clean_webhooks:
        return clean_webhooks(arguments, RunStore(site.runs))
    broken = [Finding("config.yaml", False, problem)] if problem else []
    failed, found = [], []
    for finding in itertools.chain(broken, findings(site)):
        mark = {True: "ok  ", False: "FAIL", None: "    "}[finding.works]
        found.append(finding._asdict())
        say(arguments, f"{mark}  {finding.subject:<14} {plain(finding.words)}")
        if finding.works is False:
            failed.append(finding.subject)
    answer(arguments, found)
    if failed:
        print(f"does not work: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def findings(site: SiteSettings) -> Iterator[Finding]:
    """Everything that is looked at, one after the other."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), version)
    for name in PACKAGES:
        try:
            yield Finding(name, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, False, "not installed; pip install -r requirements.txt")
    yield from _devices()
    for name, needs_writing in (("runs", True), ("cache", True), ("data", False)):
        yield _folder(name, getattr(site, name), needs_writing)
    for works, words in sharing.findings(site.runs, site.group):
        yield Finding("sharing", works, words)
    if site.engine == "slurm":
        yield _slurm(site.slurm)
    yield _disk(site.runs)
    for use in use_by_person(RunStore(site.runs), site) if site.runs.is_dir() else ():
        more = f"; it can remove {use.what_to_remove}" if use.is_near else ""
        yield Finding("disk", (not use.is_over) if use.quota else None, use.in_words + more)
    yield from _webhooks(RunStore(site.runs))
    yield from _data_sets(site.data)


def _slurm(settings: SlurmSettings) -> Finding:
    try:
        problem = try_settings(settings)
    except SlurmAway as error:
        problem = error.message
    return Finding("slurm", not problem, problem or "it answers, and would take a job with the settings of site.slurm")


def clean_webhooks(arguments: argparse.Namespace, store: RunStore) -> int:
    """Take the addresses out of the runs that hold one; 1 when a run is active, damaged or cannot be written."""
    code, rows = 0, []
    for run in runs_with_webhook(store):
        lock = None
        try:
            lock = lock_in_run(lock_path(run), patience_s=0.5)
            if lock is None or observed_status(run).state.is_active:
                raise RunBusy(f"run {run.id} is active", "stop it first, or come again when it has ended")
            text = without_webhook(run.config_path)
            if text is not None:
                atomic.write_text(run.config_path, text)
            rows.append({"id": run.id, "problem": ""})
            say(arguments, f"{run.id}: the address of its webhook is gone")
        except (LabError, OSError) as error:
            rows.append({"id": run.id, "problem": str(error)})
            print(f"{run.id}: {plain(error)}", file=sys.stderr, flush=True)
            code = 1
        finally:
            if lock is not None:
                lock.release()
    answer(arguments, rows)
    return code


def runs_with_webhook(store: RunStore) -> Iterator[Run]:
    """Runs of the store and its trash that froze the address of a webhook, as labs did until 0.1."""
    for folder in sorted([*store.root.glob("*/config.yaml"), *(store.root / TRASH).glob("*/config.yaml")]):
        with contextlib.suppress(ConfigError):
            if without_webhook(folder) is not None:
                yield Run(folder.parent)


def _webhooks(store: RunStore) -> Iterator[Finding]:
    found = [run.id for run in runs_with_webhook(store)]
    if found:
        names = ", ".join(found[:5]) + (f" and {len(found) - 5:,} more" if len(found) > 5 else "")
        words = f"the settings of {names} hold its address, for whoever reads the folder; take it out: --clean-webhooks"
        yield Finding("webhook", None, words)


def _devices() -> Iterator[Finding]:
    try:
        import torch

        from core.device import supports_bf16
    except (ImportError, RuntimeError, OSError) as error:
        yield Finding("torch import", False, str(error).splitlines()[0])
        return
    cpu = torch.device("cpu")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cpu", True, f"{cores} cores, bf16 {'native' if supports_bf16(cpu) else 'not native'}")
    if not torch.cuda.is_available():
        known, blind, problem = seen_gpus()
        there = len(known) + len(blind)
        words = f"the driver has {there}, and PyTorch cannot use them: {problem}" if problem else "PyTorch sees none"
        yield Finding("gpu", False if problem else None, f"{words}: training runs on the CPU")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.device("cuda", index)
        free, total = torch.cuda.mem_get_info(device)
        words = f"{torch.cuda.get_device_name(device)}, {size(free)} of {size(total)} free"
        yield Finding(f"gpu {index}", True, f"{words}, bf16 {'native' if supports_bf16(device) else 'not native'}")
    try:
        import torchvision

        yield Finding("torch pair", True, f"torch {torch.__version__} with torchvision {torchvision.__version__}")
    except (ImportError, RuntimeError) as error:
        yield Finding("torch pair", False, f"torchvision does not import beside torch: {str(error).splitlines()[0]}")


def _folder(name: str, path: Path, needs_writing: bool) -> Finding:
    nearest = next(parent for parent in (path, *path.parents) if parent.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    state = "" if path.exists() else ", not there yet"
    words = f"{path} ({'writable' if writable else 'read-only'}{state})"
    return Finding(f"site.{name}", writable if needs_writing else None, words)


def _disk(path: Path) -> Finding:
    usage = shutil.disk_usage(next(parent for parent in (path, *path.parents) if parent.exists()))
    words = f"{size(usage.free)} of {size(usage.total)} free"
    return Finding("disk", usage.free > LOW_DISK_BYTES, words)


def _data_sets(data_dir: Path) -> Iterator[Finding]:
    from core.data import catalog

    present = catalog.present_names(data_dir)
    absent = [name for name in catalog.names() if name not in present and not catalog.entry(name).needs_path]
    words = f"here: {', '.join(present) or 'none'}; your own: image_folder, npz"
    yield Finding("datasets", bool(present), words)
    if absent:
        yield Finding("", None, f"to be fetched when asked for: {', '.join(absent)}")
