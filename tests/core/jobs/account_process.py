"""What one Unix account does in a runs folder: verbs by name from standard input, answers as JSON lines.

`python account_process.py RUNS WORKER`: WORKER is the command line of a stand-in training, as JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

from core.__main__ import main
from core.config.load import settings_from
from core.errors import LabError
from core.jobs import service, sharing
from core.jobs.engines.local import LocalEngine
from core.jobs.orders import Broken, Orders
from core.jobs.queue import Queue
from core.jobs.start_supervisor import start_supervisor
from core.runs.store import RunStore


class Verbs:
    """What it can be asked. Each returns something that JSON can say."""

    def __init__(self, runs: Path, worker: list[str]) -> None:
        self.store = RunStore(runs)
        self.worker = worker
        self.engine = LocalEngine(self.store, worker=worker)

    def start(self, steps: int = 100_000) -> str:
        values = {"train_vae": {"steps": steps}, "machine": {"device": "cpu", "stop_grace_s": 600}}
        run = self.store.create("vae", settings_from(values), owner="somebody")
        self.engine.submit([run])
        return run.id

    def serve(self) -> None:
        start_supervisor(self.store, self.worker)

    def stop(self, run: str) -> str:
        return str(service.stop_run(self.store, run, engine=self.engine).state)

    def resume(self, run: str) -> list[str]:
        return [each.id for each in service.resume_run(self.store, run, engine=self.engine)]

    def delete(self, run: str) -> None:
        service.delete_run(self.store, run)

    def restore(self, run: str) -> str:
        return service.restore_run(self.store, run).id

    def tag(self, run: str, tag: str) -> list[str]:
        return list(service.describe_run(self.store, run, add_tags=[tag])[1].tags)

    def job(self, run: str) -> list[Any]:
        job = Queue(self.store.root).job(run)
        return [str(job.state), job.waits_for, job.uid] if job else []

    def ordered(self, run: str) -> list[Any] | str:
        job = Queue(self.store.root).job(run)
        assert job is not None
        try:
            bound = Orders(Queue(self.store.root).folder).bound(job)
        except Broken as error:
            return str(error)
        return [dict(bound.environment), bound.code, bound.num_processes, bound.device]

    def alter(self, run: str, column: str, value: object) -> None:
        with Queue(self.store.root).transaction() as database:
            database.execute(f"update jobs set {column} = ? where run_id = ?", (value, run))

    def write(self, path: str, text: str) -> None:
        """Replace a file, as whoever may write its folder can."""
        target = Path(path)
        target.with_suffix(".theirs").write_text(text)
        target.with_suffix(".theirs").replace(target)

    def make(self, path: str) -> None:
        Path(path).mkdir()

    def swap(self, path: str, link_to: str) -> None:
        """A link in the place of a folder."""
        target = Path(path)
        target.rename(target.with_name(f"{target.name}-away"))
        target.symlink_to(link_to)

    def doctor(self) -> list[Any]:
        return list(sharing.findings(self.store.root))

    def command(self, *words: str) -> list[Any]:
        """(exit code, standard output, standard error) of the command line."""
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            try:
                code = main(list(words))
            except SystemExit as end:
                code = int(end.code or 0)
        return [code, out.getvalue(), errors.getvalue()]


def serve(verbs: Verbs) -> None:
    """Answer until nobody asks any more."""
    print(json.dumps({"found": "ready"}), flush=True)
    for line in sys.stdin:
        verb, *words = json.loads(line)
        try:
            answer = {"found": getattr(verbs, verb)(*words)}
        except (LabError, OSError) as error:
            answer = {"refused": str(error)}
        sys.__stdout__.write(json.dumps(answer) + "\n")  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    serve(Verbs(Path(sys.argv[1]), json.loads(sys.argv[2])))
