"""A run as a job: what of its settings the queue needs to know."""

from __future__ import annotations

import contextlib
import os

from core.config.load import read_site
from core.config.site import FOLDERS, resolve_path
from core.config.strict_yaml import read_yaml
from core.errors import LabError
from core.jobs.orders import Orders
from core.jobs.queue import Job
from core.jobs.request import asked_settings, read_request
from core.jobs.serving import FOLDER
from core.machine.attempts import ATTEMPT_FILE, current_attempt, read_file, texts_in
from core.runs.kinds import function_at
from core.runs.run import Run

CARRIED = ("LAB_DATA", "LAB_CACHE", "LAB_IMPORTS")  # folders that a training reads


def job_for(run: Run, *, code: str = "") -> Job:
    """The job of a run. Its folders go with it: see `folders_of`.

    Raises LabError for a request that is not understood.
    """
    request = read_request(run)
    try:
        machine = asked_settings(run, request).machine
        device, num_processes = machine.device, machine.num_processes or 1
    except LabError:  # unreadable settings: the worker says so in the run
        device, num_processes = "auto", 1
    return Job(
        run_id=run.id,
        priority=request.priority,
        owner=run.info.owner,
        device=device,
        num_processes=num_processes,
        depends_on=run.info.parents if run.kind.vae == "copy" else (),
        attempt=current_attempt(run.folder),  # a queue that forgot the run must not give a number twice
        environment=folders_of(run),
        code=code,
        uid=os.geteuid(),
        request=request,
    )


def folders_of(run: Run) -> dict[str, str]:
    """The folders that its training reads, by their LAB_* variables.

    Each is the one that this process's environment names, else that of the last attempt, else the site's. A run of
    settings format 1 has its own in its config.yaml. In a runs folder that accounts share, what the run's folder says
    of them is not believed: the account's own last order is.
    """
    site = read_site()[0].environment()
    orders = Orders(run.folder.parent / FOLDER)
    if orders.are_kept:
        order = orders.known(run.id)
        before: dict[str, object] = dict(order.environment) if order else {}
    else:
        before = _folders_before(run)
    return {name: os.environ.get(name) or str(before.get(name) or site[name]) for name in CARRIED}


def _folders_before(run: Run) -> dict[str, object]:
    """Those that the run's folder tells: of its last attempt, and of settings of format 1."""
    before: dict[str, object] = {}
    with contextlib.suppress(LabError):
        paths = read_yaml(run.config_path).get("paths")
        if isinstance(paths, dict):
            named = {name: paths.get(FOLDERS[name]) for name in CARRIED}
            before = {name: str(resolve_path(text)) for name, text in named.items() if isinstance(text, str) and text}
    last = read_file(run.folder, ATTEMPT_FILE, current_attempt(run.folder)) or {}
    return before | texts_in(last.get("environment"))


def work_of(run: Run) -> int:
    """Steps of a whole run, in the sense of `signature_of`. Raises ConfigError, UsageError like it."""
    if run.kind.work:
        return int(function_at(run.kind.work)(run))
    return run.train_settings.steps


BEGINNING = ("zero_init",)  # settings of a network that decide its first weights and no time


def signature_of(run: Run) -> str:
    """Runs of equal signature take about equally long a step: same kind, data, networks, batch and device setting.

    A step of a comparison is one pass of one picture through the U-Net.
    Raises ConfigError when the settings cannot be read.
    """
    settings = run.settings
    network = settings.vae.model_dump(mode="json", exclude=set(BEGINNING))
    if run.kind.vae != "own":
        network |= settings.unet.model_dump(mode="json", exclude=set(BEGINNING))
    batch = [settings.sampling.batch_size]
    if run.kind.trains:
        batch = [run.train_settings.batch_size, run.train_settings.gradient_accumulation_steps]
    parts = [
        run.info.kind,
        settings.data.name,
        settings.data.image_size,
        *batch,
        settings.machine.device,
        1 if settings.machine.num_threads is None else settings.machine.num_threads,
        settings.machine.num_processes,
        settings.machine.mixed_precision,
        settings.machine.cuda_graphs,
        *(f"{name}={value}" for name, value in sorted(network.items())),
    ]
    return "|".join(map(str, parts))
