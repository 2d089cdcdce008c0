"""Every command explains itself in one sentence, two examples and every default; old names of options still work."""

from __future__ import annotations

import argparse
import shlex

import pytest

from core.__main__ import build_parser
from core.commands.command_help import names_shown
from tests.test_documentation import refusal, subparsers

COMMANDS = subparsers()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_one_sentence_and_two_examples_that_parse(name: str) -> None:
    parser = COMMANDS[name]
    sentence = str(parser.description)
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert "." not in sentence[:-1].replace(".npz", "")
    assert len(sentence.split()) <= 25
    examples = parser.get_default("examples")
    assert len(examples) >= 2
    assert [refusal(f"python -m core {example}") for example in examples] == [""] * len(examples)
    assert all(shlex.split(example)[0] == name for example in examples)
    assert all(f"python -m core {example}" in parser.format_help() for example in examples)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_states_the_default_of_every_option_that_takes_a_value(name: str) -> None:
    for action in COMMANDS[name]._actions:
        assert action.help
        if action.option_strings and action.nargs != 0 and not action.required:
            alone = argparse.ArgumentParser(formatter_class=COMMANDS[name].formatter_class, add_help=False)
            alone._add_action(action)
            words = " ".join(alone.format_help().split())
            assert "(default: " in words or "Repeatable" in words, (name, action.option_strings)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("branch RUN --step 5", "branch RUN --checkpoint 5"),
        ("ceiling RUN --step 5", "ceiling RUN --checkpoint 5"),
        ("latents RUN --step 5", "latents RUN --checkpoint 5"),
        ("timestep-loss RUN --step 5 --pictures 9", "timestep-loss RUN --checkpoint 5 --samples 9"),
        ("sample RUN --per-label 3", "sample RUN --per-class 3"),
        ("import-data x.npz --name x --licence CC0", "import-data x.npz --name x --license CC0"),
        ("note RUN --favourite", "note RUN --favorite"),
        ("note RUN --unfavourite", "note RUN --unfavorite"),
    ],
)
def test_an_old_name_means_the_same_and_is_not_shown(old: str, new: str) -> None:
    before, now = (vars(build_parser().parse_args(words.split())) for words in (old, new))
    assert before == now
    hidden = {word for word in old.split() if word.startswith("--")} - set(new.split())
    shown = {name for action in COMMANDS[old.split()[0]]._actions for name in names_shown(action)}
    assert hidden
    assert not hidden & shown


def test_an_old_value_means_the_same() -> None:
    old, new = (
        vars(build_parser().parse_args(f"film RUN a.gif --layer {name}".split())) for name in ("held", "current")
    )
    assert old == new
