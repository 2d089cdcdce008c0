"""Can formats grow? New code over old folders, old code over new ones, and an old supervisor beside a new command line.

`python -m benchmarks.growth [OLD_CHECKOUT]`. Without a checkout of 57d6eac only this revision is asked: a field is
added to every JSON file of `tests/fixtures/runs-57d6eac`, then the number of the format is raised. Prints a line per
check and ends with 1 where something was lost, hidden, or acted on that should not be.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.jobs.queue_schema import FORMAT

HERE = Path(__file__).resolve().parents[1]
FIXTURE = HERE / "tests" / "fixtures" / "runs-57d6eac"
LEFT_ALONE = ("config.json", "state.json")  # of diffusers; and hashed with the weights beside it
PATIENCE_S = 120.0
WORKER = """
import sys, time
from dataclasses import replace
from pathlib import Path
from core.runs.run import RunState
from core.runs.store import RunStore
run = RunStore(Path(sys.argv[2])).get(sys.argv[3])
run.write_status(replace(run.status(), state=RunState.RUNNING, step=1))
while run.folder.exists() and not (run.folder / "go").exists():
    time.sleep(0.05)
run.write_status(replace(run.status(), state=RunState.FINISHED, step=run.status().steps_total))
"""
SUBMIT = """
import sys
from pathlib import Path
from core.config.load import load_config
from core.jobs.engines.local import LocalEngine
from core.jobs.engines.protocol import JobSpec
from core.runs.store import RunStore
store = RunStore(Path(sys.argv[1]))
run = store.create("vae", load_config(), name="begun by the old lab")
LocalEngine(store, worker=[sys.executable, sys.argv[2]]).submit(JobSpec(run_ids=(run.id,)))
print(run.id)
"""
MAKE = """
import sys
from dataclasses import replace
from pathlib import Path
from core.config.load import load_config
from core.runs.notes import change_notes
from core.runs.run import RunState
from core.runs.store import RunStore
store = RunStore(Path(sys.argv[1]))
run = store.create("vae", load_config(), name="made now", owner="ana")
run.write_status(replace(run.status(), state=RunState.FINISHED, step=500, elapsed_s=3.5))
change_notes(run, by="ana", notes="as it is", add_tags=["kept"])
"""


class Report:
    """Checks as lines; `failed` counts those that do not hold."""

    def __init__(self) -> None:
        self.failed = 0

    def check(self, words: str, holds: bool, seen: object = "") -> None:
        """Print one line."""
        self.failed += not holds
        print(f"{'ok  ' if holds else 'LOST'} {words}{'' if holds else f': {seen}'}", flush=True)


def python(checkout: Path, runs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The Python of this machine with the code of a checkout, over a runs folder."""
    folders = {f"LAB_{name.upper()}": str(runs.parent / name) for name in ("data", "cache", "imports", "models")}
    environment = {**os.environ, **folders, "LAB_RUNS": str(runs), "LAB_USER": "ana", "PYTHONPATH": str(checkout)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def core(checkout: Path, runs: Path, *arguments: str) -> Any:
    """What a command of that checkout prints as JSON; {} with the error where it fails."""
    done = python(checkout, runs, "-m", "core", *arguments, "--json")
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()[-300:]}


def shown(checkout: Path, runs: Path) -> dict[str, Any]:
    """Run → what `show --json` says, of every run that `runs --json` lists."""
    rows = core(checkout, runs, "runs")
    return {row["id"]: core(checkout, runs, "show", row["id"]) for row in rows} if isinstance(rows, list) else {}


def grow(runs: Path, change: Callable[[str, dict[str, Any]], None]) -> int:
    """Change every JSON object that the lab wrote under the folder; how many."""
    count = 0
    for path in sorted(runs.rglob("*.json")):
        if path.name in LEFT_ALONE:
            continue
        values = json.loads(path.read_text())
        if isinstance(values, dict):
            change(path.name, values)
            path.write_text(json.dumps(values))
            count += 1
    return count


def a_field_more(name: str, values: dict[str, Any]) -> None:
    """What a newer lab of the same format may write."""
    values["grown"] = {"by": "a newer lab"}


def a_newer_format(name: str, values: dict[str, Any]) -> None:
    """What a newer lab of another format writes."""
    if name == "run.json":
        values.setdefault("versions", {})["format"] = "99"
    elif name != "status.json":  # the number of its folder counts for it
        values["format"] = 99


