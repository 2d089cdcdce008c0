"""How an attempt at a run gets its processes: a shim that inherits the run's lock, and what it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from core.home import code_root, python_path
from core.jobs.exit_reason import grace_s
from core.jobs.fork_server import ForkServer
from core.jobs.plain_lines import WITHOUT_BARS
from core.jobs.queue import Job
from core.jobs.request import JobRequest
from core.jobs.slots import CPU, Device
from core.machine import attempts
from core.machine.outside import outside
from core.runs.lock import FileLock
from core.runs.run import Run

# glibc returns what a step freed to the kernel, which clears each page anew for the next step: 2,000 to 4,600 page
# faults per step, 5 % of its CPU time. These thresholds keep it; the peak is the same (docs/log.md).
KEEPS_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


def worker_command(run: Run, num_processes: int, worker: Sequence[str] | None = None) -> list[str]:
    """The worker, or torchrun with one worker per GPU. worker: another training command line.

    On a CPU the worker makes the other processes itself: see `core.training.ranks`.
    """
    tail = ["--runs", str(run.folder.parent.resolve()), run.id]
    if worker:
        return [*worker, *tail]
    module = ["-m", "core.jobs.worker"]
    if num_processes == 1:
        return [sys.executable, *module, *tail]
    return [*torchrun(num_processes), *module, *tail]


def torchrun(ranks: int, *, nodes: int = 1, meeting: str = "", name: str = "") -> list[str]:
    """The launcher of so many workers on this node, before the worker's own words; for several nodes, on each of them.

    meeting: host:port of the first node, where they find each other. name: the same on all nodes, and of no other run.
    """
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}"]
    if nodes == 1:
        return [*launcher, "--standalone"]
    return [*launcher, f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}", f"--rdzv-id={name}"]


def worker_environment(
    run: Run, job: Job, devices: Sequence[Device], code: Path, *, seal: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """The training's surroundings: the submitter's folders, the frozen code, and its GPUs and no others. seal: see
    `core.jobs.orders`."""
    on_cpu = all(device.name == CPU for device in devices)
    return {
        **surroundings(code, on_cpu=on_cpu, more=job.environment),
        **seal,
        "LAB_DEVICE": "cpu" if on_cpu else "cuda",
        "CUDA_VISIBLE_DEVICES": "" if on_cpu else ",".join(device.visible for device in devices),
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": f"{grace_s(run):.0f}",
    }


def surroundings(code: Path, *, on_cpu: bool, more: Mapping[str, str]) -> dict[str, str]:
    """What all workers have in common that import this code; `more`: of the job."""
    return {
        **(KEEPS_MEMORY if on_cpu else {}),
        **os.environ,
        **more,
        "LAB_PROJECT": str(code_root()),
        "PYTHONPATH": python_path(code),
        "PYTHONUNBUFFERED": "1",
        **WITHOUT_BARS,
        "PYTHONDONTWRITEBYTECODE": "1",  # what a full disk cuts short would break every later import of the frozen code
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def _age_s(run: Run, attempt: int) -> float:
    """How long the training of a living attempt has lived, by a clock that nobody sets; 0 where that is not known."""
    pid = (attempts.read_file(run.folder, attempts.ATTEMPT_FILE, attempt) or {}).get("worker_pid")
    stat = attempts.living_stat(pid) if isinstance(pid, int) else None
    if stat is None or not isinstance(pid, int) or attempts.run_of(pid) != run.id:
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / os.sysconf("SC_CLK_TCK"))


def start_shim(
    run: Run,
    attempt: int,
    lock: FileLock,
    command: Sequence[str] | None,
    *,
    environment: Mapping[str, str],
    folder: Path,
    log_path: Path,
    request: JobRequest,
    forks: ForkServer | None = None,
) -> subprocess.Popen[bytes] | None:
    """A shim that starts the command, or without one adopts what lives; None when it is not this process's child.

    lock: the run's, never free in between. folder: where its code is imported from. forks: what may fork both instead.
    request: its time limit counts from the start of the training.
    """
    place = run.folder.parent.resolve() / run.id  # not where a link in its place leads
    shim = [sys.executable, "-m", "core.jobs.shim", "--run", str(place), "--attempt", str(attempt)]
    shim += ["--grace", f"{grace_s(run):g}"]
    if request.time_limit_s is not None:
        passed = 0.0 if command is not None else _age_s(run, attempt)
        shim += ["--limit", f"{max(0.0, request.time_limit_s - passed):g}", *(["--requeue"] if request.requeue else [])]
    if command is not None and forks is not None:
        token, log = attempts.token_of(run.folder.name, attempt), run.log_path.resolve()
        if forks.start(shim, command, token=token, environment=environment, folder=folder, log=log, lock=lock):
            return None
    shim += ["--lock", str(lock.descriptor), *(["--adopt"] if command is None else ["--", *command])]
    try:
        with log_path.open("ab") as own:
            return outside(
                subprocess.Popen,
                shim,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=own,
                stderr=own,
                start_new_session=True,
                pass_fds=[lock.descriptor],
            )
    except OSError as error:
        if command is not None:
            end = {
                "format": attempts.FORMAT,
                "attempt": attempt,
                "exit_code": None,
                "problem": f"its process did not start: {error.strerror}",
            }
            attempts.write_exit(run.folder, end)
        return None
