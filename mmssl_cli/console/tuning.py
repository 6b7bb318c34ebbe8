"""Progress of a search: a line per trial, and a bar on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mmssl_cli.console.base import LineReporter, SilentReporter, make
from mmssl_cli.console.tables import new_table, show
from mmssl_cli.console.verbosity import Verbosity
from mmssl_cli.text import metric_label, minutes_text, pluralize, shown_value

#: Number of trials shown at the end.
_SHOWN = 5


class Trial(Protocol):
    """A trial that is over."""

    @property
    def number(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def score(self) -> float | None: ...
    @property
    def best_epoch(self) -> int | None: ...
    @property
    def epochs(self) -> int: ...
    @property
    def problem(self) -> str | None: ...
    @property
    def drawn(self) -> dict[str, Any]: ...
    @property
    def scores(self) -> tuple[float, ...]: ...
    @property
    def mean_score(self) -> float | None: ...
    @property
    def deviation(self) -> float | None: ...


class Outcome(Protocol):
    """Result of the search of a model."""

    @property
    def model(self) -> str: ...
    @property
    def found(self) -> Sequence[Trial]: ...
    @property
    def best(self) -> Trial | None: ...
    @property
    def minutes(self) -> float: ...
    @property
    def further_minutes(self) -> float: ...
    @property
    def file(self) -> Path: ...


class TuneReporter(SilentReporter):
    """Prints nothing; the base of the reporters that do."""

    def begin(self, what: str, done: int, trials: int) -> None:
        """The search of ``what`` starts with ``done`` of at most ``trials`` trials over."""

    def epoch(self, number: int, epoch: int, score: float) -> None:
        """A trial was validated; ``score`` is its best so far."""

    def over(self, trial: Trial) -> None:
        """A trial is over."""


class PlainTuneReporter(LineReporter, TuneReporter):
    """A line per trial, above a bar on a terminal."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__(console, verbose=verbose)
        self._bar = Progress(
            TextColumn("trials"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def begin(self, what: str, done: int, trials: int) -> None:
        if done:
            of = f"{done} of {pluralize(trials, 'trial')}" if done <= trials else pluralize(done, "trial")
            self.message(f"{what}: {of} {'is' if done == 1 else 'are'} already done.")
        else:
            self.message(f"{what}: at most {pluralize(trials, 'trial')}.")
        self._task = self._bar.add_task("trials", total=trials, completed=done, note="")
        self._bar.start()

    def epoch(self, number: int, epoch: int, score: float) -> None:
        self._bar.update(self._task, note=f"trial {number}: epoch {epoch}, best {score:.4f}")

    def over(self, trial: Trial) -> None:
        self.message(trial_line(trial))
        self._bar.advance(self._task)

    def close(self) -> None:
        self._bar.stop()


def make_tune_reporter(level: Verbosity) -> TuneReporter:
    """Return the reporter for a verbosity."""
    return make(level, TuneReporter, PlainTuneReporter, PlainTuneReporter)


def print_trials(found: Sequence[Trial], what: str, select_on: str) -> None:
    """Print the best trials of a search.

    Args:
        what: model and data set.
        select_on: the validation metric.
    """
    scored = (t for t in found if t.score is not None)
    ranked = sorted(scored, key=lambda t: (not t.scores, -(t.mean_score or 0.0), t.number))
    states = [trial.state for trial in found]
    ended = f"{states.count('pruned')} ended early, {states.count('failed')} failed"
    table = new_table(f"Best of {pluralize(len(found), 'trial')} of {what} ({ended})")
    for heading in ("Trial", f"Validation {metric_label(select_on)}", "Seeds", "Epoch", "Settings"):
        table.add_column(heading, justify="left" if heading == "Settings" else "right")
    for trial in ranked[:_SHOWN]:
        seeds = str(len(trial.scores) or 1)
        table.add_row(str(trial.number), _score(trial), seeds, str(trial.best_epoch), shown_settings(trial.drawn))
    show(table)


def print_searches(outcomes: Sequence[Outcome], dataset: str, select_on: str) -> None:
    """Print what the searches of several models found and took, the best last, and the sum of processor hours."""
    hours = sum(one.minutes + one.further_minutes for one in outcomes) / 60
    table = new_table(f"Searches on {dataset}: {hours:.2g} processor hours")
    for heading in ("Model", f"Validation {metric_label(select_on)}", "Seeds", "Trials", "Minutes", "Settings"):
        table.add_column(heading, justify="left" if heading in ("Model", "Settings") else "right")
    for one in sorted(outcomes, key=lambda one: (one.best is not None and one.best.mean_score) or 0.0):
        minutes = minutes_text(one.minutes + one.further_minutes)
        if one.best is None:
            table.add_row(one.model, "none", "", str(len(one.found)), minutes, "")
        else:
            seeds = str(len(one.best.scores) or 1)
            table.add_row(one.model, _score(one.best), seeds, str(len(one.found)), minutes, str(one.file))
    show(table)


def _score(trial: Trial) -> str:
    """Return ``0.1234 ± 0.0012``, without the deviation for one seed."""
    deviation = f" ± {trial.deviation:.4f}" if trial.deviation is not None else ""
    return f"{trial.mean_score:.4f}{deviation}"


def trial_line(trial: Trial) -> str:
    """Describe a trial: score, end and drawn settings."""
    if trial.state == "failed":
        ended = f"failed: {trial.problem}"
    else:
        how = "ended early after" if trial.state == "pruned" else "after"
        ended = f"{trial.score:.4f} at epoch {trial.best_epoch}, {how} {pluralize(trial.epochs, 'epoch')}"
    return f"trial {trial.number}  {ended}  {shown_settings(trial.drawn)}"


def shown_settings(drawn: dict[str, Any]) -> str:
    """Return ``lr 0.001, layers 2``."""
    return ", ".join(f"{name.replace('_', '-')} {shown_value(value)}" for name, value in drawn.items())
