"""Curves of a run: losses and validation metrics against epochs."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmssl_cli.reporting import style
from mmssl_cli.text import ACCURACY, DEFAULT_METRIC

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PALETTE = tuple(style.PALETTE[name] for name in ("blue", "vermilion", "green", "purple", "orange", "sky"))
# Line styles distinguish them in black and white.
_STYLES = ("-", "--", "-.", ":")
_BEST = "#444444"
_COLUMNS = 3


def plot_curves(
    metrics: pd.DataFrame, folder: Path, *, select_on: str = DEFAULT_METRIC, title: str = ""
) -> tuple[Path, Path]:
    """Draw every loss term and validation metric against the epoch, the best epoch marked.

    Args:
        metrics: a row per epoch: ``epoch``, ``loss/<term>`` and ``validation/<metric>@<K>``. What is not
            finite (an epoch without validation) is left out.
        folder: where ``curves.png`` and ``curves.svg`` go.
        select_on: the validation metric whose highest value is the best epoch.
        title: over the figure.

    Returns:
        The paths of the two files.

    Raises:
        InputError: the folder cannot be written.
        ValueError: there is nothing to draw.
    """
    panels = _panels(metrics)
    if not panels:
        raise ValueError("expected at least one loss/ or validation/ column with a finite value")
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = style.figure(columns, 2.5 * rows + 0.5)
    _draw(figure, panels, metrics, select_on, rows, columns)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold")
    return style.save(figure, folder / "curves.png"), style.save(figure, folder / "curves.svg")


def best_epoch(metrics: pd.DataFrame, select_on: str) -> int | None:
    """Return the first epoch with the highest value of a validation metric; None where it was never measured."""
    column = f"validation/{select_on}"
    if column not in metrics:
        return None
    values = metrics[column].to_numpy(np.float64)
    if not np.isfinite(values).any():
        return None
    return int(metrics["epoch"].to_numpy()[np.nanargmax(np.where(np.isfinite(values), values, np.nan))])


def _panels(metrics: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Title of each panel -> label of each line -> its column: a panel a metric, then one a loss term."""
    panels: dict[str, dict[str, str]] = {}
    drawable = [name for name in metrics if np.isfinite(metrics[name].to_numpy(np.float64)).any()]
    for metric, shown in ACCURACY.items():
        start = f"validation/{metric}@"
        lines = {f"@{name.removeprefix(start)}": name for name in drawable if name.startswith(start)}
        if lines:
            panels[f"Validation {shown}"] = lines
    terms = [name for name in drawable if name.startswith("loss/")]
    terms.sort(key=lambda name: name != "loss/total")  # the sum first, then as the model names them
    for name in terms:
        term = name.removeprefix("loss/")
        panels["Loss, total" if term == "total" else f"Loss: {term.replace('_', ' ')}"] = {"": name}
    return panels


def _draw(
    figure: Figure,
    panels: dict[str, dict[str, str]],
    metrics: pd.DataFrame,
    select_on: str,
    rows: int,
    columns: int,
) -> None:
    from matplotlib.ticker import MaxNLocator

    best = best_epoch(metrics, select_on)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (name, lines) in zip(grid, panels.items(), strict=False):
        _draw_panel(axes, name, lines, metrics)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10], min_n_ticks=1))
        if best is not None:
            axes.axvline(best, color=_BEST, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
            _mark_best(axes, metrics, lines, f"validation/{select_on}", best)
    for axes in grid[len(panels) :]:
        axes.remove()
    for position, axes in enumerate(grid[: len(panels)]):
        if position + columns >= len(panels):  # nothing below
            axes.set_xlabel("epoch")


def _draw_panel(axes: Axes, name: str, lines: dict[str, str], metrics: pd.DataFrame) -> None:
    epochs = metrics["epoch"].to_numpy()
    looks = zip(cycle(_PALETTE), cycle(_STYLES), strict=False)
    for (label, column), (colour, line) in zip(lines.items(), looks, strict=False):
        values = metrics[column].to_numpy(np.float64)
        known = np.isfinite(values)
        marker = "o" if known.sum() == 1 else ""
        axes.plot(epochs[known], values[known], line, color=colour, marker=marker, lw=1.6, label=label)
    axes.set_title(name, pad=17 if len(lines) > 1 else 6)
    axes.margins(y=0.12)
    edge = max(0.03 * (epochs[-1] - epochs[0]), 0.3)
    axes.set_xlim(epochs[0] - edge, epochs[-1] + edge)
    if len(lines) > 1:
        # Between title and axes, where no line runs.
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=len(lines), borderaxespad=0.0, borderpad=0.2)


def _mark_best(axes: Axes, metrics: pd.DataFrame, lines: dict[str, str], column: str, best: int) -> None:
    if column not in lines.values():
        return
    value = float(metrics.loc[metrics["epoch"] == best, column].iloc[0])
    axes.plot([best], [value], "o", color=_BEST, markersize=5, zorder=4)
    right = best < metrics["epoch"].mean()
    axes.annotate(
        f"best: epoch {best}, {value:.4f}",
        (best, value),
        xytext=(6 if right else -6, 5),
        textcoords="offset points",
        ha="left" if right else "right",
        color=_BEST,
    )
