"""Three accounts in one runs folder do anything at any moment, attacks included: nobody's process serves another.

`python -m benchmarks.accounts [--rounds 60] [--seed 0]`, as root. Each round one account starts, stops, resumes,
deletes, restores or tags a run of any of them, changes a row of the queue or a run's settings, or puts a link in the
place of a folder of a run at work. After each round: every worker belongs to the account that queued its run last, no
more than one is at work, nothing lies in the accounts' private folders, and what was refused was one sentence. At the
end one account is removed, and another one goes on with a run that it left.
Results: benchmarks/results/accounts-<date>.json.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.report import keep
from tests.core.jobs import test_accounts as accounts
from tests.core.jobs.test_accounts import ANA, BEN, GROUP, Account, Lab, Refused

DORA = GROUP + 4
UMASKS = {ANA: 0o022, BEN: 0o002, DORA: 0o027}
ACTS = ("start", "start", "stop", "resume", "delete", "restore", "tag", "alter", "write", "swap")
SETTLES_S = 120.0


def act(lab: Lab, who: Account, verb: str, run: str, queued_by: dict[str, int]) -> None:
    """One account does one thing. Raises Refused."""
    if verb == "start":
        queued_by[who.do("start")] = who.uid
    elif verb == "resume":
        queued_by |= dict.fromkeys(who.do("resume", run), who.uid)
    elif verb == "alter":
        column, value = random.choice(
            [("environment", "{}"), ("code", "../theirs"), ("num_processes", 64), ("uid", ANA)]
        )
        who.do("alter", run, column, value)
    elif verb == "write":
        config = lab.runs / run / "config.yaml"
        who.do("write", str(config), config.read_text().replace("100000", "99999"))
    elif verb == "swap":
        victim = lab.folder / f"home-{random.choice(list(UMASKS))}" / "private"
        who.do("swap", str(lab.runs / run / random.choice(["checkpoints", "previews"])), str(victim))
    else:
        who.do(verb, run, *(["seen"] if verb == "tag" else []))


def faults(lab: Lab, queued_by: dict[str, int]) -> list[str]:
    """What must not be, now."""
    working = {run: lab.workers(run) for run in queued_by}
    found = [f"{run}: at work as {uids}" for run, uids in working.items() if uids - {queued_by[run]}]
    if sum(bool(uids) for uids in working.values()) > 1:
        found.append(f"more than one at work: {[run for run, uids in working.items() if uids]}")
    for uid in UMASKS:
        found += [f"{path} was written" for path in (lab.folder / f"home-{uid}" / "private").iterdir()]
    return found


def main() -> int:
    """Play, and keep what was found. Returns 1 for any fault."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    python = accounts.python_for_all()
    if os.geteuid() or not python:
        raise SystemExit("needs root, and a Python that other accounts may execute")
    random.seed(options.seed)
    queued_by: dict[str, int] = {}
    done: Counter[str] = Counter()
    found: list[str] = []
    started = time.monotonic()
    with accounts.lab_of(python, owner=0, mode=0o2775) as lab:
        people = [lab.account(uid, umask=umask) for uid, umask in UMASKS.items()]
        for uid in UMASKS:
            private = lab.folder / f"home-{uid}" / "private"
            private.mkdir(mode=0o700)
            os.chown(private, uid, uid)
        for number in range(options.rounds):
            verb = "start" if not queued_by else random.choice(ACTS)
            who, run = random.choice(people), random.choice([*queued_by, ""]) if queued_by else ""
            try:
                act(lab, who, verb, run or next(iter(queued_by), ""), queued_by)
                done[verb] += 1
            except (Refused, FileNotFoundError) as error:
                done[f"{verb} refused"] += 1
                if "\n" in str(error) or "Traceback" in str(error):
                    found.append(f"round {number}: {verb}: {error}")
            found += [f"round {number}: {verb}: {words}" for words in faults(lab, queued_by)]
        found += ["a supervisor met an error: its log has a traceback"] * ("Traceback" in lab.report())
    left = left_behind(python)
    results: dict[str, Any] = {"rounds": options.rounds, "seed": options.seed, "acts": dict(done), "faults": found}
    keep("accounts", {**results, "left_run_goes_on": left, "seconds": round(time.monotonic() - started, 1)})
    for words in found:
        print(words)
    return 1 if found or not left else 0


def left_behind(python: str) -> bool:
    """Ana is removed while her run is at work; whether ben goes on with it."""
    with accounts.lab_of(python, owner=0, mode=0o2775) as lab:
        ana, ben = (lab.account(uid, umask=UMASKS[uid]) for uid in (ANA, BEN))
        run = ana.do("start")
        if not settles(lambda: lab.is_at_work(run)):
            return False
        lab.remove_account(ANA)

        def goes_on() -> bool:
            for verb in ("resume", "stop") if not lab.workers(run) else ():  # it may wait for an account that is gone
                with contextlib.suppress(Refused):
                    ben.do(verb, run)
                    break
            return lab.workers(run) == {BEN}

        return settles(goes_on)


def settles(condition: Callable[[], object]) -> bool:
    """Wait for it; whether it came."""
    end = time.monotonic() + SETTLES_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.2)
    return bool(condition())


if __name__ == "__main__":
    raise SystemExit(main())
