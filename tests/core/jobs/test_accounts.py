"""Several Unix accounts on one runs folder: processes that really change their uid. No supervisor is root's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.jobs import confinement
from core.machine import attempts

ROOT = Path(__file__).resolve().parents[3]
FIRST = 20_000 + 10 * (os.getpid() % 4_000)  # whoever runs tests here ends all processes of its own accounts
GROUP, ANA, BEN, CLEO = range(FIRST, FIRST + 4)
ROLES = ((ANA, (GROUP,)), (BEN, (GROUP,)), (CLEO, ()))
PATIENCE_S = 120.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other accounts"),
]


class Refused(Exception):
    """What an account was told."""


class Account:
    """A process of an account without a name, in the group of the runs folder or not."""

    def __init__(self, lab: Lab, uid: int, *, umask: int, groups: tuple[int, ...] = (GROUP,)) -> None:
        self.uid = uid
        home = lab.folder / f"home-{uid}"
        for folder in (home, home / "tmp"):
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, uid, uid)
        script = str(Path(__file__).with_name("account_process.py"))
        self.process = subprocess.Popen(
            [lab.python, script, str(lab.runs), json.dumps(lab.worker)],
            env={**lab.environment, "HOME": str(home), "TMPDIR": str(home / "tmp"), "LAB_USER": f"user{uid}"},
            cwd=lab.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=uid,
            group=uid,
            extra_groups=groups,
            umask=umask,
        )
        self.answer()

    def do(self, verb: str, *words: object) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([verb, *words]) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"the process of {self.uid} is gone"
        found = json.loads(line)
        if "refused" in found:
            raise Refused(found["refused"])
        return found["found"]


class Lab:
    """A runs folder and the accounts that work in it."""

    def __init__(self, folder: Path, python: str, *, owner: int, mode: int) -> None:
        self.folder, self.python = folder, python
        self.runs = folder / "runs"
        self.runs.mkdir()
        os.chown(self.runs, owner, GROUP)
        self.runs.chmod(mode)
        self.worker = [python, str(Path(__file__).with_name("standin_worker.py"))]
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "LAB_RUNS": str(self.runs),
            "LAB_DATA": str(folder / "data"),
            "LAB_CACHE": str(folder / "cache"),
        }
        self.accounts: list[Account] = []

    def account(self, uid: int, **spec: Any) -> Account:
        self.accounts.append(Account(self, uid, **spec))
        return self.accounts[-1]

    def status(self, run: str) -> dict[str, Any]:
        return dict(json.loads((self.runs / run / "status.json").read_text()))

    def is_at_work(self, run: str) -> bool:
        return self.status(run)["state"] == "running" and self.status(run)["step"] >= 1

    def wait(self, condition: Callable[[], object], words: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{words}\n{self.report()}"
            time.sleep(0.05)

    def report(self) -> str:
        lines = [f"{path.parent.name}: {path.read_text()}" for path in self.runs.glob("*/status.json")]
        lines += [path.read_text()[-4000:] for path in self.runs.glob(".queue/**/supervisor.log")]
        return "\n".join(lines)

    def workers(self, run: str) -> set[int]:
        """Accounts whose processes work on a run."""
        return {uid for uid, words in processes() if run in words and "standin_worker.py" in words[1]}

    def supervisors(self) -> set[int]:
        """Accounts whose supervisors serve here."""
        return {uid for uid, words in processes() if str(self.runs) in words and "core.jobs.supervisor" in words}

    def owners(self) -> set[int]:
        """Accounts that files and folders of the lab belong to; those of a run at work come and go."""
        found = set()
        for path in self.runs.rglob("*"):
            with contextlib.suppress(OSError):
                found.add(path.stat().st_uid)
        return found

    def remove_account(self, uid: int) -> None:
        """End all that is the account's, as whoever removes it does."""
        for path in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if path.stat().st_uid == uid:
                    os.kill(int(path.name), signal.SIGKILL)
        for account in self.accounts:
            if account.uid == uid:
                account.process.wait()

    def close(self) -> None:
        for uid in {account.uid for account in self.accounts}:
            self.remove_account(uid)
        for account in self.accounts:
            for stream in (account.process.stdin, account.process.stdout):
                assert stream
                with contextlib.suppress(OSError):
                    stream.close()


