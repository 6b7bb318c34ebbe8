"""Fig. 1 of the paper: accuracy by training degree of users and items, and the long tail in the recommendations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from mmssl_cli.reporting.style import band, colour, figure, line_style, marker

#: Most points of items per panel; more would hide each other.
MOST_POINTS = 400
_BARS = "#D4D8DD"


@dataclass(frozen=True)
class Spread:
    """Means and, with several seeds, their sample standard deviations over seeds; float [n]."""

    mean: np.ndarray
    deviation: np.ndarray | None = None

    @classmethod
    def over_seeds(cls, values: np.ndarray) -> Spread:
        """Compute it from values [seeds, n]."""
        return cls(values.mean(0), values.std(0, ddof=1) if len(values) > 1 else None)

    def edges(self) -> tuple[list[float] | None, list[float] | None]:
        """Return the means minus and plus one deviation; None for both with a single seed."""
        if self.deviation is None:
            return None, None
        return (self.mean - self.deviation).tolist(), (self.mean + self.deviation).tolist()


@dataclass(frozen=True)
class ItemAccuracy:
    """Accuracy of one model on the items with test interactions, and the means by degree.

    Attributes:
        degree, accuracy: of each item, [n].
        group_degree, group_accuracy: means over the items of each group of degrees, [g].
    """

    degree: np.ndarray
    accuracy: np.ndarray
    group_degree: np.ndarray
    group_accuracy: np.ndarray


def draw_user_buckets(buckets: Sequence[str], users: Sequence[int], lines: Mapping[str, Spread], metric: str) -> Figure:
    """Draw Fig. 1a: users per bucket as bars (left axis), a metric of each model as lines (right axis).

    Args:
        lines: model -> one value per bucket, NaN for a bucket without users.
        metric: label of the right axis.
    """
    drawn = figure(height=2.3 + 0.16 * ((len(lines) + 1) // 2))
    counts = drawn.add_subplot()
    at = np.arange(len(buckets))
    counts.bar(at, users, width=0.7, color=_BARS, label="users")
    counts.set(xlabel="training items of a user", ylabel="test users")
    counts.set_xticks(at, list(buckets))
    counts.grid(visible=False)
    values = counts.twinx()
    for label, spread in lines.items():
        low, high = spread.edges()
        band(values, range(len(buckets)), spread.mean.tolist(), low, high, label)
    values.set_ylabel(metric)
    values.set_ylim(bottom=0)
    values.margins(y=0.1)
    values.spines["right"].set_visible(True)
    handles = [pair for axes in (counts, values) for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    drawn.legend(*zip(*handles, strict=True), loc="outside upper center", ncols=2)
    return drawn


def draw_item_accuracy(models: Mapping[str, ItemAccuracy], reference: str, metric: str) -> Figure:
    """Draw Fig. 1b and c: one panel per model, one point per item (thinned), the mean by degree as a line.

    Args:
        reference: model whose means are drawn in every panel for comparison.
        metric: name of the accuracy on the axis.
    """
    columns = min(2, len(models))
    rows = -(-len(models) // columns)
    drawn = figure(width_columns=1 if columns == 1 else 1.5, height=0.5 + 1.8 * rows)
    panels = drawn.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axes, (label, items) in zip(panels, models.items(), strict=False):
        _item_panel(axes, label, items)
        if label != reference:
            other = models[reference]
            axes.plot(
                other.group_degree,
                other.group_accuracy,
                color=colour(reference),
                lw=0.9,
                linestyle=line_style(reference),
            )
    for axes in panels[len(models) :]:
        axes.remove()
    for at, axes in enumerate(panels[: len(models)]):
        axes.tick_params(labelbottom=at + columns >= len(models))
        if at + columns >= len(models):
            axes.set_xlabel("training interactions of an item")
    drawn.supylabel(f"{metric} of an item", fontsize=8)
    return drawn


def _item_panel(axes: Axes, label: str, items: ItemAccuracy) -> None:
    degree, accuracy = thinned(items.degree, items.accuracy)
    axes.scatter(degree, accuracy, s=5, color=colour(label), alpha=0.22, linewidths=0, clip_on=False)
    axes.plot(
        items.group_degree,
        items.group_accuracy,
        color=colour(label),
        linestyle=line_style(label),
        marker=marker(label),
        label=label,
    )
    axes.set_title(label)
    axes.set_xscale("symlog", linthresh=1, linscale=0.35)  # degree 0 has its place left of 1
    highest = max(float(items.degree.max()), 1.0)
    ticks = [0, *(10**power for power in range(int(np.log10(highest)) + 1))]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(left=-0.3)
    # The root spreads the low values, where the means are, and keeps an item that everyone finds in sight.
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axes.set_yticks([0, 0.05, 0.2, 0.5, 1], ["0", "0.05", "0.2", "0.5", "1"])
    axes.set_ylim(0, 1)


def draw_tail_shares(shares: Mapping[str, Spread], relevant: float, k: int) -> Figure:
    """Draw the share of long-tail items in the first K, one bar per model, and their share of test interactions.

    Args:
        shares: one value per model.
        relevant: share of long-tail items in the test interactions.
    """
    drawn = figure(height=0.95 + 0.24 * len(shares))
    axes = drawn.add_subplot()
    for at, (label, spread) in enumerate(shares.items()):
        error = None if spread.deviation is None else 100 * spread.deviation
        axes.barh(
            at, 100 * spread.mean, xerr=error, height=0.62, color=colour(label), error_kw={"lw": 0.9, "capsize": 2}
        )
    axes.axvline(
        100 * relevant, color="#333333", lw=1, linestyle=(0, (3, 2)), label="their share of the test interactions"
    )
    axes.set_yticks(range(len(shares)), list(shares))
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x")
    axes.set_xlim(left=0)
    axes.set_xlabel(f"long-tail items among the first {k} (%)")
    drawn.legend(loc="outside upper center")
    return drawn


def thinned(degree: np.ndarray, accuracy: np.ndarray, most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct points, at most ``most``, taken evenly in order of degree, then accuracy."""
    points = np.unique(np.stack([degree, accuracy], axis=1), axis=0)
    if len(points) > most:
        points = points[np.linspace(0, len(points) - 1, most).round().astype(int)]
    return points[:, 0], points[:, 1]
