"""Progress of a training.

The trainer calls a reporter's ``stage``, ``start``, ``batch``, ``epoch``, ``message`` and ``finish``. Progress goes to
standard error, so that standard output holds only the results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from mmssl_cli.console.base import LineReporter, SilentReporter, make
from mmssl_cli.console.lines import printable
from mmssl_cli.console.verbosity import Verbosity
from mmssl_cli.text import DEFAULT_METRIC, beside_label, companion, pluralize


class Reporter(SilentReporter):
    """Prints nothing; the base of the reporters that do."""

    def __init__(self) -> None:
        super().__init__()
        #: Argument of the last `start`.
        self.info: Mapping[str, Any] = {}

    def stage(self, what: str) -> None:
        """Something other than an epoch begins, such as ``Loading PyTorch``."""

    def start(self, info: Mapping[str, Any]) -> None:
        """A run begins: ``run``, ``model``, ``variant``, ``dataset``, ``modalities``, ``seed`` and so on."""
        self.info = info

    def batch(self, epoch: int, done: int, total: int) -> None:
        """``done`` batches of ``total`` of an epoch are trained."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """An epoch is done: a row of metrics.parquet, with ``best`` (bool) and ``eta_seconds``."""

    def finish(self, result: Mapping[str, Any]) -> None:
        """The run is over: what result.json holds."""


class PlainReporter(LineReporter, Reporter):
    """One line per epoch, for a file or a pipe; with ``verbose``, every loss term and validation metric in it."""

    def start(self, info: Mapping[str, Any]) -> None:
        first = not self.info
        super().start(info)
        self.message(start_line(info))
        if first:
            self.message(f"`best` marks the highest validation {info.get('select_on', DEFAULT_METRIC)} so far.")

    def epoch(self, record: Mapping[str, Any]) -> None:
        line = epoch_line(record, self.info, verbose=self.verbose)
        self.console.print(
            printable(line), style="bold" if record.get("best") else "", markup=False, highlight=False, soft_wrap=True
        )

    def finish(self, result: Mapping[str, Any]) -> None:
        self.message(finish_line(result, self.info))


class LiveReporter(PlainReporter):
    """The same lines on a terminal, above a bar for the batches of an epoch, the best score and the remaining time."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__(console, verbose=verbose)
        self._bar = Progress(
            SpinnerColumn("line"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._live = Live(self._bar, console=console, refresh_per_second=8, transient=True)
        self._task: TaskID | None = None
        self._best = self._left = ""

    def stage(self, what: str) -> None:
        self._begin_bar(what, None)
        self._live.start()
        self._live.refresh()  # a stage may be over before the next turn

    def start(self, info: Mapping[str, Any]) -> None:
        super().start(info)
        self._best = self._left = ""
        self._begin_bar("training", None)
        self._live.start()

    def batch(self, epoch: int, done: int, total: int) -> None:
        if done == 1:
            self._begin_bar(f"epoch {epoch}/{self.info['epochs']}", total)
        if self._task is not None:
            note = ", ".join(filter(None, (f"{done}/{total}", self._best, self._left)))
            self._bar.update(self._task, completed=done, note=note)

    def epoch(self, record: Mapping[str, Any]) -> None:
        super().epoch(record)
        metric = self.info.get("select_on", DEFAULT_METRIC)
        if record.get("best"):
            self._best = f"best {record[f'validation/{metric}']:.4f} (epoch {record['epoch']})"
        left = record.get("eta_seconds")
        self._left = f"{clock(left)} left" if left is not None else ""

    def finish(self, result: Mapping[str, Any]) -> None:
        self._live.stop()
        super().finish(result)

    def close(self) -> None:
        self._live.stop()

    def _begin_bar(self, what: str, total: int | None) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(escape(printable(what)), total=total, note="")


def make_reporter(level: Verbosity, console: Console | None = None) -> Reporter:
    """Return the reporter for a verbosity: live on a terminal, else plain."""
    return make(level, Reporter, PlainReporter, LiveReporter, console)


def start_line(info: Mapping[str, Any]) -> str:
    """Describe the run that begins."""
    label = info.get("label") or info["model"]
    parts = [f"{label} on {info['dataset']}", beside_label(label, info["modalities"])]
    parts += [f"seed {info['seed']}", str(info["device"])]
    if info.get("parameters"):
        parts.append(pluralize(info["parameters"], "parameter"))
    if info.get("first_epoch", 1) > 1:
        parts.append(f"from epoch {info['first_epoch']}")
    return f"Training {', '.join(filter(None, parts))}: run {info['run']}"


def epoch_line(record: Mapping[str, Any], info: Mapping[str, Any], *, verbose: bool = False) -> str:
    """Describe an epoch: loss, the selecting metric and its companion, seconds, and whether it is the best so far.

    Args:
        verbose: all loss terms and metrics, and the remaining time, however long the line is.
    """
    width = len(str(info.get("epochs", record["epoch"])))
    parts = [f"epoch {record['epoch']:>{width}}/{info['epochs']}" if "epochs" in info else f"epoch {record['epoch']}"]
    losses, scores = _group(record, "loss/"), _group(record, "validation/")
    if verbose:
        parts += ["loss " + " ".join(f"{name} {value:.4f}" for name, value in losses.items())] if losses else []
    else:
        parts += [f"loss {_five_digits(losses['total'])}"] if "total" in losses else []
        metric = str(info.get("select_on", DEFAULT_METRIC))
        shown = dict.fromkeys((metric, companion(metric)))
        scores = {name: scores[name] for name in shown if name in scores}
    parts += [f"{name} {value:.4f}" for name, value in scores.items()]
    seconds = record["seconds"]
    parts.append(f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s")
    if verbose and record.get("eta_seconds") is not None:
        parts.append(f"{clock(record['eta_seconds'])} left")
    return "  ".join(parts) + ("  best" if record.get("best") else "")


def _five_digits(loss: float) -> str:
    return f"{loss:.4f}" if abs(loss) < 10 else f"{loss:.5g}"


def finish_line(result: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """Describe the end of a training."""
    ended = {"finished": "Finished", "stopped": "Stopped early"}.get(result["status"], result["status"].capitalize())
    metric = info.get("select_on", DEFAULT_METRIC)
    score = result["validation"].get(metric)
    best = f"; best epoch {result['best_epoch']}" + (f" (validation {metric} {score:.4f})" if score is not None else "")
    return f"{ended} after {pluralize(result['epochs'], 'epoch')}{best}."


def clock(seconds: float) -> str:
    """Format seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _group(record: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Return the values of a record under a prefix, without those not measured in this epoch."""
    found = {name.removeprefix(prefix): value for name, value in record.items() if name.startswith(prefix)}
    return {name: value for name, value in found.items() if value is not None and not math.isnan(value)}
