"""Work against memory: what it needs where, whether that is free now, and what to say when it is not.

Whoever starts something asks here first, and refuses what this machine can never hold. What is only not free now may
wait: the queue does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.config.load import read_site
from core.config.schema import Settings
from core.data import catalog
from core.device import available_cores, cpu_supports_bf16
from core.errors import LabError, NoRoomOnGpu, UsageError
from core.machine.gpus import CONTEXT_BYTES, Gpu
from core.machine.memory import Memory, read_memory
from core.machine.peak_memory import learned_in_words, peaks_of, shape_of
from core.machine.torch_gpus import usable_gpus
from core.models.weight import weigh_drawing, weigh_judge, weigh_training
from core.runs.kinds import Kind
from core.words import counted, size

PROCESS_BYTES = 450_000_000  # measured: anonymous memory of a worker after its imports
RANK_BYTES = (
    150_000_000  # measured: what a rank holds beside its work that is forked from another, whose pages it shares
)
GPU_PROCESS_BYTES = 1_500_000_000  # the same with CUDA
MOST_CLASSES = 1000  # where a dataset was not read yet
LEARNED_MARGIN = 1.05
FEWEST_IMAGES = 16  # of a micro-batch and process: with fewer a step is mostly overhead
LOWER_BATCH = "generate fewer at once: lower sampling.batch_size"


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes that work takes at its peak. gpu: of each GPU, 0 on the CPU. host: of the machine's memory, processes
    included. work: what it is, and lower: what to change, both in words. past: how far the prediction was off before,
    in words; '' where nothing of that shape was measured here."""

    gpu: int
    host: int
    parameters: int = 0
    work: str = ""
    lower: str = ""
    past: str = ""


def uses_gpu(device: str, gpus: Sequence[Gpu]) -> bool:
    """Whether machine.device means a GPU on a machine with these."""
    return device.startswith("cuda") or (device == "auto" and bool(gpus))


def missing_gpus(device: str, num_processes: int, gpus: int) -> str:
    """What machine.device and machine.num_processes ask for and a machine with so many GPUs has not, in words; '' when
    it has all. Each process takes a GPU of its own."""
    if device == "cpu" or (device == "auto" and not gpus):
        return ""
    index = device.partition(":")[2]
    if index and int(index) < gpus:
        return f"{num_processes} GPUs, and machine.device={device} is one" if num_processes > 1 else ""
    if num_processes <= gpus and not index:
        return ""
    wanted = f"GPU {index}" if index else f"{num_processes} GPUs" if num_processes > 1 else "a GPU"
    return f"{wanted}, and this machine has {gpus or 'none'}"


def ranks_of(settings: Settings, kind: Kind, *, on_gpu: bool) -> int:
    """Processes that share the work of a run: those of machine.num_processes.

    Where it says 0: one on a GPU; on a CPU one per core of a slot, see `fair_ranks`. So two runs side by side do not
    fight for cores, and the same machine gives the same number.
    """
    machine = settings.machine
    if not kind.trains or machine.num_processes or on_gpu:
        return machine.num_processes or 1
    train = kind.training_in(settings)
    images = train.batch_size // train.gradient_accumulation_steps
    cores = available_cores() // max(1, read_site()[0].cpu_slots) // (machine.num_threads or 1)
    return fair_ranks(images, cores)


