"""The process that works on a run: it knows who asked it to stop, and writes down how the work ended.

Started by the shim of an attempt, once or, through torchrun, once per GPU; on a CPU it forks the other ranks itself.
Only the main rank writes into the run.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from core.config.load import read_site
from core.device import resolve_device
from core.errors import LabError, RankLost, RunBusy, StorageFull, is_full_disk, is_full_gpu
from core.jobs.confinement import confine
from core.jobs.exit_reason import FULL_DISK, Ending, asked_to_end, write_ending
from core.jobs.orders import check_seal
from core.jobs.request import asked_settings, read_request, shown_request
from core.jobs.worker_stop import StopRequests
from core.machine import peers
from core.machine.attempts import TOKEN_VARIABLE
from core.machine.cpu_load import processor_name
from core.machine.peak_memory import Peak, note_peak, shape_of
from core.machine.processes import own_identity
from core.runs.kinds import function_at
from core.runs.listing import kept_step, list_checkpoints
from core.runs.lock import FileLock, try_lock
from core.runs.run import Run, RunState
from core.runs.store import RunStore, lock_path
from core.weighing import need_of, ranks_of, with_ranks

if TYPE_CHECKING:
    from core.training.session import Outcome

logger = logging.getLogger(__name__)

GOOD_ENDS = (RunState.FINISHED, RunState.STOPPED, RunState.INTERRUPTED, RunState.QUEUED)
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Trainer(Protocol):
    """What trains one kind of run; see core.training.train_vae.train."""

    def __call__(
        self,
        run: Run,
        *,
        data_dir: Path,
        cache_dir: Path,
        store_root: Path,
        should_stop: Callable[[], bool],
    ) -> Outcome:
        """Train until the end or until should_stop()."""
        ...


def work(store: RunStore, run: Run, stops: StopRequests, trainers: Mapping[str, Trainer] | None = None) -> RunState:
    """Train the run to its end, to a stop, or to an error, and write down which.

    Raises StorageFull where the disk was too full to train or to write that down: the exit code tells it.
    """
    try:
        check_seal(run)
        if is_main_rank():
            _begin(run)
        if stops.is_asked():
            return _end(run, asked_to_end(run, stops.request, stops.signal, run.status().step))
        trainer = (trainers or {}).get(run.info.kind)
        if trainer is None:
            trainer = function_at(run.kind.worker)  # imported before, and so only once, for all processes
            _share_cores(run)
        if not is_main_rank():
            logging.getLogger().setLevel(logging.WARNING)  # what goes well, the first says for all
        site, _ = read_site()
        try:
            outcome = trainer(
                run,
                data_dir=site.data,
                cache_dir=site.cache,
                store_root=store.root,
                should_stop=stops.is_asked,
            )
        finally:
            peers.release()
    except Exception as error:  # the last line of defence: whatever went wrong is told in the run
        if is_lost_peer(error):  # the rank that went first knows why, or nobody does
            logger.error("another rank is gone: %s", str(error).splitlines()[0] if str(error) else error)
            return RunState.FAILED
        failed = Ending(state=RunState.FAILED, reason=failure_in_words(error, run))
        state = _end(run, failed, everywhere=True)
        if is_full_disk(error):
            raise StorageFull(failed.reason) from error
        return state
    if outcome.state is RunState.STOPPED:
        stops.look()
        ending = asked_to_end(run, stops.request, stops.signal or "a signal", outcome.step)
        return _end(run, ending, step=outcome.step)
    if outcome.peak and is_main_rank():
        _note_memory(run, outcome.peak, site.cache)
    state = _end(run, Ending(state=outcome.state, reason=outcome.reason), step=outcome.step)
    if state is RunState.FINISHED and run.kind.after and is_main_rank():
        function_at(run.kind.after)(store, run)
    return state


def _note_memory(run: Run, taken: tuple[int, int], cache: Path) -> None:
    """What the run took at its peak, beside what was predicted: in its record, and for the next of its shape."""
    settings, (host, gpu) = asked_settings(run, shown_request(run)), taken
    need = need_of(settings, run.kind, on_gpu=gpu > 0)
    peak = Peak(host=host, gpu=gpu, predicted_host=need.host, predicted_gpu=need.gpu)
    note_peak(cache, shape_of(with_ranks(settings, run.kind, on_gpu=gpu > 0), run.kind, on_gpu=gpu > 0), peak)
    run.put_on_record("memory", **asdict(peak))


def _share_cores(run: Run) -> None:
    """On a CPU, become the first of the processes that share this training."""
    if "WORLD_SIZE" in os.environ or not run.kind.trains:
        return
    on_gpu = resolve_device(run.settings.machine.device).type == "cuda"
    ranks = ranks_of(asked_settings(run, read_request(run)), run.kind, on_gpu=on_gpu)
    if ranks > 1 and not on_gpu:
        from core.training.ranks import become_ranks

        become_ranks(ranks)


def _begin(run: Run) -> None:
    goes_on = bool(list_checkpoints(run)) or kept_step(run) > 0
    state = RunState.RESUMING if goes_on else RunState.STARTING
    run.write_status(replace(run.status(), state=state, stage="loading PyTorch", reason="", process=own_identity()))
    details: dict[str, Any] = {"processor": processor_name()}
    if goes_on:
        details["from_step"] = kept_step(run)
    run.add_event("resumed" if goes_on else "started", by=run.info.owner, **details)


def is_main_rank() -> bool:
    """True in the process that writes into the run folder."""
    return os.environ.get("RANK", "0") == "0"


def _end(run: Run, ending: Ending, *, step: int | None = None, everywhere: bool = False) -> RunState:
    """The run's last word, by the main rank or, `everywhere`, by any. A full disk does not hide it from the log."""
    log = logger.error if ending.state is RunState.FAILED else logger.info
    log("run %s %s", run.id, f"{ending.state}: {ending.reason}" if ending.reason else ending.state)
    if is_main_rank() or (everywhere and run.status().state.is_active):
        try:
            write_ending(run, ending, step=step)
        except OSError as error:
            logger.error("run %s: its end could not be written down: %s", run.id, error)
            if is_full_disk(error):
                raise StorageFull(FULL_DISK) from error
    return ending.state


