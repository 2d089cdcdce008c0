"""`export RUN DIR`: a folder that plain diffusers loads, with card and picture; this lab loads it back bit for bit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from core.commands.options import find_unet_run, site_of
from core.config.site import SiteSettings
from core.diffusion.sampler_table import EXPORTED_SAMPLERS
from core.errors import UsageError
from core.evaluation.report import figures_for_card
from core.model_folders.hub import check_repo_id, push
from core.runs.listing import newest_step
from core.runs.run import Run


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = commands.add_parser("export", help="write a trained run as a folder that plain diffusers loads")
    parser.add_argument("run", metavar="RUN", help="run id or name, or the path of a run folder")
    parser.add_argument("target", metavar="DIR", type=Path, help="a folder that does not exist yet, or is empty")
    parser.add_argument("--checkpoint", type=int, metavar="STEP", help="an earlier checkpoint than the newest")
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="averaged or last weights")
    parser.add_argument("--license", default="mit", metavar="TEXT", help="of the weights, for the card (default: mit)")
    parser.add_argument(
        "--sampler",
        default="",
        metavar="NAME",
        help=f"the scheduler in the folder: {', '.join(EXPORTED_SAMPLERS[:-1])} or {EXPORTED_SAMPLERS[-1]}",
    )
    parser.add_argument(
        "--with-judge",
        action="store_true",
        help="take the data set's judge along (about 1 MB), so that class probabilities need no data set there",
    )
    parser.add_argument(
        "--push",
        default="",
        metavar="NAMESPACE/NAME",
        help="then into a new repository of the model hub, with the credentials of `hf auth login` or HF_TOKEN",
    )
    parser.add_argument("--private", action="store_true", help="with --push: not for everybody to see")


def run(arguments: argparse.Namespace) -> int:
    """Write the folder and say how it is loaded."""
    if arguments.push:
        check_repo_id(arguments.push)
    elif arguments.private:
        raise UsageError("--private: goes with --push NAMESPACE/NAME", "an export is a folder of this machine only")
    source = find_unet_run(arguments, arguments.run)
    step = newest_step(source) if arguments.checkpoint is None else arguments.checkpoint
    figures = figures_for_card(source, step, arguments.weights)

    from core.model_folders.export import ExportOptions, check_target, export_run

    check_target(arguments.target)
    options = ExportOptions(
        step=step,
        weights=arguments.weights,
        licence=arguments.license,
        sampler=arguments.sampler,
        report=figures,
        judge=_judge(source, site_of(arguments)) if arguments.with_judge else {},
    )
    target = export_run(source, arguments.target, options)
    if figures is None:
        print(f"note: these weights of {source.id} were never evaluated, so the card has no figures", file=sys.stderr)
    print(target, flush=True)
    if arguments.push:
        pushed = push(target, arguments.push, private=arguments.private)
        print(f"{pushed.url} ({'private' if pushed.is_private else 'everybody can see it'})")
    return 0


def _judge(run: Run, site: SiteSettings) -> dict[str, bytes]:
    from core.evaluation.folder_judge import judge_for_export

    found = judge_for_export(run, data_dir=site.data, cache_dir=site.cache, progress=_say)
    _say("", 0.0)
    return found


def _say(text: str, fraction: float) -> None:
    """One line on a terminal, rewritten as it goes on."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
