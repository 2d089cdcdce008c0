"""The Machine screen: whose the devices are, the queue and its buttons, the disk, the clean-up, the trash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.errors import RunBusy
from core.jobs import disk, queue_order, queue_view, service, telemetry
from core.jobs.disk import CleanupPlan, Item
from core.jobs.queue_entry import QueueEntry, SupervisorState
from core.machine import snapshot as core_machine
from core.machine.gpus import Gpu, GpuProcess
from core.runs import trash
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from core.runs.trash import Trashed
from lab.frame.state import WHO_KEY
from lab.machine.machine_cards import history_lines
from lab.services import machine
from lab.services.room import glance, room_of
from tests.figures import figures_of
from tests.pages.conftest import STATES, MakeLab, OpenPage
from tests.pages.run_folders import HOSTILE_NAMES, make_run
from tests.pages.test_every_page import active_markdown

GB = 10**9
QUIET = SupervisorState(alive=True, started_at="2026-11-24T00:00:00+00:00", problem="")


def gpu(index: int = 0, *, processes: tuple[GpuProcess, ...] = (), used: int = GB // 2) -> Gpu:
    return Gpu(
        index=index,
        uuid=f"GPU-{index}",
        name="NVIDIA H100",
        utilization=0.5,
        memory_used_bytes=used,
        memory_total_bytes=80 * GB,
        temperature_c=41.0,
        power_w=120.0,
        processes=processes,
    )


def process(user: str = "bob", command: str = "python train.py", memory: int = 70 * GB, run_id: str = "") -> GpuProcess:
    return GpuProcess(pid=4242, user=user, command=command, memory_bytes=memory, run_id=run_id)


def entry(run: Run, *, place: int = 1, state: str = "queued", **facts: Any) -> QueueEntry:
    values: dict[str, Any] = {
        "run": run,
        "state": state,
        "place": place,
        "priority": 0,
        "owner": run.info.owner,
        "device": "any GPU",
        "slots": (),
        "waits_for": "",
        "expected_start_s": 720.0,
        "expected_end_s": None,
        "started_at": "",
    }
    return QueueEntry(**{**values, **facts})


def live(run: Run, slot: str = "GPU-0/0", **facts: Any) -> QueueEntry:
    return entry(run, place=0, state="running", slots=(slot,), expected_start_s=None, expected_end_s=600.0, **facts)


@pytest.fixture(autouse=True)
def _no_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here starts a supervisor."""
    monkeypatch.setattr(queue_order, "ensure_supervisor", lambda store: None)
    monkeypatch.setattr(queue_view, "supervisor_state", lambda store: QUIET)


