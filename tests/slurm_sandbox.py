"""A real Slurm on this machine for tests: pretended nodes with pretended GPUs, in one folder, ended by pid.

Needs root and Debian's slurmctld, slurmd, slurm-client and munge; none of their services has to run. There is no
slurmdbd and no control group. The nodes share this machine's network, file system and clock: see docs/scaling.md for
what that does not show.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from core.machine.processes import living_stat

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
PATIENCE_S = 120.0
CONFIGURATION = """\
ClusterName=sandbox
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/run/munge.sock,cred_expire=2
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=2,sched_min_interval=100000,bf_interval=2,batch_sched_delay=0
GresTypes=gpu
ReturnToService=2
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd.%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.%n.log
SlurmdParameters=config_overrides
KillWait=30
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=20
JobRequeue=1
"""


def lacking() -> str:
    """Why there can be no sandbox here, '' where there can."""
    if os.geteuid() != 0:
        return "a Slurm of its own needs root"
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


class Sandbox:
    """Slurm of its own in `root`, a short path. nodes with `gpus` pretended GPUs each; cpus: jobs without GPUs fit."""

    def __init__(self, root: Path, *, nodes: int = 2, gpus: int = 2, cpus: int = 8) -> None:
        self.root, self.names = root, [f"n{number}" for number in range(1, nodes + 1)]
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(root / "etc" / "slurm.conf")}
        for name in ("etc", "state", "spool", "log", "run", "dev"):
            (root / name).mkdir(parents=True)
        root.chmod(0o755)
        key = root / "etc" / "munge.key"
        key.touch(mode=0o400)
        key.write_bytes(secrets.token_bytes(1024))
        for number in range(gpus):  # Slurm sets CUDA_VISIBLE_DEVICES for character devices only
            os.mknod(root / "dev" / f"gpu{number}", 0o666 | 0o020000, os.makedev(1, 3))
        ports = _free_ports(nodes + 1)
        host = socket.gethostname().partition(".")[0]
        lines = [CONFIGURATION.format(root=root, host=host, port=ports[0])]
        for name, port in zip(self.names, ports[1:], strict=True):
            size = f"CPUs={cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory=64000"
            where = f"NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            lines.append(f"NodeName={name} {where} {size} Gres=gpu:{gpus} State=UNKNOWN\n")
        lines.append("PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 State=UP\n")
        lines.append("PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=9 State=UP\n")
        (root / "etc" / "slurm.conf").write_text("".join(lines))
        (root / "etc" / "gres.conf").write_text(f"AutoDetect=off\nName=gpu File={root}/dev/gpu[0-{gpus - 1}]\n")

    def start(self) -> None:
        """Start everything and wait until all nodes are idle."""
        munge = [f"--key-file={self.root}/etc/munge.key", f"--socket={self.root}/run/munge.sock", "--num-threads=2"]
        munge += [f"--pid-file={self.root}/run/munged.pid", f"--log-file={self.root}/log/munged.log"]
        self.call("munged", "--force", *munge, f"--seed-file={self.root}/run/munge.seed")
        self.start_controller()
        for name in self.names:
            self.start_node(name)
        self.wait_until_idle()

    def start_controller(self) -> None:
        """Start slurmctld, again where it was killed."""
        self.call("slurmctld")

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node, again where it was killed."""
        self.call("slurmd", "-N", name)

    def wait_until_idle(self) -> None:
        """Until every node takes jobs."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := self.states()) != dict.fromkeys(self.names, "idle"):
            assert time.monotonic() < deadline, f"the nodes are {found}\n{self.log()}"
            time.sleep(0.1)

    def states(self) -> dict[str, str]:
        """State by node; {} while nobody answers."""
        try:
            text = self.call("sinfo", "--Node", "--noheader", "--partition=main", "--format=%N %T", timeout_s=60.0)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return {}
        return dict(line.split() for line in text.splitlines())

    def kill(self, daemon: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill slurmctld or slurmd.NAME and wait until it is gone."""
        path = self.root / "run" / f"{daemon}.pid"
        pid = int(path.read_text())
        os.kill(pid, number)
        deadline = time.monotonic() + PATIENCE_S
        while living_stat(pid) is not None:
            assert time.monotonic() < deadline, f"{daemon} does not end"
            time.sleep(0.05)

    def call(self, *command: str, timeout_s: float = PATIENCE_S) -> str:
        """What one of Slurm's programs prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=True
        )
        return done.stdout

    def log(self) -> str:
        """The end of the controller's log."""
        try:
            return (self.root / "log" / "slurmctld.log").read_text()[-4000:]
        except OSError:
            return ""

    def close(self) -> None:
        """End its jobs and its daemons."""
        with contextlib.suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
            self.call("scancel", "--signal=KILL", "--full", "--user=root", timeout_s=60.0)
        with contextlib.suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
            self.call("scancel", "--user=root", timeout_s=60.0)
        for daemon in (*(f"slurmd.{name}" for name in self.names), "slurmctld", "munged"):
            with contextlib.suppress(OSError, ValueError):
                self.kill(daemon)


def _free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody uses."""
    with contextlib.ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]
