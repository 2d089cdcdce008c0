"""The queue as people see it: who is next, what each waits for, and when it will probably start."""

from __future__ import annotations

from core import atomic
from core.config.load import read_site
from core.config.schema import Settings
from core.jobs.accounts import service_folder
from core.jobs.engines.choose import elsewhere_of, observed_status
from core.jobs.making_room import made_room
from core.jobs.memory_needs import less_what_comes, needs_of
from core.jobs.prediction import Predictions
from core.jobs.queue import Job, JobState, Queue
from core.jobs.queue_entry import NextPlace, Node, QueueEntry, SupervisorState
from core.jobs.serving import facts_of, is_served, stillness
from core.jobs.slots import CPU, Device, choose, device_of, find_devices, slots_of
from core.jobs.turns import standings, turns
from core.runs.kinds import Kind
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from core.weighing import learned_need


def queue_view(store: RunStore) -> list[QueueEntry]:
    """Live runs, then those that wait in the order of their turn, then paused ones in between at their place."""
    if elsewhere := elsewhere_of(store):
        return elsewhere.entries()
    queue = Queue(store.root)
    site, predictions = read_site()[0], Predictions(store, queue)
    jobs = [job for job in queue.jobs() if (store.root / job.run_id / "run.json").is_file()]
    jobs = [job for job in jobs if job.state is JobState.LIVE] + turns(queue, site, jobs, predictions.left_s).order
    if not jobs:
        return []
    standing = standings(queue, site, jobs)
    devices = find_devices(site) if any(job.state is not JobState.LIVE for job in jobs) else []
    forecast = _Forecast(queue, predictions, devices)
    full = "room on the disk, which is full" if atomic.is_full(store.root) else ""
    entries = []
    turn = 0
    for job in jobs:
        run = Run(store.root / job.run_id)
        status = observed_status(run)
        start_s: float | None
        end_s: float | None
        if job.state is JobState.LIVE:
            state = str(status.state) if status.state.is_active else str(RunState.RUNNING)  # its last breath
            end_s = forecast.add_live(job, status.eta_s)
            start_s, words, place, device = 0.0, "", 0, status.device or job.device
        else:
            turn += 1
            state, place, device = str(job.state), turn, job.device
            words = "its owner to resume it" if job.state is JobState.PAUSED else full or job.waits_for
            start_s, end_s = (None, None) if job.state is JobState.PAUSED else forecast.add_waiting(job)
        entries.append(
            QueueEntry(
                run=run,
                state=state,
                place=place,
                priority=job.priority,
                owner=job.owner,
                device=device,
                slots=job.slots,
                waits_for=words,
                expected_start_s=start_s,
                expected_end_s=end_s,
                started_at=job.started_at,
                standing=standing.get(job.run_id),
                made_room="" if job.state is JobState.LIVE else made_room(run),
            )
        )
    return entries


def place_for_next(store: RunStore, settings: Settings, kind: Kind) -> NextPlace:
    """Whether a run queued now would start at once."""
    if elsewhere := elsewhere_of(store):
        return elsewhere.place_for_next(settings, kind)
    queue, machine = Queue(store.root), settings.machine
    waiting = [job for job in queue.jobs(JobState.QUEUED) if job.request.starts_s <= queue.clock()]
    devices = less_what_comes(find_devices(read_site()[0]), store, queue.jobs(JobState.LIVE))
    taken, reserved = set(queue.leases()), set[str]()
    for job in waiting:
        needs = needs_of(Run(store.root / job.run_id))
        reserved |= choose(job.device, job.num_processes, devices, taken, reserved, needs).keeps
    choice = choose(
        machine.device,
        machine.num_processes or 1,
        devices,
        taken,
        reserved,
        lambda on_gpu: learned_need(settings, kind, on_gpu=on_gpu),
    )
    lacks = choice.waits_for if choice.lacks_memory else ""
    return NextPlace(at_once=bool(choice.slots), waiting=len(waiting), lacks=lacks)


def nodes(store: RunStore) -> list[Node] | None:
    """The machines on which runs start; None where they start on this one."""
    elsewhere = elsewhere_of(store)
    return None if elsewhere is None else elsewhere.nodes()