def fair_ranks(images: int, cores: int) -> int:
    """The most processes, one per core, that share so many images evenly with FEWEST_IMAGES each; at least 1."""
    counts = range(1, max(1, min(cores, images // FEWEST_IMAGES)) + 1)
    return max(count for count in counts if images % count == 0)


def need_of(settings: Settings, kind: Kind, *, on_gpu: bool) -> Need:
    """What a run of this kind takes: its training, or for a kind that only generates a batch of it and the judge."""
    channels, classes = _dataset(settings)
    precision = settings.machine.mixed_precision
    bf16 = precision == "bf16" or (precision == "auto" and (on_gpu or cpu_supports_bf16()))
    if kind.trains:
        settings, section = with_ranks(settings, kind, on_gpu=on_gpu), kind.section
        processes = settings.machine.num_processes
        work = f"the training of the {kind.title}"
        lower = f"lower {section}.batch_size, raise {section}.gradient_accumulation_steps, or take smaller "
        lower += f"{kind.name}.block_out_channels"
        weight = weigh_training(settings, kind.name, channels=channels, num_classes=classes, on_gpu=on_gpu, bf16=bf16)
    else:
        processes, images, lower = 1, settings.sampling.batch_size, LOWER_BATCH
        work = f"generating {images:,} images at once"
        judge = weigh_judge(settings, channels=channels, num_classes=classes, on_gpu=on_gpu)
        weight = weigh_drawing(settings, images=images, channels=channels, num_classes=classes, on_gpu=on_gpu)
        weight = max(weight, judge, key=lambda each: each.device_bytes)
    if on_gpu:
        gpu, host = weight.device_bytes + CONTEXT_BYTES, processes * GPU_PROCESS_BYTES + weight.host_bytes
    else:
        gpu, host = 0, processes * weight.device_bytes + PROCESS_BYTES + (processes - 1) * RANK_BYTES
    return Need(gpu=gpu, host=host, parameters=weight.parameters, work=work, lower=lower)


def with_ranks(settings: Settings, kind: Kind, *, on_gpu: bool) -> Settings:
    """The settings with the number of processes that `ranks_of` finds."""
    processes = ranks_of(settings, kind, on_gpu=on_gpu)
    return settings.model_copy(update={"machine": settings.machine.model_copy(update={"num_processes": processes})})


def learned_need(settings: Settings, kind: Kind, *, on_gpu: bool) -> Need:
    """`need_of`, or where trainings of the same shape have finished here, what the largest of the newest took.

    A little more, as runs differ by some megabytes, and never less than half of what the formulas say.
    """
    need = need_of(settings, kind, on_gpu=on_gpu)
    if not kind.trains:
        return need
    shape = shape_of(with_ranks(settings, kind, on_gpu=on_gpu), kind, on_gpu=on_gpu)
    peaks = peaks_of(read_site()[0].cache, shape)
    if not peaks:
        return need
    host = max(need.host // 2, int(LEARNED_MARGIN * max(peak.host for peak in peaks)))
    gpu = max(need.gpu // 2, int(LEARNED_MARGIN * max(peak.gpu for peak in peaks))) if on_gpu else 0
    return replace(need, host=host, gpu=gpu, past=learned_in_words(peaks))


def need_of_drawing(settings: Settings, images: int, *, num_classes: int, on_gpu: bool, frames: int = 0) -> Need:
    """What generating so many images at once takes in a process that has loaded the model. See `weigh_drawing`."""
    weight = weigh_drawing(
        settings,
        images=images,
        channels=_dataset(settings)[0],
        num_classes=num_classes,
        on_gpu=on_gpu,
        frames=frames,
        is_loaded=True,
    )
    return Need(
        gpu=weight.device_bytes if on_gpu else 0,
        host=weight.host_bytes if on_gpu else weight.device_bytes,
        parameters=weight.parameters,
        work=f"generating {counted(images, 'image')} at once",
        lower=LOWER_BATCH,
    )


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """A run against this machine. state: it fits now, waits until other work ends, or never fits. why: in words."""

    need: Need
    state: Literal["fits", "waits", "never"]
    why: str = ""

    def refuse(self) -> None:
        """Raises UsageError when it never fits."""
        if self.state == "never":
            raise UsageError(f"{self.need.work} {self.why}", self.need.lower)


def weigh_run(settings: Settings, kind: Kind) -> Weighed:
    """What a run of this kind would be here and now."""
    (gpus, _), memory = usable_gpus(), read_memory()
    need = learned_need(settings, kind, on_gpu=uses_gpu(settings.machine.device, gpus))
    machine = settings.machine
    missing = missing_gpus(machine.device, machine.num_processes or 1, len(gpus))
    if missing and gpus:  # a driver may be silent
        lower = "lower machine.num_processes or change machine.device"
        return Weighed(need=replace(need, lower=lower), state="never", why=f"takes {missing}")
    if why := never_fits(need, gpus, memory):
        return Weighed(need=need, state="never", why=why)
    free = [gpu.memory_total_bytes - gpu.memory_used_bytes for gpu in gpus if gpu.memory_total_bytes]
    why = is_short(need.gpu, max(free, default=None), "memory of a GPU") or is_short(need.host, memory.free)
    return Weighed(need=need, state="waits" if why else "fits", why=why)


def never_fits(need: Need, gpus: Sequence[Gpu], memory: Memory) -> str:
    """Why this machine can never do it, in words; '' when it can. gpus: those that it may use."""
    totals = [gpu.memory_total_bytes for gpu in gpus if not gpu.problem]
    if need.gpu and totals and 0 < max(totals) < need.gpu:
        return f"takes about {size(need.gpu)} of GPU memory, and the largest GPU has {size(max(totals))} in all"
    if need.host > memory.total:
        return f"takes about {size(need.host)} of memory, and this machine has {size(memory.total)} in all"
    return ""


def is_short(need: int, free: int | None, what: str = "memory") -> str:
    """Why it has to wait, in words; '' when it fits. free: None where nobody tells."""
    if free is None or need <= free:
        return ""
    return f"{what}: it takes about {size(need)}, and {size(max(0, free))} are free"


def refuse_what_is_not_free(need: Need, free_gpu: int | None = None) -> None:
    """Raises UsageError when work that would begin at once does not fit beside what runs. free_gpu: bytes, if known."""
    memory = read_memory()
    if need.gpu and free_gpu is not None and need.gpu > free_gpu:
        raise NoRoomOnGpu(
            f"{need.work} takes about {size(need.gpu)} of GPU memory, and {size(free_gpu)} are free",
            f"{need.lower}, or use the CPU: machine.device=cpu",
        )
    if need.host > memory.free:
        why = never_fits(need, (), memory) or (
            f"takes about {size(need.host)} of memory, and {size(memory.free)} are free"
        )
        raise UsageError(f"{need.work} {why}", need.lower)


def refuse_loading(name: str, num_bytes: int) -> None:
    """Raises UsageError when a model of so many bytes on the disk does not fit into free memory."""
    if why := is_short(num_bytes, read_memory().free, f"{name}: no memory to load it"):
        raise UsageError(why, "wait until other work ends, or choose a smaller model")


def _dataset(settings: Settings) -> tuple[int, int]:
    """(channels, classes) as far as they are known before the dataset is read; else the most there may be."""
    try:
        entry = catalog.entry(settings.data.name)
        channels, classes = entry.channels, entry.classes
    except LabError:
        channels = classes = None
    fixed = {"gray": 1, "rgb": 3}.get(settings.data.color)
    return fixed or channels or 3, classes or MOST_CLASSES
