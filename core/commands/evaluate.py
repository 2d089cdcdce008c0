"""`evaluate RUN [--samples N] [--queue]`: class accuracy, FD-judge, precision and recall, with their uncertainty."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import find_source, settings_of_run, site_of
from core.commands.progress import progress_bar
from core.commands.request_options import add_request_options, request_of
from core.commands.tables import table
from core.commands.train import ends_of, finish_launch
from core.config.schema import LABEL_CHOICES
from core.errors import UsageError
from core.evaluation.report import REPORTS, Report, ceiling_beside, report_rows, write_report
from core.home import PROGRAM
from core.jobs.evaluation_job import LEVELS, start_evaluation, with_seed
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
        "--level",
        choices=tuple(LEVELS),
        help="1,000, 10,000 or 50,000 images; release measures three seeds (default: the run's setting)",
    )
    parser.add_argument(
        "--labels",
        choices=LABEL_CHOICES,
        help="classes as often as in the training data, or all equally often (default: the run's setting)",
    )
    parser.add_argument("--queue", action="store_true", help="queue it as a run and return, instead of measuring now")
    add_request_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the report as a table and write it into the run."""
    source = find_source(arguments, arguments.run)
    if not source.data_set:
        raise UsageError(
            f"{source.id}: does not name its dataset", f"import it again: {PROGRAM} import-model FOLDER --data NAME"
        )
    images, seeds = LEVELS.get(arguments.level, (None, 1))
    if images is not None and not any(text.startswith("evaluation.num_samples=") for text in arguments.overrides):
        arguments.overrides.append(f"evaluation.num_samples={images}")
    if arguments.samples is not None:
        arguments.overrides.append(f"evaluation.num_samples={arguments.samples}")
    if arguments.labels is not None:
        arguments.overrides.append(f"evaluation.labels={arguments.labels}")
    settings = settings_of_run(arguments, source, ("sampling", "evaluation", "machine"))
    banks = [with_seed(settings, settings.sampling.seed + number) for number in range(seeds)]
    if arguments.queue:
        if source.run is None:
            raise UsageError(f"{source.id}: a model folder keeps no evaluation", "evaluate it without --queue")
        store = RunStore(source.run.folder.parent)
        queued = [start_evaluation(store, source.run, settings=each, request=request_of(arguments)) for each in banks]
        code = finish_launch(arguments, store, queued, detach=True)
        answer(arguments, ends_of(queued))
        return code

    if asked := request_of(arguments):
        raise UsageError(f"{next(iter(asked))}: is for a queued evaluation", "add --queue")

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
        measured = []
        for bank in banks:
            report = evaluate(
                model,
                image_set,
                num_samples=bank.evaluation.num_samples,
                sampling=bank.sampling,
                evaluation=bank.evaluation,
                cache_dir=site.cache,
                seed=bank.sampling.seed,
                progress=show,
            )
            measured.append((report, None if source.run is None else str(write_report(source.run, report))))

    def words() -> str:
        parts = []
        for report, path in measured:
            ceiling = None if source.run is None else ceiling_beside(source.run, report)
            parts.append(table(["metric", "value", "note"], report_rows(report, ceiling)))
            if source.run is not None and ceiling is None:
                parts.append(f"The VAE's own ceiling has not been measured. Run: {PROGRAM} ceiling {source.id}")
            parts.append(f"stored in {path}" if path else "not stored: a model folder stays as it was exported")
        if len(measured) > 1:
            parts.append(over_seeds([report for report, _ in measured]))
        return "\n\n".join(parts)

    first, *others = ({"path": path, **REPORTS.as_json(report)} for report, path in measured)
    answer(arguments, {**first, "other_seeds": others} if others else first, words)
    return 0


def over_seeds(reports: Sequence[Report]) -> str:
    """'3 seeds: class accuracy 99.10% ± 0.05%, …': means, and standard deviations over the seeds."""

    def spread(name: str, digits: str) -> str:
        values = [getattr(report, name) for report in reports]
        return f"{statistics.mean(values):{digits}} ± {statistics.stdev(values):{digits}}"

    figures = (
        ("class accuracy", "class_accuracy", ".2%"),
        ("FD-judge", "fd_judge", ".4g"),
        ("recall", "recall", ".3f"),
    )
    return f"{len(reports)} seeds: " + ", ".join(f"{words} {spread(name, digits)}" for words, name, digits in figures)
