"""`mmssl runs`: the runs, newest first."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from mmssl_cli.commands.options import DEFAULT_RUNS_DIR, AsJson, RunsDir
from mmssl_cli.console.lines import say
from mmssl_cli.console.tables import mean_and_deviation, new_table, show
from mmssl_cli.runs.listing import RunSummary, list_runs
from mmssl_cli.text import companion, metric_label


def runs(
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    as_json: AsJson = False,
) -> None:
    """List the runs, newest first, with their metrics. A run that cannot be read is listed as damaged.

    Example: mmssl runs --json
    """
    found = list_runs(runs_dir)
    if as_json:
        print(json.dumps([_plain(run) for run in found], indent=2))
        return
    if not found:
        say(f"{runs_dir} holds no runs; `mmssl train` makes one.")
        return
    show(_table(found))
    for run in found:
        if run.problem:
            say(f"{run.id} is damaged: {run.problem}")


def _plain(run: RunSummary) -> dict[str, Any]:
    started = datetime.fromtimestamp(run.started).astimezone().isoformat(timespec="seconds")
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in {**asdict(run), "started": started}.items()
    }


def _table(found: list[RunSummary]) -> Table:
    # A column for each metric that selected a model here, and for its companion at the same K.
    selected = list(dict.fromkeys(run.select_on for run in found if "@" in run.select_on))
    tested = list(dict.fromkeys(name for metric in selected for name in (metric, companion(metric))))
    table = new_table()
    for name in ("Run", "Model", "Data set", "Status"):
        table.add_column(name)
    headers = [f"Val\n{metric_label(name)}" for name in selected] + [f"Test\n{metric_label(name)}" for name in tested]
    for name in ("Epochs", *headers, "Seconds"):
        table.add_column(name, justify="right")
    for run in found:
        scores = [*((run.validation, name) for name in selected), *((run.test, name) for name in tested)]
        table.add_row(
            *(Text(text) for text in (run.id, run.label or run.model, run.dataset, run.status)),
            str(run.epochs),
            *(mean_and_deviation([metrics[name]] if name in metrics else []) for metrics, name in scores),
            "-" if run.seconds is None else f"{run.seconds:.1f}",
        )
    return table