def processes() -> Iterator[tuple[int, list[str]]]:
    """(account, command line) of what lives."""
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit() and (words := (path / "cmdline").read_bytes().decode().split("\0"))[0]:
                yield path.stat().st_uid, words


def python_for_all() -> str:
    """A Python that other accounts may execute, '' for none: this one may lie in root's home."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])}
        with contextlib.suppress(OSError):
            done = subprocess.run(
                [name, "-c", "import core.jobs.supervisor"], env=environment, user=ANA, cwd="/", capture_output=True
            )
            if done.returncode == 0:
                return name
    return ""


@pytest.fixture(scope="module")
def python() -> str:
    return python_for_all() or pytest.skip("no Python here may be executed by other accounts")


@contextlib.contextmanager
def lab_of(python: str, *, owner: int, mode: int) -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="accounts-"))  # not in tmp_path, which other accounts may not enter
    folder.chmod(0o755)
    found = Lab(folder, python, owner=owner, mode=mode)
    try:
        yield found
    finally:
        found.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lab(python: str) -> Iterator[Lab]:
    """A runs folder of root's that the group shares."""
    with lab_of(python, owner=0, mode=0o2775) as found:
        yield found


def test_two_accounts_share_queue_and_runs_until_one_is_removed(lab: Lab) -> None:
    ana, ben = lab.account(ANA, umask=0o022), lab.account(BEN, umask=0o002)
    first = ana.do("start")
    lab.wait(lambda: lab.is_at_work(first), "ana's run never started")
    second = ben.do("start")
    third = ana.do("start")
    lab.wait(lambda: ben.do("job", second)[1] == "the CPU", "ben's run does not say what it waits for")
    assert lab.workers(first) == {ANA} and lab.supervisors() == {ANA, BEN}
    assert lab.workers(second) == set(), "a slot that one account's run has is taken for all"

    assert ben.do("tag", first, "seen") == ["seen"]
    assert ben.do("stop", first) == "stopped"
    lab.wait(lambda: lab.is_at_work(second), "ben's run, which came before ana's third, never started")
    assert lab.workers(second) == {BEN} and lab.workers(third) == set()
    ben.do("delete", first)
    assert ben.do("restore", first) == first

    assert ana.do("stop", second) == "stopped"
    lab.wait(lambda: lab.is_at_work(third), "ana's third run never started")
    lab.remove_account(ANA)
    lab.wait(lambda: ben.do("job", third)[1] == f"a supervisor of account {ANA}, and none serves", "it is not let go")
    assert lab.status(third)["state"] == "queued"
    assert ben.do("stop", third) == "stopped"
    assert ben.do("resume", third) == [third]
    lab.wait(lambda: lab.is_at_work(third), "ben cannot go on with a run of an account that is gone")
    assert lab.workers(third) == {BEN}
    assert ben.do("stop", third) == "stopped"
    ben.do("delete", third)
    assert not (lab.runs / third).exists() and lab.workers(third) == set()


def environment_of(uid: int, run: str) -> dict[str, str]:
    """Of the processes of an account that work on a run."""
    found = {}
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit() and path.stat().st_uid == uid and run.encode() in (path / "cmdline").read_bytes():
                lines = (path / "environ").read_bytes().decode().split("\0")
                found |= dict(line.split("=", 1) for line in lines if "=" in line)
    return found


