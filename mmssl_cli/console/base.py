"""Common to all reporters: lines on standard error, silence, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rich.console import Console
from rich.markup import escape

from mmssl_cli.console.lines import printable
from mmssl_cli.console.verbosity import Verbosity

Kind = TypeVar("Kind")


class SilentReporter:
    """Prints nothing, for `-q`."""

    def message(self, text: str) -> None:
        """Something worth a line happened."""

    def close(self) -> None:
        """Restore the terminal, however the work ended."""


class LineReporter(SilentReporter):
    """Prints lines on a console."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__()
        self.console, self.verbose = console, verbose

    def message(self, text: str) -> None:
        self.console.print(escape(printable(text)), highlight=False, soft_wrap=True)


def make(
    level: Verbosity,
    silent: Callable[[], Kind],
    plain: Callable[..., Kind],
    live: Callable[..., Kind],
    console: Console | None = None,
) -> Kind:
    """Return the reporter for a verbosity and a console, by default standard error: live on a terminal, else plain."""
    console = console or Console(stderr=True)
    if level is Verbosity.QUIET:
        return silent()
    kind = live if console.is_terminal and not console.is_dumb_terminal else plain
    return kind(console, verbose=level is Verbosity.VERBOSE)