def this_revision(report: Report, work: Path) -> None:
    """The old folders as they are, with a field more, and in a newer format."""
    runs = work / "runs"
    shutil.copytree(FIXTURE / "runs", runs)
    before = shown(HERE, runs)
    are_shown = len(before) == 5 and all("state" in each for each in before.values())
    report.check(f"{len(before)} old runs are listed and shown", are_shown, before)
    count = grow(runs, a_field_more)
    after = shown(HERE, runs)
    other = [(each, key) for each, said in before.items() for key in said if after[each].get(key) != said[key]]
    report.check(f"a field more in {count} files changes nothing that is shown", not other, other)
    grow(runs, a_newer_format)
    after = shown(HERE, runs)
    same = {run_id: (each.get("state"), each.get("step"), each.get("name")) for run_id, each in after.items()}
    known = {run_id: (each["state"], each["step"], each["name"]) for run_id, each in before.items()}
    report.check("runs of a newer format stay in the list, with state, step and name", same == known, same)
    named = all("made by a newer version of the lab" in str(each.get("problem")) for each in after.values())
    report.check("each of them says that a newer version made it", named, after)
    unet = next(run_id for run_id, each in before.items() if each["kind"] == "unet" and each["state"] == "finished")
    stopped = next(run_id for run_id, each in before.items() if each["state"] == "stopped")
    branch = ["branch", unet, "--step", "40", "--set", "train_unet.steps=50"]
    export = ["export", unet, str(work / "out")]
    for arguments in (
        ["resume", stopped, "--yes"],
        ["sample", unet],
        ["evaluate", unet],
        ["compare", unet],
        branch,
        export,
    ):
        done = python(HERE, runs, "-m", "core", *arguments)
        sentence = done.stderr.strip()
        refused = done.returncode == 1 and "made by a newer version of the lab" in sentence and "\n" not in sentence
        report.check(f"{arguments[0]} refuses it in one sentence", refused, done.stderr)


def both_revisions(report: Report, old: Path, work: Path) -> None:
    """Old folders in the new lab and new folders in the old lab, by their own command lines."""
    runs = work / "both"
    shutil.copytree(FIXTURE / "runs", runs)
    made = python(HERE, runs, "-c", MAKE, str(runs))
    report.check("the new lab makes a run beside the old ones", made.returncode == 0, made.stderr)
    theirs, ours = shown(old, runs), shown(HERE, runs)
    report.check("both labs list the same runs", len(ours) == 6 and theirs.keys() == ours.keys(), [*theirs])
    for run_id, said in theirs.items():
        other = [key for key in said if key not in ("settings", "versions") and ours[run_id].get(key) != said[key]]
        report.check(f"{run_id}: both say the same", "state" in said and not other, said)


def old_supervisor(report: Report, old: Path, work: Path) -> None:
    """A supervisor of the old lab with a live run, and a command of the new lab beside it."""
    runs = work / "queue"
    runs.mkdir()
    worker = work / "worker.py"
    worker.write_text(WORKER)
    begun = python(old, runs, "-c", SUBMIT, str(runs), str(worker))
    run_id = begun.stdout.strip()
    folder = runs / ".queue"
    if not wait(lambda: status(runs, run_id).get("state") == "running"):
        report.check("the old supervisor starts the run", False, begun.stderr)
        return
    before = json.loads((folder / "supervisor.json").read_text())["pid"]
    rows = core(HERE, runs, "queue")
    report.check("the new command line lists the old lab's live run", [row["id"] for row in rows] == [run_id], rows)
    report.check("the old supervisor has ended", not alive(before))
    (row,) = core(HERE, runs, "runs")
    report.check("its run lives on", row["state"] == status(runs, run_id).get("state") == "running", row)
    with sqlite3.connect(folder / "queue.db") as database:
        report.check("the queue was migrated", database.execute("pragma user_version").fetchone()[0] == FORMAT)
    served = wait(lambda: json.loads((folder / "supervisor.json").read_text()).get("queue_format") == FORMAT)
    report.check("a new supervisor serves it", served)
    (runs / run_id / "go").touch()
    ended = wait(lambda: core(HERE, runs, "queue") == [])
    (row,) = core(HERE, runs, "runs")
    report.check("the run finishes under the new supervisor", ended and row["state"] == "finished", row)
    rows = core(old, runs, "queue")
    report.check("the old command line reads the migrated queue", rows == [], rows)
    after = json.loads((folder / "supervisor.json").read_text())["pid"]
    if alive(after):
        os.kill(after, signal.SIGTERM)
    wait(lambda: not alive(after))


def status(runs: Path, run_id: str) -> dict[str, Any]:
    """status.json as it stands."""
    try:
        return dict(json.loads((runs / run_id / "status.json").read_text()))
    except (OSError, ValueError):
        return {}


def alive(pid: int) -> bool:
    """True while the process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait(until: Callable[[], bool]) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not until():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def main() -> int:
    """Run the checks; 1 when one of them does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?", type=Path, help="a work tree of revision 57d6eac")
    arguments = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        this_revision(report, work)
        if arguments.old is not None:
            both_revisions(report, arguments.old.resolve(), work)
            old_supervisor(report, arguments.old.resolve(), work)
    print(f"{report.failed} of the checks do not hold" if report.failed else "nothing is lost or hidden")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