def test_a_member_of_the_group_decides_nothing_about_a_process_of_another(lab: Lab) -> None:
    ana, ben = lab.account(ANA, umask=0o002), lab.account(BEN, umask=0o002)
    first = ana.do("start")
    lab.wait(lambda: lab.is_at_work(first), "ana's run never started")
    row, settings, folder = (ana.do("start") for _ in range(3))
    ordered = ana.do("ordered", row)

    for column, value in (
        ("environment", json.dumps({"LAB_DATA": "/theirs", "PYTHONPATH": "/theirs", "THEIRS": "1"})),
        ("code", "../../../../theirs"),
        ("num_processes", 64),
        ("device", "cuda:7"),
        ("depends_on", json.dumps(["theirs"])),
    ):
        ben.do("alter", row, column, value)
    assert ana.do("ordered", row) == ordered
    config = lab.runs / settings / "config.yaml"
    ben.do("write", str(config), config.read_text().replace("100000", "99"))
    theirs = lab.folder / "theirs"
    shutil.copytree(lab.runs / folder, theirs)
    before = {path.name: path.stat().st_mtime_ns for path in theirs.iterdir()}
    ben.do("swap", str(lab.runs / folder), str(theirs))
    planted = ben.do("start")
    ben.do("alter", planted, "uid", ANA)
    place = lab.runs / ".queue" / "accounts" / str(CLEO)
    ben.do("make", str(place))

    changed = "its folder or settings were changed after it was queued; resume it to accept them"
    lab.wait(lambda: lab.status(settings)["state"] == "interrupted", "changed settings still wait")
    assert lab.status(settings)["reason"] == changed
    lab.wait(lambda: ana.do("job", folder)[0] == "ended", "a link in the place of a run still waits")
    assert {path.name: path.stat().st_mtime_ns for path in theirs.iterdir()} == before
    lab.wait(lambda: lab.status(planted)["state"] == "interrupted", "a run that ana never ordered still waits")
    assert lab.status(planted)["reason"].startswith("nobody of its account has queued it in this shared folder")

    assert ana.do("stop", first) == "stopped"
    lab.wait(lambda: lab.is_at_work(row), "the run whose row was altered never started")
    found = environment_of(ANA, row)
    assert (found["LAB_DATA"], found.get("THEIRS")) == (lab.environment["LAB_DATA"], None)
    assert found["PYTHONPATH"].split(":")[0].startswith(str(lab.folder / f"home-{ANA}"))
    assert "/theirs" not in found["PYTHONPATH"]
    assert all(lab.workers(run) == set() for run in (settings, folder, planted))
    with pytest.raises(Refused, match=f"{place}: should belong to account {CLEO} alone, and account {BEN} made it"):
        lab.account(CLEO, umask=0o002).do("serve")


def test_what_takes_the_place_of_a_run_at_work_leads_its_process_nowhere(lab: Lab) -> None:
    if confinement.version() < confinement.FEWEST:
        pytest.skip("needs Landlock, of Linux 6.2 or newer")
    ana, ben = lab.account(ANA, umask=0o002), lab.account(BEN, umask=0o002)
    private = lab.folder / f"home-{ANA}" / "private"
    private.mkdir(mode=0o700)
    os.chown(private, ANA, ANA)
    for place in ("checkpoints", ""):
        run = ana.do("start")
        lab.wait(lambda run=run: lab.is_at_work(run) and (lab.runs / run / "checkpoints").exists(), "it never started")
        ben.do("swap", str(lab.runs / run / place), str(private))
        lab.wait(lambda run=run: not lab.workers(run), "its process goes on in another place")
        assert list(private.iterdir()) == []


