"""`sweep vae|unet|all --set a=1,2 --seeds 0,1,2`: a training per combination and seed, one group in the queue."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.request_options import add_request_options, request_of
from core.commands.tables import plain
from core.config.load import load_config
from core.config.site import is_site_setting
from core.errors import UsageError
from core.home import PROGRAM
from core.jobs.queue_order import wait_until_taken
from core.jobs.service import inherited_values
from core.jobs.sweeps import parse_seeds, parse_values, points_of, start_sweep
from core.runs.groups import SWEEP
from core.runs.kinds import trained_by
from core.words import counted


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "sweep",
        "Train every combination of some settings, each with several seeds.",
        (
            "sweep all --preset quick --set train_unet.learning_rate=1e-3,2e-3 --seeds 0,1,2",
            "sweep unet --vae RUN --set unet.dropout=0.0,0.1 --seeds 0-2",
        ),
    )
    kinds = [part.name for part in trained_by("all")]
    parser.add_argument("kind", choices=(*kinds, "all"), help="'all' trains a VAE, then its U-Net, for each")
    parser.add_argument("--vae", metavar="RUN", help="the finished VAE run that the U-Nets train on (default: none)")
    parser.add_argument("--seeds", default="0,1,2", metavar="SEEDS", help="of each combination, as 0,1,2 or 0-4")
    parser.add_argument("--list", action="store_true", help="the first values of all settings, then the second ones, …")
    parser.add_argument("--name", default="", help="begins the names of its runs (default: none)")
    parser.add_argument("--priority", type=int, default=0, metavar="N", help="-10 to 10; higher goes first")
    add_request_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Queue them and return."""
    chosen = [parse_values(text) for text in arguments.overrides]
    arguments.overrides = [text for text in arguments.overrides if is_site_setting(text.partition("=")[0])]
    if any(name == "seed" for name, _ in chosen):
        raise UsageError("--set seed: a sweep names its seeds apart", "use --seeds 0,1,2")
    store = store_of(arguments)
    inherited: dict[str, Any] = {}
    if arguments.vae and trained_by(arguments.kind)[0].parent:
        vae_run = store.get(arguments.vae)
        inherited = inherited_values(vae_run) if vae_run.kind.vae == "own" else {}
    fixed = {name: values[0] for name, values in chosen if len(values) == 1 and not is_site_setting(name)}
    axes = {name: values for name, values in chosen if len(values) > 1}
    points = points_of(axes, parse_seeds(arguments.seeds), as_list=arguments.list)
    trainings = [
        (
            point,
            load_config(arguments.config, preset=arguments.preset, overrides={**inherited, **fixed, **point.overrides}),
        )
        for point in points
    ]
    sweep, runs = start_sweep(
        store,
        arguments.kind,
        trainings,
        name=arguments.name,
        explicit=fixed,
        vae_run=arguments.vae,
        preset=arguments.preset or "",
        priority=arguments.priority,
        request=request_of(arguments),
    )
    wait_until_taken(store, runs)
    words = [
        *(f"{run.id}  {plain(run.info.name)}" for run in runs),
        f"{counted(len(points), 'training')} queued as {SWEEP}{sweep}. Compare them: "
        f"{PROGRAM} compare-runs {SWEEP}{sweep}. Stop them: {PROGRAM} stop {SWEEP}{sweep}",
    ]
    answer(arguments, {"sweep": sweep, "runs": [run.id for run in runs]}, "\n".join(words))
    return 0
