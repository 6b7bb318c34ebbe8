"""Progress of `mmssl prep` on standard error: a line per step, and a bar for each download and encoding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from mmssl_cli.console.lines import printable
from mmssl_cli.console.verbosity import Verbosity
from pipelines.io.reporter import Reporter


class _AmountColumn(ProgressColumn):
    """Bytes and speed of a download, a count for everything else."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes, self._speed, self._count = (
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            MofNCompleteColumn(),
        )

    def render(self, task: Task) -> Text:
        if task.fields.get("unit") != "bytes":
            return self._count.render(task)
        return Text.assemble(self._bytes.render(task), " ", self._speed.render(task))


class ConsoleReporter(Reporter):
    """Prints lines, details if ``verbose``, and bars that disappear when they are full."""

    def __init__(self, console: Console, progress: Progress, *, verbose: bool = False) -> None:
        self.console, self.progress, self.verbose = console, progress, verbose
        self._tasks: dict[str, TaskID] = {}

    def line(self, text: str) -> None:
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def detail(self, text: str) -> None:
        if self.verbose:
            self.line(text)

    def bar(self, name: str, done: int, total: int | None, unit: str) -> None:
        if name not in self._tasks:
            if total is not None and done >= total:
                return
            self._tasks[name] = self.progress.add_task(escape(printable(name)), total=total, completed=done, unit=unit)
        self.progress.update(self._tasks[name], completed=done, total=total)
        if total is not None and done >= total:
            self.progress.remove_task(self._tasks.pop(name))


@contextmanager
def prep_reporter(level: Verbosity) -> Iterator[Reporter]:
    """Yield a reporter for a preparation, without bars if there is no terminal."""
    quiet = level is Verbosity.QUIET
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), _AmountColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        yield ConsoleReporter(progress.console, progress, verbose=level is Verbosity.VERBOSE)
