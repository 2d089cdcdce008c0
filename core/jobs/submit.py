"""A run as a job: what of its settings the queue needs to know."""

from __future__ import annotations

import os

from core.errors import LabError
from core.jobs.queue import Job
from core.runs.run import Run

CARRIED = ("LAB_DATA", "LAB_CACHE")


def job_for(run: Run, *, priority: int = 0, code: str = "") -> Job:
    """The job of a run. The folders that this process's environment names go with it, as everywhere."""
    try:
        machine = run.settings.machine
        device, num_processes = machine.device, machine.num_processes
    except LabError:  # unreadable settings: the worker says so in the run
        device, num_processes = "auto", 1
    return Job(
        run_id=run.id,
        priority=priority,
        owner=run.info.owner,
        device=device,
        num_processes=num_processes,
        depends_on=run.info.parents if run.info.kind == "unet" else (),
        environment={name: os.environ[name] for name in CARRIED if os.environ.get(name)},
        code=code,
    )


def signature_of(run: Run) -> str:
    """Runs of equal signature take about equally long a step: same kind, data, networks, batch and device setting.

    Raises ConfigError when the settings cannot be read.
    """
    settings = run.settings
    kind = run.info.kind
    section = run.train_settings
    network = settings.vae.model_dump(mode="json") | (settings.unet.model_dump(mode="json") if kind == "unet" else {})
    parts = [
        kind,
        settings.data.name,
        settings.data.image_size,
        section.batch_size,
        section.gradient_accumulation_steps,
        settings.machine.device,
        settings.machine.num_threads,
        settings.machine.num_processes,
        settings.machine.mixed_precision,
        *(f"{name}={value}" for name, value in sorted(network.items())),
    ]
    return "|".join(map(str, parts))