def is_lost_peer(error: BaseException) -> bool:
    """True when a rank failed only because another one left it: the connection between them is gone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return False
    lost = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "broken pipe", "socket")
    is_distributed = isinstance(error, RankLost) or type(error).__name__ in (
        "DistBackendError",
        "DistNetworkError",
        "DistStoreError",
    )
    return is_distributed or (isinstance(error, RuntimeError) and any(word in str(error).lower() for word in lost))


def failure_in_words(error: BaseException, run: Run | None = None) -> str:
    """One sentence for a person; what is unexpected goes to the log with its traceback."""
    if isinstance(error, LabError):
        return str(error)
    if is_full_disk(error):
        return f"{FULL_DISK}; free some space and resume"
    logger.error("unexpected error", exc_info=error)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return f"the machine ran out of memory; {_what_to_lower(run)}"
    if is_full_gpu(error):
        return f"the GPU ran out of memory; {_what_to_lower(run)}"
    first_line = (str(error).splitlines() or [""])[0][:300]
    return f"unexpected {type(error).__name__}: {first_line}; the log has the details"


def _what_to_lower(run: Run | None) -> str:
    try:
        assert run is not None
        if not run.kind.trains:
            return f"start it again with sampling.batch_size below {run.settings.sampling.batch_size}"
        section, train = run.kind.section, run.train_settings
        parts, batch = train.gradient_accumulation_steps, train.batch_size
        return (
            f"set {section}.gradient_accumulation_steps to {parts * 2} (now {parts}), which changes nothing else, or "
            f"{section}.batch_size below {batch}"
        )
    except (LabError, AssertionError):
        return "use a smaller batch_size or more gradient_accumulation_steps"


def take_run_lock(run: Run) -> FileLock:
    """The run's lock, held until the process ends. Raises RunBusy while another process has it."""
    lock = try_lock(lock_path(run), patience_s=2.0)
    if lock is None:
        raise RunBusy(f"run {run.id} is being worked on by another process", "wait for it, or stop it first")
    return lock


def main(argv: Sequence[str] | None = None, *, trainers: Mapping[str, Trainer] | None = None) -> int:
    """Train the run named on the command line. Returns the exit code; the run folder tells what happened.

    trainers: kind → function; the default trains for real.
    """
    parser = argparse.ArgumentParser(prog="python -m core.jobs.worker", description="Train a run; see the queue.")
    parser.add_argument("--runs", type=Path, required=True, help="the runs folder")
    parser.add_argument("run", help="run id")
    arguments = parser.parse_args(argv)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr, force=True)
    store = RunStore(arguments.runs)
    try:
        confine(store.root)
        run = store.get(arguments.run)
        if not os.environ.get(TOKEN_VARIABLE):  # started by hand: no shim holds the run's lock
            take_run_lock(run)
    except LabError as error:
        logger.error("%s", error)
        return error.exit_code
    stops = StopRequests(run)
    stops.install()
    process = os.getpid()
    try:
        state = work(store, run, stops, trainers)
        code = 0 if state in GOOD_ENDS else 1
    except StorageFull as error:
        code = error.exit_code
    if os.getpid() != process:  # another rank, forked in between: what the first has to do at its end is not its own
        os._exit(code)
    return code


def end_with(code: int) -> NoReturn:
    """End this process as `sys.exit` would, without taking apart what was imported: that takes PyTorch a second, in
    which nothing of the run is left to do and the next one waits."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    end_with(main())
