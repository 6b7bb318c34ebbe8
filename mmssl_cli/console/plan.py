"""Progress of a plan of runs: the whole plan, and each run in training."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from mmssl_cli.console.base import LineReporter, SilentReporter, make
from mmssl_cli.console.lines import warn
from mmssl_cli.console.tables import new_table, show
from mmssl_cli.console.training import clock, epoch_line
from mmssl_cli.console.verbosity import Verbosity
from mmssl_cli.text import pluralize


class PlannedRun(Protocol):
    """Status of a run before the plan is carried out, and the finished run if there is one."""

    @property
    def status(self) -> str: ...
    @property
    def run(self) -> Any: ...


class Outcome(Protocol):
    """Result of a run: a finished one (``id``, ``settings``, ``test``, ``result``), or None and a traceback."""

    @property
    def run(self) -> Any: ...
    @property
    def reused(self) -> bool: ...
    @property
    def trace(self) -> str: ...


class PlanReporter(SilentReporter):
    """Prints nothing; the base of the reporters that do. A run is identified by its number in the plan."""

    def begin(self, planned_runs: Sequence[PlannedRun], names: Sequence[str], seconds: float | None) -> None:
        """The plan begins: status and names of its runs, and the expected seconds of all, if known."""

    def reused(self, number: int, outcome: Outcome) -> None:
        """A run was finished before; it is reused."""

    def begun(self, number: int) -> None:
        """The run was given to a worker."""

    def started(self, number: int, info: Mapping[str, Any]) -> None:
        """A run starts; ``info`` as for ``Reporter.start``."""

    def epoch(self, number: int, record: Mapping[str, Any]) -> None:
        """An epoch of a run is done."""

    def locked(self, number: int, why: str) -> None:
        """Another process trains the run; this one waits."""

    def again(self, number: int, why: str) -> None:
        """The worker of a run died; the run is retried."""

    def over(self, number: int, outcome: Outcome) -> None:
        """A run finished or failed."""


class PlainPlanReporter(LineReporter, PlanReporter):
    """A line when a run begins and when it ends; with ``verbose``, for each epoch too."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__(console, verbose=verbose)
        self._names: Sequence[str] = ()
        self._info: dict[int, Mapping[str, Any]] = {}
        self._told: set[int] = set()
        self._done = 0

    def begin(self, planned_runs: Sequence[PlannedRun], names: Sequence[str], seconds: float | None) -> None:
        self._names = names
        self.message(plan_line([planned.status for planned in planned_runs], seconds))

    def reused(self, number: int, outcome: Outcome) -> None:
        self._done += 1
        if self.verbose and outcome.run is not None:
            self.message(f"{self._names[number]}: finished before, run {outcome.run.id}")

    def started(self, number: int, info: Mapping[str, Any]) -> None:
        self._info[number] = info
        first = info.get("first_epoch", 1)
        how = f"resumed from epoch {first}" if first > 1 else "started"
        self.message(f"{self._names[number]} {how}: run {info['run']}")

    def epoch(self, number: int, record: Mapping[str, Any]) -> None:
        if self.verbose:
            self.message(f"{self._names[number]}: {epoch_line(record, self._info[number], verbose=True)}")

    def locked(self, number: int, why: str) -> None:
        if number not in self._told:
            self._told.add(number)
            self.message(f"{self._names[number]} waits for another process that trains it")

    def again(self, number: int, why: str) -> None:
        self.message(f"{self._names[number]} is retried: {why}")

    def over(self, number: int, outcome: Outcome) -> None:
        self._done += 1
        place = f"[{self._done}/{len(self._names)}] {self._names[number]}"
        if outcome.run is None:
            self.message(f"{place}: failed")
            if self.verbose and outcome.trace:
                self.message(outcome.trace)
            return
        if outcome.reused:
            self.message(f"{place}: trained by another process, run {outcome.run.id}")
            return
        metric = outcome.run.settings.select_on
        score = outcome.run.test.get(metric)
        shown = f", test {metric} {score:.4f}" if score is not None else ""
        self.message(f"{place}: finished after {pluralize(outcome.run.result['epochs'], 'epoch')}{shown}")


