"""`export RUN DIR`: a folder that plain diffusers loads, with card and picture; this lab loads it back bit for bit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from core.commands.answer import answer, say
from core.commands.command_help import add_command
from core.commands.options import add_checkpoint_options, find_unet_run, site_of
from core.commands.progress import progress_bar
from core.config.site import SiteSettings
from core.diffusion.sampler_table import EXPORTED_SAMPLERS
from core.errors import UsageError
from core.evaluation.report import figures_for_card
from core.model_folders.hub import check_repo_id, push
from core.runs.listing import newest_step
from core.runs.run import Run


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "export",
        "Write a trained run as a folder that plain diffusers loads.",
        ("export RUN digits-model --license mit", "export RUN digits-model --weights raw --with-judge"),
    )
    parser.add_argument("run", metavar="RUN", help="a U-Net run: id, name or path of its folder")
    parser.add_argument("target", metavar="DIR", type=Path, help="a folder that does not exist yet, or is empty")
    add_checkpoint_options(parser)
    parser.add_argument("--license", default="mit", metavar="TEXT", help="license of the weights, for the card")
    parser.add_argument(
        "--sampler",
        default="",
        metavar="NAME",
        help=f"scheduler (default: the run's): {', '.join(EXPORTED_SAMPLERS[:-1])} or {EXPORTED_SAMPLERS[-1]}",
    )
    parser.add_argument(
        "--with-judge",
        action="store_true",
        help="include the dataset's judge (about 1 MB), so that class probabilities need no dataset there",
    )
    parser.add_argument(
        "--push",
        default="",
        metavar="NAMESPACE/NAME",
        help="then upload to a new repository of the model hub, signed in with `hf auth login` (default: no)",
    )
    parser.add_argument("--private", action="store_true", help="with --push: visible to you only")


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
    with progress_bar("exporting") as show:
        target = export_run(source, arguments.target, options, show)
    if figures is None:
        print(f"note: these weights of {source.id} were never evaluated, so the card has no figures", file=sys.stderr)
    say(arguments, str(target))
    facts = {"path": str(target), "run": source.id, "step": step, "weights": arguments.weights, "url": None}
    words = ""
    if arguments.push:
        with progress_bar(f"uploading to {arguments.push}"):
            pushed = push(target, arguments.push, private=arguments.private)
        facts["url"], words = pushed.url, f"{pushed.url} ({'private' if pushed.is_private else 'public'})"
    answer(arguments, facts, words)
    return 0


def _judge(run: Run, site: SiteSettings) -> dict[str, bytes]:
    from core.evaluation.folder_judge import judge_for_export

    with progress_bar("reading the judge") as show:
        return judge_for_export(run, data_dir=site.data, cache_dir=site.cache, progress=show)