@pytest.fixture
def has_gpus(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> Callable[..., None]:
    """has_gpus(gpu(0), gpu(1)): the machine as the page sees it; none at all is a machine without a GPU."""

    def _has(*gpus: Gpu, **facts: Any) -> None:
        store.root.mkdir(parents=True, exist_ok=True)
        seen = replace(core_machine.read_machine(store.root), gpus=gpus, **facts)
        monkeypatch.setattr(core_machine, "read_machine", lambda root: seen)

    _has()
    return _has


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch, has_gpus: Callable[..., None]) -> Callable[..., None]:
    """queued(entry(run), …): the queue as the page sees it."""

    def _queued(*entries: QueueEntry) -> None:
        monkeypatch.setattr(queue_view, "queue_view", lambda store: list(entries))

    _queued()
    return _queued


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the page asked of the queue."""
    calls: list[tuple[Any, ...]] = []
    for name in ("move_run", "set_priority", "pause_run", "resume_run", "request_stop"):

        def _call(store: RunStore, *values: Any, name: str = name, **facts: Any) -> None:
            calls.append((name, *values, *facts.values()))

        monkeypatch.setattr(queue_order if name in ("move_run", "set_priority") else service, name, _call)
    return calls


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in (*app.markdown, *app.caption, *app.warning, *app.error))


def links(app: AppTest) -> str:
    return "\n".join(element.proto.label for element in app.get("page_link"))


def as_person(app: AppTest, name: str) -> AppTest:
    app.session_state[WHO_KEY] = name
    return app.run()


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def choose(app: AppTest, run: Run, choice: str) -> AppTest:
    return app.menu_button(key=f"queue-menu-{run.id}").click(choice).run()


def test_a_machine_without_a_gpu_shows_its_cpu(queued: Any, open_page: OpenPage) -> None:
    text = words(open_page("machine"))
    assert "There is room: a run can start on the CPU." in text
    assert "**CPU**" in text
    assert "no GPU seen here" in text


def test_each_gpu_says_whose_run_is_on_it_and_until_when(
    store: RunStore, has_gpus: Any, queued: Any, open_page: OpenPage
) -> None:
    has_gpus(gpu(0), gpu(1))
    queued(live(make_run(store, state=RunState.RUNNING, name="Night run", owner="ana"), "GPU-1/0"))
    app = open_page("machine")
    assert "GPU 0 is free" in words(app)
    assert "**GPU 1** :blue-badge" in words(app)
    assert "**Night run**" in links(app)
    assert "ana · running · about 10 min left" in words(app)


def test_strangers_on_a_gpu_are_named_and_it_is_not_ours(has_gpus: Any, queued: Any, open_page: OpenPage) -> None:
    has_gpus(gpu(0, processes=(process("bob", "python train_llama.py"),), used=72 * GB))
    text = words(open_page("machine")).replace("\\", "")
    assert "No room: others fill every device." in text
    assert "**bob** · 70.0 GB" in text
    assert "python train_llama.py, pid 4242" in text
    assert "Not free for us: held by bob with" in text


def test_the_labs_own_drawings_are_no_strangers(has_gpus: Any, queued: Any, open_page: OpenPage) -> None:
    has_gpus(gpu(0, processes=(replace(process(), computes_for_screens=True),), used=70 * GB))
    text = words(open_page("machine")).replace("\\", "")
    assert "GPU 0 is free" in text
    assert "**images for the screens** · 70.0 GB" in text and "gives way to a queued run" in text
    assert "bob" not in text


def test_a_small_stranger_does_not_keep_us_off(has_gpus: Any, queued: Any, open_page: OpenPage) -> None:
    has_gpus(gpu(0, processes=(process("xorg", "Xorg", memory=50_000_000),), used=60_000_000))
    text = words(open_page("machine"))
    assert "GPU 0 is free" in text
    assert "**xorg**" in text


@pytest.mark.parametrize(
    ("verdicts", "ends", "waiting", "expected"),
    [
        (["free"], [], 0, "There is room: GPU 0 is free."),
        (["ours", "free", "partly free"], [600.0], 0, "There is room: GPU 1 and GPU 2 are free."),
        (["ours"], [600.0, 120.0], 2, "No room now; the next place opens in about 2 min. 2 runs wait in the queue."),
        (["ours", "taken"], [None], 1, "No room now. 1 run waits in the queue."),
        (["taken", "taken"], [], 0, "No room: others fill every device."),
    ],
)
def test_the_first_sentence_answers_whether_there_is_room(
    verdicts: list[machine.Verdict], ends: list[float | None], waiting: int, expected: str, store: RunStore
) -> None:
    run = make_run(store)
    tenants = [replace(live(run), expected_end_s=end) for end in ends]
    cards = [
        machine.DeviceCard(
            name=f"GPU {index}",
            model="",
            verdict=verdict,
            why="",
            utilization=None,
            memory_used_bytes=0,
            memory_total_bytes=0,
            tenants=tuple(tenants) if verdict == "ours" and index == 0 else (),
        )
        for index, verdict in enumerate(verdicts)
    ]
    assert room_of(cards, waiting).sentence == expected


@pytest.mark.parametrize(("places", "verdict"), [(1, "ours"), (2, "partly free")])
def test_a_gpu_of_several_places_is_partly_free(places: int, verdict: str, store: RunStore) -> None:
    card = machine.gpu_card(gpu(0), [live(make_run(store), "GPU-0/0")], 1000.0, places)
    assert card.verdict == verdict


def test_a_run_on_two_gpus_stands_on_both(store: RunStore, has_gpus: Any, queued: Any, open_page: OpenPage) -> None:
    has_gpus(gpu(0), gpu(1))
    queued(replace(live(make_run(store, name="Wide")), slots=("GPU-0/0", "GPU-1/0")))
    app = open_page("machine")
    assert not app.exception
    assert links(app).count("**Wide**") == 3


def test_the_queue_says_who_waits_for_what_and_how_long(store: RunStore, queued: Any, open_page: OpenPage) -> None:
    run = make_run(store, state=RunState.QUEUED, logged=0, name="Next", owner="ana")
    queued(entry(run, priority=5, waits_for="a free GPU"))
    text = words(open_page("machine"))
    assert "starts in about 12 min" in text
    assert "waits for a free GPU" in text
    assert "priority +5" in text
    assert "U-Net · ana · any GPU" in text.replace("\\", "")


@pytest.mark.parametrize(
    ("start_s", "waits_for", "expected"),
    [
        (0.0, "", "starts any moment"),
        (None, "GPU 0 is used by bob (70.0 GB), not by the lab", ":small[GPU 0 is used by bob (70.0 GB), not by"),
        (None, "", "waits for its turn"),
    ],
)
def test_a_start_that_nobody_knows_is_not_made_up(
    start_s: float | None, waits_for: str, expected: str, store: RunStore, queued: Any, open_page: OpenPage
) -> None:
    run = make_run(store, state=RunState.QUEUED, logged=0)
    queued(entry(run, expected_start_s=start_s, waits_for=waits_for))
    text = words(open_page("machine")).replace("\\", "")
    assert expected in text
    assert "starts in" not in text


def test_an_empty_queue_offers_to_train(queued: Any, open_page: OpenPage) -> None:
    app = open_page("machine")
    assert "Nothing runs and nothing waits." in words(app)
    assert "Train something" in links(app)


@pytest.mark.parametrize(("to", "place", "last"), [("up", 2, 2), ("down", 1, 2)])
def test_the_owner_moves_a_run_at_once(
    to: str, place: int, last: int, store: RunStore, queued: Any, called: list[Any], open_page: OpenPage
) -> None:
    runs = [make_run(store, state=RunState.QUEUED, logged=0, owner="ana") for _ in range(last)]
    queued(*(entry(run, place=index + 1) for index, run in enumerate(runs)))
    app = as_person(open_page("machine"), "ana")
    app.button(key=f"queue-{to}-{runs[place - 1].id}").click().run()
    assert called == [("move_run", runs[place - 1].id, to, "ana")]


def test_the_first_cannot_move_up_nor_the_last_down(store: RunStore, queued: Any, open_page: OpenPage) -> None:
    runs = [make_run(store, state=RunState.QUEUED, logged=0) for _ in range(2)]
    queued(entry(runs[0], place=1), entry(runs[1], place=2))
    app = open_page("machine")
    assert [app.button(key=f"queue-up-{run.id}").disabled for run in runs] == [True, False]
    assert [app.button(key=f"queue-down-{run.id}").disabled for run in runs] == [False, True]


@pytest.mark.parametrize(
    ("state", "choice", "expected"),
    [
        ("queued", "To the front", ("move_run", "first", "ana")),
        ("queued", "To the back", ("move_run", "last", "ana")),
        ("queued", "High priority", ("set_priority", 5, "ana")),
        ("queued", "Low priority", ("set_priority", -5, "ana")),
        ("queued", "Hold", ("pause_run", "ana")),
        ("queued", "Take out", ("request_stop", "ana")),
        ("paused", "Continue", ("resume_run", "ana")),
        ("running", "Pause", ("pause_run", "ana")),
        ("running", "Stop", ("request_stop", "ana")),
        ("stopping", "Stop", ("request_stop", "ana")),
    ],
)
def test_the_menu_does_what_it_says(
    state: str,
    choice: str,
    expected: tuple[Any, ...],
    store: RunStore,
    queued: Any,
    called: list[Any],
    open_page: OpenPage,
) -> None:
    run = make_run(store, state=RunState.QUEUED, logged=0, owner="ana")
    queued(entry(run, state=state))
    choose(as_person(open_page("machine"), "ana"), run, choice)
    assert called == [(expected[0], run.id, *expected[1:])]


def test_anothers_run_is_not_touched_before_a_yes(
    store: RunStore, queued: Any, called: list[Any], open_page: OpenPage
) -> None:
    run = make_run(store, state=RunState.QUEUED, logged=0, owner="ana")
    queued(entry(run))
    app = choose(as_person(open_page("machine"), "bob"), run, "Take out")
    assert called == []
    assert app.get("dialog")[0].proto.dialog.title == "Take out a run of ana?"


def test_a_refused_move_is_told_in_one_sentence(
    store: RunStore, queued: Any, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(store, state=RunState.QUEUED, logged=0, owner="ana")
    queued(entry(run))

    def _refuse(*_: Any, **__: Any) -> None:
        raise RunBusy("run 7: has started meanwhile", "stop it instead")

    monkeypatch.setattr(service, "pause_run", _refuse)
    app = choose(as_person(open_page("machine"), "ana"), run, "Hold")
    assert not app.exception
    assert "has started meanwhile; stop it instead" in words(app)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (SupervisorState(alive=False, started_at="", problem=""), "The supervisor is not running yet"),
        (SupervisorState(alive=False, started_at="", problem="the runs folder is read-only"), "the runs folder is"),
        (QUIET, "Served by the supervisor for"),
    ],
)
def test_the_queue_says_whether_anybody_serves_it(
    state: SupervisorState, expected: str, queued: Any, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_view, "supervisor_state", lambda store: state)
    assert expected in words(open_page("machine"))


def test_without_a_history_the_page_says_so(queued: Any, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "read_history", lambda folder, since_s: {})
    app = open_page("machine")
    assert "No history yet" in words(app)
    assert not figures_of(app)


def test_a_long_queue_is_cut_until_asked_for(store: RunStore, queued: Any, open_page: OpenPage) -> None:
    runs = [make_run(store, state=RunState.QUEUED, step=0, logged=0) for _ in range(17)]
    queued(*(entry(run, place=index + 1) for index, run in enumerate(runs)))
    app = open_page("machine")
    assert len(app.menu_button) == 15
    next(toggle for toggle in app.toggle if toggle.label == "Show all 17").set_value(True).run()
    assert len(app.menu_button) == 17


def test_sizes_name_every_run_and_its_checkpoints(
    store: RunStore, queued: Any, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = make_run(store, name="Small"), make_run(store, name="Large")
    found = [_size(small, 10 * GB), _size(large, 50 * GB)]
    monkeypatch.setattr(disk, "run_sizes", lambda store: found)
    app = open_page("machine")
    frame = next(table.value for table in app.dataframe if "checkpoints" in table.value)
    assert frame["run"].tolist() == ["Large", "Small"]
    assert frame["size"].tolist() == ["50.0 GB", "10.0 GB"]
    assert frame["checkpoints"].tolist() == ["2 · 3.0 GB"] * 2
    assert "2 runs, 60.0 GB in all" in words(app)


def _size(run: Run, total: int) -> disk.RunSize:
    checkpoints = ((100, GB), (200, 2 * GB))
    return disk.RunSize(
        run_id=run.id, total_bytes=total, checkpoints=checkpoints, previews_bytes=0, log_bytes=1, metrics_bytes=1
    )


@pytest.mark.parametrize("make_lab", STATES)
def test_every_clean_up_can_be_looked_at_in_every_lab(make_lab: MakeLab, store: RunStore, open_page: OpenPage) -> None:
    make_lab(store)
    app = open_page("machine")
    app.session_state["cleanup-days"] = 0.0
    for choice in ("old checkpoints", "failed runs", "unused caches", "trash"):
        app.session_state["cleanup-choice"] = choice
        press(app.run(), "Show what would go")
        assert not app.exception
        assert "**Stays**" in words(app)


@pytest.fixture
def plan(store: RunStore, queued: Any, monkeypatch: pytest.MonkeyPatch) -> CleanupPlan:
    """One checkpoint of a run of Ana goes."""
    run = make_run(store, owner="ana")
    path = run.checkpoints_dir / "step-00000100"
    goes = (Item(words="checkpoint of step 100", path=path, size_bytes=3 * GB, owner="ana"),)
    found = CleanupPlan(
        choice="old checkpoints", goes=goes, stays=("the newest good checkpoint of 1 run",), bytes=3 * GB
    )
    monkeypatch.setattr(disk, "plan_cleanup", lambda store, cache_dir, *, choice, older_than_days, by: found)
    return found


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[CleanupPlan, str]]:
    calls: list[tuple[CleanupPlan, str]] = []

    def _apply(store: RunStore, plan: CleanupPlan, by: str) -> int:
        calls.append((plan, by))
        return plan.bytes

    monkeypatch.setattr(disk, "apply_cleanup", _apply)
    return calls


def test_a_clean_up_shows_what_goes_and_what_stays_before_anything_goes(
    plan: CleanupPlan, applied: list[Any], open_page: OpenPage
) -> None:
    app = press(as_person(open_page("machine"), "ana"), "Show what would go")
    assert "**Goes:** 1 thing, 3.0 GB" in words(app)
    assert "checkpoint of step 100" in words(app)
    assert "the newest good checkpoint of 1 run" in words(app)
    assert applied == []
    press(app, "Remove 1 thing permanently")
    assert applied == [(plan, "ana")]


def test_failed_runs_go_to_the_trash(
    plan: CleanupPlan, applied: list[Any], open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = replace(plan, choice="failed runs")
    monkeypatch.setattr(disk, "plan_cleanup", lambda *_, **__: failed)
    app = press(as_person(open_page("machine"), "ana"), "Show what would go")
    press(app, "Move 1 thing to the trash")
    assert applied == [(failed, "ana")]


def test_a_clean_up_among_anothers_runs_asks_first(plan: CleanupPlan, applied: list[Any], open_page: OpenPage) -> None:
    app = press(as_person(open_page("machine"), "bob"), "Show what would go")
    app = press(app, "Remove 1 thing permanently")
    assert applied == []
    assert "ana" in app.get("dialog")[0].proto.dialog.title


def test_another_choice_takes_the_preview_away(plan: CleanupPlan, open_page: OpenPage) -> None:
    app = press(open_page("machine"), "Show what would go")
    app.number_input(key="cleanup-days").set_value(30.0).run()
    assert "**Goes:**" not in words(app)


def test_nothing_to_remove_has_no_button(
    queued: Any, store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = CleanupPlan(choice="old checkpoints", goes=(), stays=("everything",), bytes=0)
    monkeypatch.setattr(disk, "plan_cleanup", lambda *_, **__: nothing)
    app = press(open_page("machine"), "Show what would go")
    assert "**Goes:** nothing" in words(app)
    assert not [button for button in app.button if button.label.startswith("Remove")]


def deleted(name: str = "First try", by: str = "ana") -> Trashed:
    return Trashed(
        id="20261101-101010-vae-aaaa",
        name=name,
        kind="vae",
        owner=by,
        by=by,
        at="2026-11-22T10:00:00+00:00",
        size_bytes=GB,
        expires_at="2026-11-29T10:00:00+00:00",
    )


def test_a_deleted_run_is_brought_back_from_the_trash(
    store: RunStore, queued: Any, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = make_run(store)
    calls: list[tuple[str, str]] = []

    def _restore(store: RunStore, trash_id: str, *, by: str) -> Run:
        calls.append((trash_id, by))
        return back

    monkeypatch.setattr(trash, "list_trash", lambda store, keep_days: [deleted()])
    monkeypatch.setattr(service, "restore_run", _restore)
    app = as_person(open_page("machine"), "ana")
    assert "deleted by ana" in words(app)
    press(app, "Restore")
    assert calls == [("20261101-101010-vae-aaaa", "ana")]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_what_people_and_processes_are_called_is_never_markdown(
    name: str, store: RunStore, has_gpus: Any, queued: Any, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(store, name=name, owner=name, state=RunState.QUEUED, logged=0)
    running = make_run(store, name=name, owner=name, state=RunState.RUNNING)
    has_gpus(replace(gpu(0, processes=(process(name, name),), used=72 * GB), name=name), gpu(1))
    queued(live(running, "GPU-1/0", device=name), entry(run, device=name, waits_for=name))
    item = Item(words=name, path=run.folder / "x", size_bytes=1)
    plan = CleanupPlan(choice="old checkpoints", goes=(item,), stays=(name,), bytes=1)
    monkeypatch.setattr(disk, "plan_cleanup", lambda *_, **__: plan)
    monkeypatch.setattr(trash, "list_trash", lambda store, keep_days: [deleted(name, name)])
    app = press(open_page("machine"), "Show what would go")
    assert not app.exception
    assert active_markdown(app) == []
    assert "![" not in links(app)


def test_bars_hold_no_html_of_others(
    store: RunStore, has_gpus: Any, queued: Any, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = replace(core_machine.read_machine(store.root), gpus=())
    odd = replace(seen, disk=replace(seen.disk, path=Path('/runs/"><img src=x onerror=alert(1)>')))
    monkeypatch.setattr(core_machine, "read_machine", lambda root: odd)
    assert all("<img" not in block.proto.body for block in open_page("machine").get("html"))


def test_history_is_a_line_a_device_in_shares() -> None:
    columns = {
        "time": np.array([0.0, 10.0]),
        "cpu": np.array([0.1, 0.2]),
        "memory": np.array([1.0, 2.0]),
        "memory_total": np.array([4.0, 4.0]),
        "gpu1": np.array([0.5, np.nan]),
        "gpu1_memory": np.array([20.0, 40.0]),
        "gpu1_memory_total": np.array([80.0, 0.0]),
    }
    computing, memory = history_lines(columns, "light", ["#111111", "#222222"])
    assert [line.name for line in computing] == ["GPU 1", "CPU"]
    assert [line.name for line in memory] == ["GPU 1", "RAM"]
    assert memory[0].y[0] == 0.25
    assert memory[1].y.tolist() == [0.25, 0.5]


def test_without_lines_there_is_no_history() -> None:
    assert history_lines({}, None, ["#111111"]) == ([], [])


def test_the_glance_counts_free_devices_and_what_waits(store: RunStore, has_gpus: Any, queued: Any) -> None:
    has_gpus(gpu(0), gpu(1, processes=(process(),), used=72 * GB))
    runs = [make_run(store, state=RunState.QUEUED, logged=0) for _ in range(3)]
    queued(live(runs[0]), entry(runs[1]), entry(runs[2], state="paused"))
    seen = glance()
    assert (seen.room.free, seen.room.in_short, seen.room.waiting) == ((), "0 of 2 GPUs free", 2)
    assert "GPU 0: busy with a run of ana" in seen.device_words
    assert seen.disk_free > 0


def test_the_glance_of_a_machine_without_a_gpu_is_about_its_cpu(queued: Any) -> None:
    assert glance().room.in_short == "Room for a run"


def test_a_gpu_whose_driver_cannot_be_read_is_told(store: RunStore, has_gpus: Any, queued: Any) -> None:
    has_gpus(replace(gpu(0), problem="GPU 0 cannot be read: it has fallen off the bus"))
    card = machine.cards()[0]
    assert (card.verdict, card.is_free) == ("unreadable", False)
    assert "fallen off the bus" in card.why


def test_gpus_that_nvml_does_not_know_are_places_all_the_same(
    store: RunStore, has_gpus: Any, queued: Any, open_page: OpenPage
) -> None:
    has_gpus(blind_gpus=("0", "1"))
    queued(live(make_run(store, name="Blind"), "GPU-1/0"))
    text = words(open_page("machine"))
    assert "GPU 0 is free" in text
    assert "its driver cannot be read" in text
    assert "**GPU 1** :blue-badge" in text


def test_gpus_that_pytorch_cannot_use_say_why_beside_the_cpu_that_runs_get(
    has_gpus: Any, queued: Any, open_page: OpenPage
) -> None:
    has_gpus(gpu(0), gpus_problem="it is built without CUDA")
    text = words(open_page("machine"))
    assert "PyTorch cannot use it" in text and "it is built without CUDA" in text
    assert "a run can start on the CPU" in text