class LivePlanReporter(PlainPlanReporter):
    """The same lines on a terminal, above a bar for the plan and one for each run in training."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__(console, verbose=verbose)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._live = Live(self._bars, console=console, refresh_per_second=4, transient=True)
        self._of_run: dict[int, TaskID] = {}
        self._best: dict[int, float] = {}
        self._seconds: float | None = None
        self._since = time.monotonic()

    def begin(self, planned_runs: Sequence[PlannedRun], names: Sequence[str], seconds: float | None) -> None:
        super().begin(planned_runs, names, seconds)
        self._seconds, self._since = seconds, time.monotonic()
        self._plan = self._bars.add_task("all runs", total=len(names), note="")
        if any(planned.run is None for planned in planned_runs):
            self._live.start()

    def reused(self, number: int, outcome: Outcome) -> None:
        super().reused(number, outcome)
        self._advance()

    def begun(self, number: int) -> None:
        self._of_run[number] = self._bars.add_task(escape(self._names[number]), total=None, note="starting")

    def started(self, number: int, info: Mapping[str, Any]) -> None:
        super().started(number, info)
        self._bars.update(self._of_run[number], total=info["epochs"], completed=info.get("first_epoch", 1) - 1, note="")

    def epoch(self, number: int, record: Mapping[str, Any]) -> None:
        super().epoch(number, record)
        info = self._info[number]
        metric = info["select_on"]
        if record.get("best"):
            self._best[number] = record[f"validation/{metric}"]
        best = f", best {metric} {self._best[number]:.4f}" if number in self._best else ""
        note = f"epoch {record['epoch']}/{info['epochs']}{best}, at most {clock(record['eta_seconds'])} left"
        self._bars.update(self._of_run[number], completed=record["epoch"], note=note)

    def locked(self, number: int, why: str) -> None:
        super().locked(number, why)
        self._remove(number)

    def again(self, number: int, why: str) -> None:
        super().again(number, why)
        self._remove(number)

    def over(self, number: int, outcome: Outcome) -> None:
        super().over(number, outcome)
        self._remove(number)
        self._advance()

    def close(self) -> None:
        self._live.stop()

    def _remove(self, number: int) -> None:
        if number in self._of_run:
            self._bars.remove_task(self._of_run.pop(number))

    def _advance(self) -> None:
        left = ""
        if self._seconds is not None:
            left = f", about {clock(max(self._seconds - (time.monotonic() - self._since), 0))} left"
        self._bars.update(self._plan, completed=self._done, note=f"{self._done}/{len(self._names)}{left}")


def make_plan_reporter(level: Verbosity) -> PlanReporter:
    """Return the reporter for a verbosity: live on a terminal, else plain."""
    return make(level, PlanReporter, PlainPlanReporter, LivePlanReporter)


def print_plan(runs: Sequence[tuple[str, str, str | None, float | None]], total: float | None, as_json: bool) -> None:
    """Print the runs of a plan.

    Args:
        runs: name, status, id if there is one, and remaining seconds of each run, if known.
        total: seconds of all; None if unknown.
    """
    if as_json:
        rows = [dict(zip(("run", "status", "run_id", "seconds"), run, strict=True)) for run in runs]
        print(json.dumps({"runs": rows, "seconds": total}, indent=2))
        return
    table = new_table()
    for heading in ("Run", "Status", "Run id", "Time"):
        table.add_column(heading)
    for name, status, run, seconds in runs:
        shown = "unknown" if seconds is None else clock(seconds) if seconds else ""
        table.add_row(name, status, run or "", shown)
    show(table)
    print(f"\n{plan_line([status for _, status, _, _ in runs], total)}")


def print_failures(failures: Sequence[tuple[str, str, Path | None]]) -> None:
    """List failed runs on standard error: name, problem and log of each."""
    print(f"{pluralize(len(failures), 'run')} failed:", file=sys.stderr)
    for name, problem, log in failures:
        warn(f"- {name}: {problem}{f' Its log: {log}' if log else ''}")


def plan_line(statuses: Sequence[str], seconds: float | None) -> str:
    """Describe a plan: its runs by status, and the expected time."""
    words = {
        "finished": "finished before",
        "running": "being trained by another process",
        "interrupted": "to resume",
        "diverged": "diverged before",
        "missing": "to train",
    }
    parts = [f"{statuses.count(status)} {what}" for status, what in words.items() if status in statuses]
    time_left = f"; about {clock(seconds)}" if seconds else ""
    return f"{pluralize(len(statuses), 'run')}: {', '.join(parts)}{time_left}"
