"""Figures of a sweep: a metric against one setting, or over the grid of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmssl_cli.reporting import style
from mmssl_cli.studies.run_selection import is_number
from mmssl_cli.studies.sweep.points import shown_value

#: Smallest ratio of the largest to the smallest positive value for which the axis is logarithmic.
_DECADES = 10
#: Ticks closer than this fraction of the axis share a label.
_NEAR = 0.075


@dataclass(frozen=True)
class Baseline:
    """A model drawn as a horizontal line, with one test score per seed; or as a line of its scores at each value."""

    label: str
    scores: Sequence[float]
    along: Mapping[float, Sequence[float]] = field(default_factory=dict)


def draw_line(data: pd.DataFrame, name: str, metric: str, label: str, baseline: Baseline | None) -> Figure:
    """Draw a metric against one setting: mean and deviation over seeds, chosen value, reference and baseline.

    Args:
        data: the values in the first column; ``test``, ``deviation``, ``chosen``, ``reference``.
        name: label of the x axis.
        metric: label of the y axis.
        label: of the model, for its colour and the legend.
    """
    figure = style.figure(height=2.6)
    axes = figure.add_subplot()
    drawn = data[data["test"].notna()]
    x, mean = place_values(axes, data.iloc[:, 0].tolist())[drawn.index], drawn["test"].to_numpy()
    spread = drawn["deviation"].fillna(0).to_numpy()
    several = bool(drawn["deviation"].notna().any())
    if all(map(is_number, data.iloc[:, 0])):
        low, high = (mean - spread, mean + spread) if several else (None, None)
        style.band(axes, x, mean, low, high, label)
    else:  # nothing lies between two names
        look: dict[str, Any] = {"color": style.colour(label), "marker": style.marker(label), "linestyle": "none"}
        axes.errorbar(x, mean, spread if several else None, capsize=3, label=label, **look)
    _mark(axes, x, drawn, label)
    if baseline:
        _draw_baseline(axes, baseline)
    axes.set_xlabel(name)
    axes.set_ylabel(metric)
    axes.margins(y=0.15)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _mark(axes: Axes, x: np.ndarray, drawn: pd.DataFrame, label: str) -> None:
    own = drawn["reference"].to_numpy()
    look: dict[str, Any] = {"linestyle": "none", "color": style.colour(label), "zorder": 4}
    if own.any():
        scores = drawn["test"][own]
        axes.plot(x[own], scores, marker=style.marker(label), markerfacecolor="white", label="reference", **look)
    chosen = drawn["chosen"].to_numpy()
    scores = drawn["test"][chosen]
    axes.plot(
        x[chosen], scores, marker="o", markersize=10, markerfacecolor="none", label="chosen on validation", **look
    )


def _draw_baseline(axes: Axes, baseline: Baseline) -> None:
    mean, label = fmean(baseline.scores), baseline.label
    look: dict[str, Any] = {"color": style.colour(label), "linestyle": style.line_style(label)}
    if baseline.along:
        means = [fmean(scores) for scores in baseline.along.values()]
        several = all(len(scores) > 1 for scores in baseline.along.values())
        deviations = [stdev(scores) if several else 0.0 for scores in baseline.along.values()]
        pairs = list(zip(means, deviations, strict=True))
        low = [one - deviation for one, deviation in pairs] if several else None
        high = [one + deviation for one, deviation in pairs] if several else None
        style.band(axes, list(baseline.along), means, low, high, label)
        axes.get_lines()[-1].set_label(f"{label} (best baseline)")
        return
    axes.axhline(mean, label=f"{label} (best baseline)", **look)
    if len(baseline.scores) > 1:
        spread = stdev(baseline.scores)
        axes.axhspan(mean - spread, mean + spread, color=style.colour(label), alpha=0.12, linewidth=0)


def place_values(axes: Axes, values: Sequence[Any]) -> np.ndarray:
    """Set the scale of the x axis and a tick per value: linear, logarithmic over decades, or categories for names.

    Returns:
        Position of each value, float64 [n].
    """
    if not all(map(is_number, values)):
        axes.set_xticks(range(len(values)), [shown_value(value) for value in values])
        return np.arange(len(values), dtype=float)
    places = np.array(values, dtype=float)
    above = places[places > 0]
    if len(above) and places.min() >= 0 and places.max() / above.min() >= _DECADES:
        if places.min() > 0:
            axes.set_xscale("log")
        else:  # zero has no logarithm: linear up to the smallest value above it
            axes.set_xscale("symlog", linthresh=above.min())
    _label_values(axes, places)
    return places


def _label_values(axes: Axes, places: np.ndarray) -> None:
    """Put a tick at each value, without the labels that would touch the one before."""
    scaled = axes.xaxis.get_transform().transform(places)
    span = max(np.ptp(scaled), 1e-12)
    labels, last = [""] * len(places), -np.inf
    for number in np.argsort(scaled):
        if (scaled[number] - last) / span >= _NEAR:
            labels[number], last = shown_value(float(places[number])), scaled[number]
    axes.set_xticks(places, labels)
    axes.minorticks_off()


def draw_grid(data: pd.DataFrame, names: tuple[str, str], metric: str) -> Figure:
    """Draw a heat map over two settings, one number per field, the pair chosen on validation framed.

    Args:
        data: the values in the first two columns; ``test`` and ``chosen``.
        names: labels of the x and y axes.
        metric: label of the colour bar.
    """
    across, up = list(dict.fromkeys(data.iloc[:, 0])), list(dict.fromkeys(data.iloc[:, 1]))
    scores = np.full((len(up), len(across)), np.nan)
    columns, rows = [across.index(v) for v in data.iloc[:, 0]], [up.index(v) for v in data.iloc[:, 1]]
    scores[rows, columns] = data["test"]
    figure = style.figure(height=min(1.2 + 0.32 * len(up), 5.0))
    axes = figure.add_subplot()
    axes.grid(visible=False)
    image = axes.imshow(scores, cmap="cividis", origin="lower", aspect="auto")
    shades = np.asarray(image.norm(scores), dtype=float)
    for row, column in zip(rows, columns, strict=True):
        _write_score(axes, row, column, scores, shades[row, column])
    for row, column in zip(np.array(rows)[data["chosen"]], np.array(columns)[data["chosen"]], strict=True):
        axes.add_patch(_frame(row, column))
    axes.set_xticks(range(len(across)), [shown_value(value) for value in across])
    axes.set_yticks(range(len(up)), [shown_value(value) for value in up])
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    figure.colorbar(image, label=metric)
    return figure


def _write_score(axes: Axes, row: int, column: int, scores: np.ndarray, shade: float) -> None:
    score = scores[row, column]
    small = 6.5 if scores.shape[1] > 5 else 7.5
    if np.isnan(score):
        axes.text(column, row, "-", ha="center", va="center", fontsize=small)
    else:
        colour = "white" if shade < 0.5 else "black"
        axes.text(column, row, f"{score:.4f}", ha="center", va="center", fontsize=small, color=colour)


def _frame(row: int, column: int) -> Rectangle:
    return Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, edgecolor=style.PALETTE["vermilion"], lw=2)
