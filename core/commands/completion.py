"""`completion SHELL`: what a shell needs to complete `latent-lab` at the Tab key; and what it then proposes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from core.commands.command_help import add_command, names_shown
from core.config.load import preset_names, read_site
from core.config.schema import field_rows
from core.diffusion.sampler_table import EXPORTED_SAMPLERS, SAMPLERS
from core.home import COMMAND
from core.model_folders.model_facts import list_model_folders
from core.runs.store import RunStore

SHELLS = ("bash", "zsh", "fish")
ASKED = "_ARGCOMPLETE"  # set by the shell's function while it asks


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "completion",
        "Print the code with which a shell completes latent-lab at the Tab key.",
        ("completion bash", "completion fish"),
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads it")


def run(arguments: argparse.Namespace) -> int:
    """Print it, for `eval` or `source`."""
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(shellcode([COMMAND], shell=arguments.shell))
    return 0


def answer_shell(parser: argparse.ArgumentParser) -> None:
    """Where a shell asks: tell it what can follow, and exit. Returns otherwise."""
    if ASKED in os.environ:
        complete(parser)


def complete(parser: argparse.ArgumentParser, output: TextIO | None = None, **options: Any) -> None:
    """Propose commands, options, choices, runs, presets, samplers and settings, and exit.

    output, options: where it is written, and more of `argcomplete.autocomplete`; for tests.
    """
    from argcomplete import autocomplete

    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    names: set[str] = set()
    shown: set[str] = set()
    for command, its_parser in commands.choices.items():
        for action in its_parser._actions:
            names |= set(action.option_strings)
            shown |= set(names_shown(action))
            name = action.option_strings[0] if action.option_strings else str(action.metavar)
            completer = _COMPLETERS.get(f"{command} {name}") or _COMPLETERS.get(name)
            if completer is not None:
                action.completer = completer  # type: ignore[attr-defined]
    autocomplete(parser, output_stream=output, exclude=names - shown, **options)


def _runs(**_: Any) -> Iterator[str]:
    for run in RunStore(read_site()[0].runs).list():
        yield run.id
        if run.info.name:
            yield run.info.name


def _sources(**_: Any) -> Iterator[str]:
    yield from (info.id for info in list_model_folders(read_site()[0].models))
    yield from _runs()


def _settings(**_: Any) -> list[str]:
    return [f"{name}=" for name, _ in field_rows()]


_COMPLETERS = {  # by an option's first name, or by what stands for an argument in the help
    "RUN": _runs,
    "RUN|MODEL_DIR": _sources,
    "--vae": _runs,
    "--move": _runs,
    "--prioritize": _runs,
    "--preset": lambda **_: preset_names(),
    "sample --sampler": lambda **_: SAMPLERS,
    "export --sampler": lambda **_: EXPORTED_SAMPLERS,
    "--set": _settings,
}
