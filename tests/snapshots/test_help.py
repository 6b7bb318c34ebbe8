"""The names that a command line may hold: every option and argument of every subcommand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import typer

from mmssl_cli.app import app


@pytest.fixture
def group() -> Any:
    """The command object of the whole program."""
    return typer.main.get_command(app)


@pytest.fixture
def context(group: Any) -> Any:
    """A command line of the program that is parsed, but not carried out."""
    return group.make_context("mmssl", ["--help"], resilient_parsing=True)


def _label(parameter: Any) -> str:
    """Write an option as all its spellings, an argument as its name, and say which of them is required."""
    if parameter.param_type_name == "argument":
        label = (parameter.metavar or parameter.name.upper()).strip("[].") + ("..." if parameter.nargs != 1 else "")
    else:
        spellings = [parameter.opts, parameter.secondary_opts]
        label = " / ".join(", ".join(sorted(names, key=len, reverse=True)) for names in spellings if names)
    return f"{label} (required)" if parameter.required else label


def _labels(context: Any) -> list[str]:
    """List the parameters of the command that a context has come to: it may be loaded only as it is called."""
    return [_label(parameter) for parameter in context.command.get_params(context)]


def test_subcommands_are_the_same(group: Any, context: Any, assert_kept: Callable[..., None]) -> None:
    """Check that no subcommand went or came."""
    assert_kept("help.json", "subcommands", group.list_commands(context))


def test_options_of_the_program_are_the_same(context: Any, assert_kept: Callable[..., None]) -> None:
    """Check the options that stand before a subcommand."""
    assert_kept("help.json", "mmssl", _labels(context))


def test_options_and_arguments_are_the_same(
    group: Any, context: Any, command: str, assert_kept: Callable[..., None]
) -> None:
    """Check that every option and argument of a subcommand is still there, and no other."""
    called = group.get_command(context, command).make_context(command, [], parent=context, resilient_parsing=True)
    assert_kept("help.json", command, _labels(called))