def test_an_account_that_may_only_look_looks_and_doctor_sees_what_a_member_would(lab: Lab) -> None:
    ana, ben, cleo = (lab.account(uid, umask=0o022, groups=groups) for uid, groups in ROLES)
    run = ana.do("start")
    lab.wait(lambda: lab.is_at_work(run), "ana's run never started")
    for words in (["runs"], ["runs", "--json"], ["show", run], ["logs", run], ["paths"]):
        code, out, errors = cleo.do("command", *words)
        assert (code, errors) == (0, ""), (words, errors)
        assert run in out or words == ["logs", run] or words == ["paths"]
    code, out, errors = cleo.do("command", "queue")
    assert code == 1 and errors.count("\n") == 1 and f"account {CLEO} may not look into it" in errors
    for words in (["stop", run], ["tag", run, "seen"], ["start"]):
        with pytest.raises(Refused, match=f"account {CLEO} may not"):
            cleo.do(*words)
    (lab.runs / run).chmod(0o2770)
    code, out, errors = cleo.do("command", "runs")
    assert errors.startswith(f"{run}: not readable as a run: ") and f"account {CLEO} may not look into it" in errors
    assert [words for works, words in ben.do("doctor") if works is False] == [], "nothing is in a member's way"
    assert lab.owners() == {ANA}, "whoever looks leaves nothing behind"
    (lab.runs / run / "config.yaml").chmod(0o600)
    (lab.runs / "by-root").mkdir(mode=0o755)
    words = [words for works, words in ben.do("doctor") if works is False]
    assert len(words) == 1 and words[0].startswith("2 files and folders, such as ") and "chgrp -R" in words[0]
    told = [words for works, words in ben.do("doctor") if works is None]
    assert any("belong to root: someone ran the lab as root" in each for each in told)
    assert any(f"belong to account {ANA}: others can resume its runs" in each for each in told)


def test_the_group_looks_at_a_lab_that_it_may_only_read(python: str) -> None:
    with lab_of(python, owner=ANA, mode=0o2750) as lab:
        ana, ben = lab.account(ANA, umask=0o022), lab.account(BEN, umask=0o022)
        run = ana.do("start")
        lab.wait(lambda: lab.is_at_work(run), "ana's run never started")
        code, out, errors = ben.do("command", "queue")
        assert code == 0 and run in out and "running" in out
        assert errors.count("\n") == 1 and f"account {BEN} may not write it" in errors
        with pytest.raises(Refused, match=f"account {BEN} may not write"):
            ben.do("start")
        assert ana.do("stop", run) == "stopped"
        assert lab.owners() == {ANA}


def test_an_account_that_may_only_read_generates_images_elsewhere(python: str, trained_lab: Path) -> None:
    with lab_of(python, owner=ANA, mode=0o2750) as lab:
        shutil.copytree(trained_lab / "runs", lab.runs, dirs_exist_ok=True)
        for path in lab.runs.rglob("*"):
            os.chown(path, ANA, GROUP)
            path.chmod(0o2750 if path.is_dir() else 0o640)
        ben = lab.account(BEN, umask=0o022)
        run = next(path.name for path in lab.runs.iterdir() if "-unet-" in path.name)
        words = ["sample", run, "--labels", "0-1", "--per-class", "1", "--steps", "2"]
        out = lab.folder / f"home-{BEN}" / "images"
        code, output, errors = ben.do("command", *words, "--out", str(out))
        assert code == 0 and str(out) in output, errors
        assert {path.suffix for path in out.iterdir()} >= {".png", ".json"}
        code, _, errors = ben.do("command", *words)
        assert code == 2 and errors.splitlines()[-1].endswith("Permission denied; give another folder"), errors
        assert lab.owners() == {ANA}, "whoever generates leaves nothing behind"