def waits_for(store: RunStore, run: Run) -> str:
    """What a run waits for, in words; '' where nobody knows."""
    if elsewhere := elsewhere_of(store):
        return next((entry.waits_for for entry in elsewhere.entries() if entry.run.id == run.id), "")
    job = Queue(store.root).job(run.id)
    return "" if job is None else job.waits_for


def a_run_waits_for_drawings(store: RunStore) -> bool:
    """Whether a queued run may take a GPU with a free slot on which the lab draws for a screen."""
    if elsewhere_of(store):
        return False
    queue = Queue(store.root)
    due = (job for job in queue.jobs(JobState.QUEUED) if job.request.starts_s <= queue.clock())
    waiting = [job for job in due if job.device != CPU]
    if not waiting:  # the GPUs are asked for a queue only
        return False
    taken, devices = queue.leases(), find_devices(read_site()[0])
    drawing = {device.name for device in devices if device.draws and set(slots_of(device)) - set(taken)}
    return any(drawing & choose(job.device, job.num_processes, devices, taken).keeps for job in waiting)


def runs_by_device(store: RunStore) -> dict[str, list[str]]:
    """Device ('GPU-…' or 'cpu') → ids of the runs on it; none where runs start on other machines."""
    if elsewhere_of(store):
        return {}
    found: dict[str, list[str]] = {}
    for slot, run_id in sorted(Queue(store.root).leases().items()):
        found.setdefault(device_of(slot), []).append(run_id)
    return found


def queue_problem(store: RunStore) -> str:
    """Why this machine's queue cannot be read, in words; '' for nothing."""
    return "" if elsewhere_of(store) else Queue(store.root).problem


def supervisor_state(store: RunStore) -> SupervisorState:
    """Whether the supervisor of this runs folder lives; in one that accounts share, this account's."""
    if elsewhere := elsewhere_of(store):
        return elsewhere.state()
    queue = Queue(store.root)
    full = f"the disk of {store.root} is full: nothing starts, and nothing is written down, until some space is free"
    problem = queue.problem or (full if atomic.is_full(store.root) else "")
    folder = service_folder(queue.folder)
    if not is_served(folder):
        return SupervisorState(alive=False, problem=problem)
    facts = facts_of(folder)
    problem = problem or stillness(folder) or facts.problem
    return SupervisorState(alive=True, started_at=facts.started_at, problem=problem)


class _Forecast:
    """Plays the queue forward: slots become free when their runs are expected to end."""

    def __init__(self, queue: Queue, predictions: Predictions, devices: list[Device]) -> None:
        self.queue, self.predictions, self.devices = queue, predictions, devices
        self.free_at: dict[str, float | None] = {  # nobody knows when strangers leave
            slot: None if device.problem else 0.0 for device in devices for slot in slots_of(device)
        }
        self.end_of: dict[str, float | None] = {}

    def add_live(self, job: Job, eta_s: float | None) -> float | None:
        for slot in job.slots:
            self.free_at[slot] = eta_s
        self.end_of[job.run_id] = eta_s
        return eta_s

    def add_waiting(self, job: Job) -> tuple[float | None, float | None]:
        """(start, end) in seconds from now, as far as they can be known."""
        wants = choose(job.device, job.num_processes, self.devices, ()).wants
        count = 1 if wants == {CPU} else job.num_processes
        slots = [slot for slot in self.free_at if device_of(slot) in wants]
        known = sorted((time, slot) for slot in slots if (time := self.free_at[slot]) is not None)
        parents = [self.end_of.get(parent, 0.0) for parent in job.depends_on]
        start: float | None = None
        if len(known) >= count and all(end is not None for end in parents):
            later = job.request.starts_s - self.queue.clock()
            start = max([known[count - 1][0], later, *(end for end in parents if end is not None)])
        takes = self.predictions.left_s(job)
        end = start + takes if start is not None and takes is not None else None
        for _, slot in known[:count]:
            self.free_at[slot] = end
        self.end_of[job.run_id] = end
        return start, end
