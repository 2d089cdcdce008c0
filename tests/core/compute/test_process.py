"""The process that computes: records, errors, cancelling, death, memory, idleness, and the end of its server."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.compute import process
from core.compute.process import Compute
from core.compute.question import Answer, Progress
from core.errors import LabError, UsageError
from tests.core.compute import toys

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def compute() -> Iterator[Compute]:
    made = Compute(budget_bytes=600e6)
    yield made
    made.end()


def answer(compute: Compute, question: object, *request: object) -> object:
    *_, last = compute.remote(question, *request)  # type: ignore[arg-type]
    assert isinstance(last, Answer)
    return last.value


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_true():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_records_arrive_in_order_with_their_arrays_and_the_answer_last(compute: Compute) -> None:
    *told, last = compute.remote(toys.COUNT, 20)
    assert [each.look[2, 1] for each in told] == list(range(20))
    assert all(isinstance(each, Progress) and each.stage == "counting" for each in told)
    told[0].look[:] = 1.0  # arrays belong to whoever receives them
    assert last == Answer(value=20)


def test_one_process_answers_all_and_begins_with_the_first_question(compute: Compute) -> None:
    assert compute.pid is None
    pids = {answer(compute, toys.WHO) for _ in range(3)}
    assert pids == {compute.pid} and os.getpid() not in pids


def test_what_is_imported_is_frozen_and_garbage_is_looked_for_again(compute: Compute) -> None:
    assert answer(compute, toys.COLLECTS) is True


def test_a_problem_arrives_in_its_own_words(compute: Compute) -> None:
    with pytest.raises(UsageError, match="label: must be from 0 to 9, got 12; choose another one"):
        answer(compute, toys.REFUSE)
    with pytest.raises(LabError, match="too steep; flatten it"):
        answer(compute, toys.OWN_ERROR)
    with pytest.raises(LabError, match="unexpected ValueError: no such axis"):
        answer(compute, toys.SPLIT)
    with pytest.raises(LabError, match="unexpected AttributeError"):
        answer(compute, toys.NOWHERE)


def test_closing_cancels_over_there(compute: Compute, tmp_path: Path) -> None:
    records = compute.remote(toys.FOREVER, tmp_path / "mark")
    next(records)
    records.close()
    wait_until(lambda: (tmp_path / "mark").read_text() == "ended")
    assert list(records) == []


def test_records_that_nobody_holds_are_cancelled(compute: Compute, tmp_path: Path) -> None:
    next(compute.remote(toys.FOREVER, tmp_path / "mark"))
    wait_until(lambda: (tmp_path / "mark").read_text() == "ended")


def test_a_death_is_one_sentence_for_all_who_wait_and_the_next_question_has_a_new_process(
    compute: Compute, tmp_path: Path
) -> None:
    other = compute.remote(toys.FOREVER, tmp_path / "mark")
    first = next(other) and compute.pid
    for records in (compute.remote(toys.DIE), other):
        with pytest.raises(LabError, match=r"the process that computes ended \(killed by signal SIGKILL\); try again"):
            list(records)
    assert answer(compute, toys.WHO) != first


@pytest.mark.slow
def test_too_much_memory_ends_it_with_the_budget_in_words(compute: Compute) -> None:
    with pytest.raises(LabError, match=r"more than the 0\.6 GB that screens may compute with"):
        list(compute.remote(toys.GROW, 700))
    assert answer(compute, toys.COUNT, 2) == 2


def test_it_ends_when_idle_but_not_while_it_is_watched_or_works(tmp_path: Path) -> None:
    watched = [True]
    compute = Compute(budget_bytes=1e9, idle_s=0.3, is_watched=lambda: watched[0])
    pid = answer(compute, toys.WHO)
    assert isinstance(pid, int)
    list(zip(compute.remote(toys.FOREVER, tmp_path / "mark"), range(60), strict=False))  # longer than idle_s
    assert compute.pid == pid
    working = compute.remote(toys.FOREVER, tmp_path / "mark")
    next(working)
    watched[0] = False
    list(zip(working, range(60), strict=False))
    assert compute.pid == pid
    working.close()
    wait_until(lambda: not is_alive(pid))
    assert answer(compute, toys.WHO) != pid
    compute.end()


def test_one_that_holds_a_gpu_gives_way_to_a_waiting_run() -> None:
    wanted = [False]
    compute = Compute(budget_bytes=1e9, is_watched=lambda: True, is_wanted=lambda: wanted[0])
    pid = answer(compute, toys.HOLD_GPU)
    assert pid == answer(compute, toys.HOLD_GPU)
    wanted[0] = True
    wait_until(lambda: not is_alive(int(str(pid))))
    compute.end()


def test_it_dies_with_its_server_even_in_the_middle_of_work(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from core.compute.process import Compute; from tests.core.compute import toys\n"
        f"c = Compute(budget_bytes=1e9); r = c.remote(toys.FOREVER, Path({str(tmp_path / 'mark')!r})); next(r)\n"
        "print(c.pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert is_alive(pid)
        server.send_signal(signal.SIGKILL)
        server.wait()
        wait_until(lambda: not is_alive(pid))


def test_an_array_of_no_elements_and_a_large_one_survive_the_wire(compute: Compute) -> None:
    assert np.array_equal(answer(compute, toys.ECHO, np.empty((0, 3))), np.empty((0, 3)))
    large = np.arange(3_000_000)
    assert np.array_equal(answer(compute, toys.ECHO, large), large)


def test_an_answer_that_is_too_large_or_cannot_be_sent_is_one_sentence(compute: Compute) -> None:
    with pytest.raises(LabError, match=r"a screen takes at most 536\.9 MB at once; ask for fewer images or steps"):
        answer(compute, toys.HUGE)
    with pytest.raises(LabError, match="unexpected"):
        answer(compute, toys.UNSPEAKABLE)
    assert answer(compute, toys.COUNT, 1) == 1


def test_a_server_with_a_thousand_open_files_asks_as_ever(compute: Compute) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    held = []
    try:
        while not held or held[-1] < 1100:
            held.append(os.dup(2))
        records = compute.remote(toys.WHO)
        assert records.is_ready(600)
        assert next(records) == Answer(value=compute.pid)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_one_that_is_stopped_from_outside_is_told_and_replaced(
    compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PATIENCE_S", 0.2)
    records = compute.remote(toys.FOREVER, tmp_path / "mark")
    next(records)
    os.kill(compute.pid or 0, signal.SIGSTOP)
    with pytest.raises(LabError, match="was stopped from outside, so it was ended; try again"):
        list(records)
    assert answer(compute, toys.COUNT, 1) == 1


def test_a_gpu_that_a_cancelled_drawing_took_is_given_back_too() -> None:
    compute = Compute(budget_bytes=1e9, is_watched=lambda: True, is_wanted=lambda: True)
    records = compute.remote(toys.BEGIN_ON_GPU)
    next(records)
    pid = compute.pid or 0
    records.close()
    wait_until(lambda: not is_alive(pid))


def test_its_memory_is_watched_on_when_a_question_of_the_watcher_fails() -> None:
    asked = []

    def is_watched() -> bool:
        asked.append(1)
        raise RuntimeError("no runtime")

    compute = Compute(budget_bytes=300e6, is_watched=is_watched)
    assert answer(compute, toys.COUNT, 1) == 1
    wait_until(lambda: len(asked) > 1)
    with pytest.raises(LabError, match=r"more than the 0\.3 GB"):
        list(compute.remote(toys.GROW, 400))
    compute.end()


def test_one_without_room_for_a_question_goes_on_with_the_others(compute: Compute) -> None:
    going = compute.remote(toys.TICK)
    next(going)
    answer(compute, toys.FEW_FILES, 0)
    more = [compute.remote(toys.TICK) for _ in range(4)]
    with pytest.raises(LabError, match="takes no more questions now; try again"):
        for each in more:
            next(each)
    next(going)