@pytest.mark.skipif(confinement.version() < confinement.FEWEST, reason="needs Landlock, of Linux 6.2 or newer")
class TestBound:
    """What the kernel holds about the processes that look after a run."""

    def test_a_run_whose_shim_died_is_found_again(self, lab: Lab) -> None:
        """The shim that comes after it is bound, the run's processes are bound otherwise."""
        ana = lab.account(ANA, umask=0o002)
        run = ana.do("start")
        lab.wait(lambda: lab.is_at_work(run), "it never started")
        attempt = json.loads((lab.runs / run / "attempt.json").read_text())["attempt"]
        (first,) = shims(run)
        os.kill(first, signal.SIGKILL)
        lab.wait(lambda: shims(run) - {first}, "no shim came after it")
        step = lab.status(run)["step"]
        lab.wait(lambda: lab.status(run)["step"] > step, "it does not go on")
        ana.do("stop", run)
        lab.wait(lambda: lab.status(run)["state"] == "stopped", "it was not stopped")
        lab.wait(lambda: not lab.workers(run), "its process is left behind")
        assert json.loads((lab.runs / run / "attempt.json").read_text())["attempt"] == attempt

    def test_what_a_training_leaves_behind_is_ended(self, lab: Lab) -> None:
        """Its shim was bound after the training had been forked, so the kernel hides the training from it."""
        ana = lab.account(ANA, umask=0o002)
        run = lab.runs / ana.do("start")
        lab.wait(lambda: lab.is_at_work(run.name), "it never started")
        ana.do("stop", run.name)
        lab.wait(lambda: not shims(run.name), "its shim goes on")
        token = f"{run.name}.7"
        program = (
            "import os, sys; run, token = sys.argv[1:]; lock = os.open(run, os.O_RDONLY); "
            "os.set_inheritable(lock, True); pid = os.fork(); "
            "pid or os.execve('/bin/sh', ['sh', '-c', 'sleep 600 & sleep 1'], {**os.environ, 'LAB_ATTEMPT': token}); "
            "os.execv(sys.executable, [sys.executable, '-m', 'core.jobs.shim', '--run', run, '--attempt', '7', "
            "'--lock', str(lock), '--grace', '0', '--child', str(pid), '--', 'sh'])"
        )
        subprocess.run(
            [lab.python, "-c", program, str(run), token],
            env={**lab.environment, confinement.SEAL_VARIABLE: "any"},
            user=ANA,
            group=ANA,
            extra_groups=(GROUP,),
            check=True,
        )
        end = json.loads((run / "exit.json").read_text())
        assert (end["attempt"], end["exit_code"], end["left"]) == (7, 0, 0)
        assert attempts.living_pids(token) == []

    def test_a_supervisor_writes_nowhere_else_even_in_the_moment_after_it_has_looked(self, lab: Lab) -> None:
        ana = lab.account(ANA, umask=0o002)
        private = lab.folder / f"home-{ANA}" / "private"
        private.mkdir(mode=0o700)
        os.chown(private, ANA, ANA)
        ana.do("start")
        lab.wait(lambda: lab.supervisors() == {ANA}, "no supervisor serves")
        (supervisor,) = (pid for pid, words in command_lines() if str(lab.runs) in words and SUPERVISOR in words)
        lab.wait(lambda: is_bound(supervisor), "its supervisor may write anywhere")
        program = (
            "import subprocess, sys; from pathlib import Path; from core.jobs.confinement import confine_thread; "
            "from core.machine.outside import outside; runs, private = map(Path, sys.argv[1:]); "
            "assert confine_thread(runs); (runs / 'of-a-run').symlink_to(private); (runs / 'own').touch(); "
            "outside(subprocess.run, ['touch', str(private / 'of-a-training')], check=True); "
            "(runs / 'of-a-run' / 'status.json').touch()"
        )
        done = subprocess.run(
            [lab.python, "-c", program, str(lab.runs), str(private)],
            env={**lab.environment, "TMPDIR": str(private.parent / "tmp")},
            user=ANA,
            group=ANA,
            extra_groups=(GROUP,),
            capture_output=True,
            text=True,
        )
        assert "PermissionError" in done.stderr and "of-a-run/status.json" in done.stderr
        assert [path.name for path in private.iterdir()] == ["of-a-training"]


SUPERVISOR = "core.jobs.supervisor"


def command_lines() -> Iterator[tuple[int, list[str]]]:
    """(pid, command line) of what lives."""
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit() and (words := (path / "cmdline").read_bytes().decode().split("\0"))[0]:
                yield int(path.name), words


def shims(run: str) -> set[int]:
    """Pids of the processes that watch a run."""
    return {pid for pid, words in command_lines() if "core.jobs.shim" in words and any(run in word for word in words)}


def is_bound(pid: int) -> bool:
    """Whether the main thread of a process gave up rights for good, as Landlock asks of it."""
    return "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
