"""`machine [--json] [--record FILE]`: GPUs and who is on them, CPU, memory, disk."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core import atomic
from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import site_of, store_of
from core.commands.sample_files import check_free
from core.commands.tables import plain, table
from core.jobs.disk_quota import PersonUse, use_by_person
from core.jobs.queue_view import runs_by_device
from core.jobs.telemetry import disk_forecast, read_history
from core.machine import gpus
from core.machine.peak_memory import errors_in_words, past_errors
from core.machine.snapshot import Machine, read_machine
from core.runs.store import RunStore
from core.words import size, used_of


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands, "machine", "Show GPUs and who uses them, CPU, memory and disk.", ("machine", "machine --json")
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write what NVML reports to FILE, for tests (default: no file)"
    )

    parser.add_argument("--overwrite", action="store_true", help="with --record: replace FILE where it exists")


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    if arguments.record:
        check_free(arguments.record, "--record", overwrite=arguments.overwrite)
        atomic.write_json(arguments.record, gpus.record())
        answer(arguments, {"path": str(arguments.record)}, f"{arguments.record} written")
        return 0
    store = store_of(arguments)
    limit = site_of(arguments).foreign_memory_mb
    read_machine(store.root)  # the shares of processes are measured between two looks
    time.sleep(0.3)
    now = read_machine(store.root)
    values = asdict(now)
    values["disk"]["path"] = str(now.disk.path)
    errors = past_errors(site_of(arguments).cache)
    values["memory_prediction_errors"] = errors
    people = use_by_person(store, site_of(arguments))
    values["disk"]["people"] = {use.person: use.total for use in people}
    answer(arguments, values, lambda: in_full(now, store, limit, errors, people))
    return 0


def in_full(now: Machine, store: RunStore, limit: float, errors: Sequence[float], people: Sequence[PersonUse]) -> str:
    """What is there, for people. limit: megabytes of others that leave a GPU free for us. errors: see `past_errors`."""
    runs_on = runs_by_device(store)
    rows, lines = [], []
    for gpu in now.gpus:
        runs = runs_on.get(gpu.uuid, [])
        draws = ["images for screens"] if any(each.computes_for_screens for each in gpu.processes) else []
        others = ", ".join(f"{each.user}: {each.command}" for each in gpu.processes if not each.is_ours) or "-"
        rows.append(
            [
                f"GPU {gpu.index}",
                plain(gpu.name),
                gpu.problem or ("-" if gpu.utilization is None else f"{gpu.utilization:.0%}"),
                used_of(gpu.memory_used_bytes, gpu.memory_total_bytes),
                "-" if gpu.temperature_c is None else f"{gpu.temperature_c:.0f} °C",
                ", ".join([*runs, *draws]) or "-",
                plain(others) if gpu.processes_told else "unknown",
                "yes" if not now.gpus_problem and gpus.is_free_for_us(gpu, limit) and not runs else "no",
            ]
        )
    if rows:
        lines.append(table(["device", "model", "busy", "memory", "heat", "our runs", "others", "free for us"], rows))
    elif not now.blind_gpus:
        lines.append("No GPU found; runs train on the CPU.")
    lines += [f"GPU {name}: its driver cannot be read" for name in now.blind_gpus]
    if now.gpus_problem:
        lines.append(f"PyTorch cannot use the GPUs: {plain(now.gpus_problem)}. Runs train on the CPU.")
    lines += [f"On the CPU: {run_id}" for run_id in runs_on.get("cpu", [])]
    cores = f"{now.cpu_count} core{'s' if now.cpu_count > 1 else ''}"
    lines.append(f"CPU: {now.cpu_load:.0%} of {cores} busy")
    lines.append(f"Memory: {size(now.memory_used_bytes)} of {size(now.memory_total_bytes)} used")
    if past := errors_in_words(errors):
        lines.append(f"Runs that finished here: {past}")
    forecast = disk_forecast(read_history(store.root, 7 * 86400.0))
    lines.append(f"Disk: {size(now.disk.free_bytes)} of {size(now.disk.total_bytes)} free; {forecast.words}")
    lines += [f"Disk: {plain(use.in_words)}" for use in people]
    for other in now.others:
        share = f"{other.cpu_share:.0%} of a core, {size(other.memory_bytes)}"
        lines.append(f"Others: {plain(other.user)}: {plain(other.command)} ({share})")
    return "\n".join(lines)
