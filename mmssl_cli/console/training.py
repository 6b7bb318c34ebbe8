"""Progress of a training.

The trainer calls a reporter's ``start``, ``epoch``, ``message`` and ``finish``. Progress goes to standard error, so
that standard output holds only the results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn

from mmssl_cli.console.base import LineReporter, SilentReporter, make
from mmssl_cli.console.lines import printable
from mmssl_cli.console.verbosity import Verbosity
from mmssl_cli.text import DEFAULT_METRIC, modalities_label, model_label, pluralize


class Reporter(SilentReporter):
    """Prints nothing; the base of the reporters that do."""

    def __init__(self) -> None:
        super().__init__()
        #: Argument of the last `start`.
        self.info: Mapping[str, Any] = {}

    def start(self, info: Mapping[str, Any]) -> None:
        """A run begins: ``run``, ``model``, ``variant``, ``dataset``, ``modalities``, ``seed`` and so on."""
        self.info = info

    def epoch(self, record: Mapping[str, Any]) -> None:
        """An epoch is done: a row of metrics.parquet, with ``best`` (bool) and ``eta_seconds``."""

    def finish(self, result: Mapping[str, Any]) -> None:
        """The run is over: what result.json holds."""


class PlainReporter(LineReporter, Reporter):
    """One line an epoch, for a file or a pipe; with ``verbose``, every validation metric in it."""

    def start(self, info: Mapping[str, Any]) -> None:
        super().start(info)
        self.message(start_line(info))

    def epoch(self, record: Mapping[str, Any]) -> None:
        line = epoch_line(record, self.info, verbose=self.verbose)
        self.console.print(
            printable(line), style="bold" if record.get("best") else "", markup=False, highlight=False, soft_wrap=True
        )

    def finish(self, result: Mapping[str, Any]) -> None:
        self.message(finish_line(result, self.info))


class LiveReporter(PlainReporter):
    """The same lines on a terminal, above a bar with the best score and the remaining time."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__(console, verbose=verbose)
        self._bar = Progress(
            TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._live = Live(self._bar, console=console, auto_refresh=False, transient=True)
        self._best = ""

    def start(self, info: Mapping[str, Any]) -> None:
        super().start(info)
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._best = ""
        self._task = self._bar.add_task("train", total=info.get("epochs", 1), note="")
        self._live.start()

    def epoch(self, record: Mapping[str, Any]) -> None:
        super().epoch(record)
        metric = self.info.get("select_on", DEFAULT_METRIC)
        if record.get("best"):
            self._best = f"best {metric} {record[f'validation/{metric}']:.4f} at epoch {record['epoch']}"
        left = record.get("eta_seconds")
        note = ", ".join(part for part in (self._best, f"{clock(left)} left" if left is not None else "") if part)
        self._bar.update(self._task, completed=record["epoch"], note=note)
        self._live.refresh()

    def finish(self, result: Mapping[str, Any]) -> None:
        self._live.stop()
        super().finish(result)

    def close(self) -> None:
        self._live.stop()


def make_reporter(level: Verbosity, console: Console | None = None) -> Reporter:
    """Return the reporter for a verbosity: live on a terminal, else plain."""
    return make(level, Reporter, PlainReporter, LiveReporter, console)


def start_line(info: Mapping[str, Any]) -> str:
    """Describe the run that begins."""
    parts = [f"{model_label(info['model'], info['variant'])} on {info['dataset']}"]
    parts += [modalities_label(info["modalities"]), f"seed {info['seed']}", str(info["device"])]
    if "parameters" in info:
        parts.append(pluralize(info["parameters"], "parameter"))
    if info.get("first_epoch", 1) > 1:
        parts.append(f"from epoch {info['first_epoch']}")
    return f"Training {', '.join(filter(None, parts))}: run {info['run']}"


def epoch_line(record: Mapping[str, Any], info: Mapping[str, Any], *, verbose: bool = False) -> str:
    """Describe an epoch: losses, validation metrics, seconds, remaining time; `*` marks the best so far."""
    width = len(str(info.get("epochs", record["epoch"])))
    parts = [f"epoch {record['epoch']:>{width}}/{info['epochs']}" if "epochs" in info else f"epoch {record['epoch']}"]
    losses = _group(record, "loss/")
    if losses:
        parts.append("loss " + " ".join(f"{name} {value:.4f}" for name, value in losses.items()))
    scores = _group(record, "validation/")
    if not verbose:
        k = str(info.get("select_on", DEFAULT_METRIC)).partition("@")[2]
        scores = {name: value for name, value in scores.items() if name in {f"recall@{k}", f"ndcg@{k}"}}
    parts += [f"{name} {value:.4f}" for name, value in scores.items()]
    parts.append(f"{record['seconds']:.1f} s")
    if record.get("eta_seconds") is not None:
        parts.append(f"{clock(record['eta_seconds'])} left")
    return "  ".join(parts) + (" *" if record.get("best") else "")


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
