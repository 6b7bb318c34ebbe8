"""Tables on the terminal: of sections, of metrics, and of published results beside ours."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmssl_cli.console.lines import printable
from mmssl_cli.reporting import document
from mmssl_cli.reporting.plain import filled, of_words, one_line
from mmssl_cli.reporting.published import published_results
from mmssl_cli.text import DEFAULT_K, DEFAULT_METRIC, DEFAULT_METRICS, METRICS, metric_label, pluralize

_MARKS = {"best": "bold", "second": "underline", "": ""}
_COMPARED = tuple(f"{name}@{DEFAULT_K}" for name in DEFAULT_METRICS)


def new_table(title: str = "") -> Table:
    """Return an empty table in the common style. The title is one line, however narrow the table is."""
    line = Text(title, style="table.title", no_wrap=True, overflow="ignore") if title else None
    return Table(title=line, title_justify="left", box=None, pad_edge=False, padding=(0, 3, 0, 0))


def rich_table(table: document.Table) -> Table:
    """Return a table of a section: the best in bold, the second underlined."""
    table = filled(table)
    shown = new_table(one_line(table.title))
    for at, name in enumerate(table.columns):
        shown.add_column(Text(one_line(name)), justify="left" if of_words(table, at) else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(one_line(cell.text), style=_MARKS[cell.mark]) for cell in row))
    return shown


def show(*tables: Table, wrap: bool = False) -> None:
    """Print to standard output. Nothing is cut: a pipe has no width, and a narrow terminal wraps lines.

    Args:
        tables: printed one after the other.
        wrap: fold the cells to the width of a terminal; for tables of text.
    """
    console = Console(highlight=False)
    unbounded = console.options.update(width=10_000)
    for table in tables:
        _make_printable(table)
        if not (wrap and console.is_terminal):
            console.width = max(console.width, console.measure(table, options=unbounded).maximum)
        console.width = max(console.width, cell_len(str(table.title or "")))
        console.print(table)


def _make_printable(table: Table) -> None:
    table.title = _printable(table.title)
    for column in table.columns:
        column.header = _printable(column.header)
        column._cells[:] = map(_printable, column._cells)


def _printable(cell: Any) -> Any:
    if isinstance(cell, Text):
        cell.plain = printable(cell.plain, keep="\n")
        return cell
    return printable(cell, keep="\n") if isinstance(cell, str) else cell


def metrics_table(runs: Sequence[Mapping[str, float]], title: str = "") -> Table:
    """Return metrics by K: of one run, or the mean ± sample standard deviation of several.

    Args:
        runs: ``{"recall@20": value, ...}`` of each run; a metric that a run lacks is left out of the mean.
        title: over the table.
    """
    names = {name for run in runs for name in run}
    metrics = [metric for metric in METRICS if any(name.startswith(f"{metric}@") for name in names)]
    table = new_table(title)
    table.add_column("K", justify="right")
    for metric in metrics:
        table.add_column(METRICS[metric], justify="right")
    for k in sorted({int(name.partition("@")[2]) for name in names}):
        table.add_row(str(k), *(mean_and_deviation(_values(runs, f"{metric}@{k}")) for metric in metrics))
    return table


def warm_cold_tables(runs: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return a table of the metrics of warm items and one of cold items; none where no item is cold.

    Args:
        runs: ``warm_cold`` of each run, of one data set.
    """
    if not runs or not all(runs):
        return []
    kinds = {"warm": "Warm items alone", "cold": "Cold items (no training interaction) alone"}
    return [
        metrics_table(
            [run[kind]["metrics"] for run in runs],
            f"{name}: {pluralize(runs[0][kind]['interactions'], 'interaction')} of "
            f"{pluralize(runs[0][kind]['users'], 'user')}",
        )
        for kind, name in kinds.items()
        if runs[0][kind]["metrics"]
    ]


def comparison_table(dataset: str, ours: Mapping[str, Sequence[Mapping[str, float]]]) -> Table | None:
    """Return our results among the published ones of a data set, by rising Recall@20; None if none are known.

    Args:
        dataset: its name, as the published tables have it.
        ours: label -> the test metrics of each run under that label.
    """
    published = published_results(dataset)
    if not published:
        return None
    rows = [(result.model, [result.metrics], result.source, "") for result in published]
    for label, runs in ours.items():
        source = "this run" if len(runs) == 1 else f"these {len(runs)} runs"
        rows.append((label, [dict(run) for run in runs], source, "bold"))
    rows.sort(key=lambda row: statistics.fmean(_values(row[1], DEFAULT_METRIC) or [0.0]))
    table = new_table(f"Test metrics on {dataset}, beside published ones")
    table.add_column("Model")
    for name in _COMPARED:
        table.add_column(metric_label(name), justify="right")
    table.add_column("Source")
    for label, results, source, style in rows:
        cells = [mean_and_deviation(_values(results, name)) for name in _COMPARED]
        table.add_row(Text(label), *cells, source, style=style)
    return table


def mean_and_deviation(values: Sequence[float]) -> str:
    """Return ``0.1094`` of one value, ``0.1094 ± 0.0021`` (sample standard deviation) of several, ``-`` of none."""
    return document.mean_of(values).text


def _values(runs: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [run[name] for run in runs if name in run]
