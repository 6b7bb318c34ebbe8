"""Figures of training curves: metrics against epochs and seconds, losses against epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmssl_cli.reporting import style
from mmssl_cli.studies.curves.traces import Curve, Trace

#: Panels of losses side by side, and the greatest height of the figure in inches.
ACROSS, HIGHEST = 4, 4.5


def draw_curves(curves: Sequence[Curve], columns: Mapping[str, str]) -> Figure:
    """Draw one row per column of the runs' metrics: against epochs on the left, against seconds on the right.

    Args:
        columns: column of metrics.parquet -> label of the axis.
    """
    figure = style.figure(width_columns=2, height=(1.75 if len(columns) < 4 else 1.2) * len(columns) + 0.5)
    grid = figure.subplots(len(columns), 2, squeeze=False, sharex="col", sharey="row")
    for row, (column, title) in zip(grid, columns.items(), strict=True):
        for curve in curves:
            _draw_curve(row, curve, column)
        row[0].set_ylabel(title)
    figure.align_ylabels(grid[:, 0])
    grid[-1, 0].set_xlabel("Epoch")
    _whole_ticks(grid[-1, 0])
    grid[-1, 1].set_xlabel("Time (s)")
    _add_legend(figure, curves)
    return figure


def draw_losses(curves: Sequence[Curve], columns: Mapping[str, str], unit: str = "Loss") -> Figure:
    """Draw terms of the loss, or other columns, against epochs, one small panel each.

    Args:
        columns: column of metrics.parquet -> title of the panel.
        unit: label of the vertical axes.
    """
    across = min(ACROSS, len(columns))
    rows = -(-len(columns) // across)
    figure = style.figure(width_columns=2, height=min(1.6 * rows + 0.6, HIGHEST))
    grid = figure.subplots(rows, across, squeeze=False)
    for axes, (column, title) in zip(grid.flat, columns.items(), strict=False):
        for curve in curves:
            _draw_curve([axes], curve, column)
        axes.set_title(title)
    for axes in grid.flat[len(columns) :]:
        axes.set_axis_off()
    for number, axes in enumerate(grid.flat[: len(columns)]):
        if number + across >= len(columns):  # nothing below it
            axes.set_xlabel("Epoch")
        _whole_ticks(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel(unit)
    _add_legend(figure, curves)
    return figure


def _whole_ticks(axes: Axes) -> None:
    """Let the ticks of an axis of epochs be whole numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10], min_n_ticks=1))


def _add_legend(figure: Figure, curves: Sequence[Curve]) -> None:
    handles = {}
    for axes in figure.axes:
        handles.update({label: line for line, label in zip(*axes.get_legend_handles_labels(), strict=True)})
    labels = [curve.label for curve in curves if curve.label in handles]
    longest = max(map(len, labels), default=0)
    ncols = min(len(labels), max(1, 100 // (longest + 8))) or 1
    figure.legend([handles[label] for label in labels], labels, loc="outside upper center", ncols=ncols)


def long_form(curves: Sequence[Curve], columns: Mapping[str, str]) -> pd.DataFrame:
    """Return the numbers of the figure: one row per run and epoch, ``seconds`` from the start of the run."""
    parts = []
    for curve in curves:
        for trace in curve.traces:
            part = trace.metrics[["epoch", *(name for name in columns if name in trace.metrics)]].copy()
            part.insert(0, "label", curve.label)
            part.insert(1, "run", trace.id)
            part.insert(2, "seed", trace.settings.seed)
            part.insert(4, "seconds", trace.seconds)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _draw_curve(panels: Sequence[Axes], curve: Curve, column: str) -> None:
    """Draw a curve into one panel (against epochs) or two (the second against seconds)."""
    known = [trace for trace in curve.traces if column in trace.metrics]
    if not known:
        return
    common = min(len(trace.metrics) for trace in known)
    values = np.array([trace.metrics[column].to_numpy(np.float64)[:common] for trace in known])
    measured = np.isfinite(values).all(axis=0)
    epochs = known[0].metrics["epoch"].to_numpy()[:common][measured]
    seconds = np.mean([trace.seconds[:common] for trace in known], axis=0)[measured]
    mean = values[:, measured].mean(axis=0)
    low = high = None
    if len(known) > 1:
        spread = values[:, measured].std(axis=0, ddof=1)
        low, high = mean - spread, mean + spread
    for axes, x in zip(panels, (epochs, seconds), strict=False):
        style.band(axes, x, mean, low, high, curve.label, markers=False)
    for trace in known:
        if len(trace.metrics) > common:
            _draw_rest(panels, curve.label, trace, column, common - 1)
        _mark_selected(panels, curve.label, trace, column)


def _draw_rest(panels: Sequence[Axes], label: str, trace: Trace, column: str, first: int) -> None:
    """Draw a run after the shortest run of its configuration had ended."""
    values = trace.metrics[column].to_numpy(np.float64)[first:]
    measured = np.isfinite(values)
    epochs = trace.metrics["epoch"].to_numpy()[first:][measured]
    for axes, x in zip(panels, (epochs, trace.seconds[first:][measured]), strict=False):
        axes.plot(x, values[measured], color=style.colour(label), lw=0.6, alpha=0.6)


def _mark_selected(panels: Sequence[Axes], label: str, trace: Trace, column: str) -> None:
    """Mark the epoch selected on validation, at the run's own value."""
    at = trace.selected
    if at is None:
        return
    look: dict[str, Any] = {"color": style.colour(label), "marker": style.marker(label), "linestyle": "none"}
    for axes, x in zip(panels, (trace.metrics["epoch"].iloc[at], trace.seconds[at]), strict=False):
        axes.plot([x], [trace.metrics[column].iloc[at]], markeredgecolor="white", markeredgewidth=0.6, zorder=4, **look)
