"""Cost against the size of the data as tables and a figure, beside the complexity of A.3."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from mmssl_cli.reporting.document import Plot, Table, number, word
from mmssl_cli.reporting.style import PALETTE, figure
from mmssl_cli.studies.diagnostics.cost import growth
from mmssl_cli.studies.diagnostics.record import Cost, CostPoint


def cost_findings(cost: Cost) -> tuple[str, ...]:
    """Return sentences on the growth of a step's time with the data; none for a single size."""
    if len(cost.points) < 2:
        return ()
    sizes = [point.interactions for point in cost.points]
    slopes = [
        growth(sizes, values)
        for values in ([p.seconds for p in cost.points], _printed(cost), [_own(p) for p in cost.points])
    ]
    (last, time), (doubled, longer) = ((p.interactions, p.seconds) for p in cost.points[-2:])
    text = (
        f"A training step's time grows as the data's size to the power {slopes[0]:.2f} (log-log slope over "
        f"{len(sizes)} sizes; {growth([last, doubled], [time, longer]):.2f} between the two largest). The terms of "
        f"A.3 grow to the power {slopes[1]:.2f}, the operations of this implementation to the power {slopes[2]:.2f}.",
    )
    refreshing = [point.refresh_seconds for point in cost.points if point.refresh_seconds is not None]
    if len(refreshing) < len(sizes):
        return text
    return (
        *text,
        "The refresh of the modality graphs, once an epoch, compares all users with all items: its time grows to the "
        f"power {growth(sizes, refreshing):.2f}. A.3 has no term for it.",
    )


def cost_tables(cost: Cost, name: str, dataset: str) -> list[Table]:
    """Return a table with one row per size, and one of the terms of A.3 at the size of the data."""
    seconds = ("Step, s", "Median, s", "Refresh, s")
    columns = ("Size", "Users", "Items", "Interactions", *seconds, "Memory, MB", "A.3", "Here")
    rows = tuple(
        (
            word(f"{point.fraction:g}"),
            *(number(n, ",.0f") for n in (point.users, point.items, point.interactions)),
            number(point.seconds),
            number(point.median),
            number(point.refresh_seconds, ".3f"),
            number(point.peak_memory_bytes / 1e6, ",.0f"),
            number(sum(part.printed for part in point.parts), ".2e"),
            number(_own(point), ".2e"),
        )
        for point in cost.points
    )
    notes = (
        f"The fastest of {cost.timed_steps} training steps, and their median; {cost.device}. Size: users, items and "
        "interactions as a multiple of the data set's; below 1 users are drawn and items folded into fewer, above 1 "
        "the data lie side by side several times. Refresh: the modality graphs (Eq. 8), once an epoch. Memory: the "
        "most that the process held (on a GPU, its tensors).",
        "A.3: multiplications of a step by the paper's terms, constants left out; here: the leading ones of this "
        "implementation, which forms no block of generated relations and by default contrasts the users of a batch. A "
        f"step has {_reference(cost).batch:,} triples, but never more than there are interactions.",
    )
    title = f"Cost of a training step against the size of {dataset}"
    return [Table(f"cost-{name}", title, columns, rows, notes=notes), _parts_table(cost, name, dataset)]


def _parts_table(cost: Cost, name: str, dataset: str) -> Table:
    point = _reference(cost)
    printed, own = sum(part.printed for part in point.parts), _own(point)
    rows = tuple(
        (
            word(part.name),
            word(part.formula),
            number(part.printed, ".2e"),
            number(part.printed / printed, ".3f"),
            number(part.own, ".2e"),
            number(part.own / own, ".3f"),
        )
        for part in point.parts
    )
    columns = ("Part", "Term of A.3", "A.3", "Share", "Here", "Share here")
    notes = (f"Multiplications of a step with B = {point.batch:,}, at size {point.fraction:g}.",)
    return Table(f"complexity-{name}", f"Complexity by A.3 on {dataset}", columns, rows, labels=2, notes=notes)


def cost_plot(cost: Cost, name: str, dataset: str) -> Plot:
    """Plot seconds per step against interactions, log-log, and both counts scaled to meet them at the data's size."""
    reference = _reference(cost)
    printed, own = _printed(cost), [_own(point) for point in cost.points]
    at = cost.points.index(reference)
    data = pd.DataFrame(
        {
            "interactions": [point.interactions for point in cost.points],
            "seconds": [point.seconds for point in cost.points],
            "median": [point.median for point in cost.points],
            "A.3": [value / printed[at] * reference.seconds for value in printed],
            "here": [value / own[at] * reference.seconds for value in own],
        }
    )
    return Plot(
        f"figure-cost-{name}",
        f"Cost of a training step against the size of {dataset}",
        "Seconds of the fastest training step, and of the median one, against training interactions, both axes "
        "logarithmic. The lines are multiplications by A.3 and by this implementation, scaled to meet the measured "
        "time at the size of the data set.",
        lambda: _draw(data),
        data,
    )


def _draw(data: pd.DataFrame) -> Figure:
    drawn = figure(height=2.8)
    axes = drawn.add_subplot()
    x = data["interactions"]
    axes.plot(x, data["seconds"], "o-", color=PALETTE["blue"], label="fastest step")
    axes.plot(x, data["median"], "s", color=PALETTE["sky"], label="median step")
    axes.plot(x, data["A.3"], "--", color=PALETTE["vermilion"], label="terms of A.3, scaled")
    axes.plot(x, data["here"], ":", color=PALETTE["black"], label="operations here, scaled")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(x, [f"{size:,}" for size in x])
    axes.xaxis.set_minor_locator(NullLocator())
    # A few plain numbers, however few powers of ten the axis spans.
    low, high = data.iloc[:, 1:].min(axis=None), data.iloc[:, 1:].max(axis=None)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("training interactions")
    axes.set_ylabel("seconds a training step")
    drawn.legend(loc="outside upper center", ncols=2)
    return drawn


def _reference(cost: Cost) -> CostPoint:
    """The point of the whole data set, or the nearest one."""
    return min(cost.points, key=lambda point: abs(point.fraction - 1))


def _printed(cost: Cost) -> list[int]:
    return [sum(part.printed for part in point.parts) for point in cost.points]


def _own(point: CostPoint) -> int:
    return sum(part.own for part in point.parts)
