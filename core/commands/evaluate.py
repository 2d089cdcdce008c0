"""`evaluate RUN [--samples N] [--queue]`: class accuracy, FD-judge, precision and recall, with their uncertainty."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import find_source, settings_of_run, site_of
from core.commands.progress import progress_bar
from core.commands.tables import table
from core.commands.train import ends_of, finish_launch
from core.config.schema import LABEL_CHOICES
from core.errors import UsageError
from core.evaluation.report import REPORTS, ceiling_beside, report_rows, write_report
from core.home import PROGRAM
from core.jobs.evaluation_job import start_evaluation
from core.runs.store import RunStore


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "evaluate",
        "Measure the quality of generated images, with the uncertainty of each figure.",
        ("evaluate model:mnist-demo --samples 200", "evaluate RUN --samples 5000 --json"),
    )
    parser.add_argument(
        "run", metavar="RUN|MODEL_DIR", help="run id or name, model:NAME, or the path of a run or model folder"
    )
    parser.add_argument("--samples", type=int, metavar="N", help="images to generate (default: the run's setting)")
    parser.add_argument(
        "--labels",
        choices=LABEL_CHOICES,
        help="classes as often as in the training data, or all equally often (default: the run's setting)",
    )
    parser.add_argument("--queue", action="store_true", help="queue it as a run and return, instead of measuring now")


def run(arguments: argparse.Namespace) -> int:
    """Print the report as a table and write it into the run."""
    source = find_source(arguments, arguments.run)
    if not source.data_set:
        raise UsageError(
            f"{source.id}: does not name its dataset", f"import it again: {PROGRAM} import-model FOLDER --data NAME"
        )
    if arguments.samples is not None:
        arguments.overrides.append(f"evaluation.num_samples={arguments.samples}")
    if arguments.labels is not None:
        arguments.overrides.append(f"evaluation.labels={arguments.labels}")
    settings = settings_of_run(arguments, source, ("sampling", "evaluation", "machine"))
    if arguments.queue:
        if source.run is None:
            raise UsageError(f"{source.id}: a model folder keeps no evaluation", "evaluate it without --queue")
        store = RunStore(source.run.folder.parent)
        queued = [start_evaluation(store, source.run, settings=settings)]
        code = finish_launch(arguments, store, queued, detach=True)
        answer(arguments, ends_of(queued))
        return code

    from core.data.arrays import prepare
    from core.device import take_free_cores
    from core.evaluation.evaluate import evaluate
    from core.sampling.room import check_room

    trained, site = source.settings, site_of(arguments)
    with progress_bar("loading the model") as show:
        model = source.load(device=settings.machine.device)
        take_free_cores(settings.machine.num_threads)
        check_room(model, min(settings.evaluation.num_samples, settings.sampling.batch_size))
        show("reading the dataset", 0.0)
        image_set = prepare(trained.data, data_dir=site.data, cache_dir=site.cache, rules=source.rules)
        report = evaluate(
            model,
            image_set,
            num_samples=settings.evaluation.num_samples,
            sampling=settings.sampling,
            evaluation=settings.evaluation,
            cache_dir=site.cache,
            seed=settings.sampling.seed,
            progress=show,
        )
    path = None if source.run is None else str(write_report(source.run, report))

    def words() -> str:
        ceiling = None if source.run is None else ceiling_beside(source.run, report)
        parts = [table(["metric", "value", "note"], report_rows(report, ceiling))]
        if source.run is not None and ceiling is None:
            parts.append(f"The VAE's own ceiling has not been measured. Run: {PROGRAM} ceiling {source.id}")
        parts.append(f"stored in {path}" if path else "not stored: a model folder stays as it was exported")
        return "\n\n".join(parts)

    answer(arguments, {"path": path, **REPORTS.as_json(report)}, words)
    return 0
