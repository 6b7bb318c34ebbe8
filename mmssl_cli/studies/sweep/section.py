"""Figure 4 (Sec. 4.4): test metrics against a setting, from finished runs; the value is chosen on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from mmssl_cli.config import TrainSettings
from mmssl_cli.reporting.document import Cell, Missing, Plot, Section, Table, mean_of, with_marks, word
from mmssl_cli.runs.results import Configuration
from mmssl_cli.studies.run_selection import RULE, best_of_each_model, differences, is_number
from mmssl_cli.studies.sweep.figures import Baseline, draw_grid, draw_line
from mmssl_cli.studies.sweep.findings import (
    Measured,
    axis_name,
    findings,
    on_seeds,
    on_shared_seeds,
    selected_on_validation,
)
from mmssl_cli.studies.sweep.points import Line, shown_name, shown_value
from mmssl_cli.text import DEFAULT_METRIC, companion, dashed, metric_label

#: Definition of the best baseline, for captions.
_BEST = f"of each other model {RULE}, then the model best on validation, on the seeds shown here"


def sweep_section(
    lines: Sequence[Line],
    found: Callable[[TrainSettings], Configuration | None],
    baselines: Sequence[Configuration],
    metric: str = DEFAULT_METRIC,
    *,
    problems: Sequence[str] = (),
    places: str = "",
) -> Section:
    """Build a table, a figure and a sentence on the chosen value for each line, on the seeds that its points share.

    Args:
        lines: parameters with their points.
        found: returns the finished runs of a point's settings.
        baselines: finished runs of other models on the same data; the best on validation is drawn as a line, with its
            own runs at each value where there are some that differ in the parameter alone.
        metric: test metric of the figures. The validation metric of the same name chooses the values.
        problems: sentences on runs that were left out.
        places: flags to add to the commands shown, beginning with a space.
    """
    settings = lines[0].points[0].settings
    baseline = best_baseline(baselines, settings.model, metric)
    texts, tables, plots = [], [], []
    for line in lines:
        measured, seeds = on_shared_seeds([Measured(point, found(point.settings)) for point in line.points])
        shown = {seed for each in measured if each.runs for seed in each.runs.seeds}
        beside = baseline and on_seeds(baseline, shown)
        along = {value: on_seeds(one, shown) for value, one in baseline_along(line, beside, baselines).items()}
        texts.append(" ".join(filter(None, (findings(line, measured, metric), seeds))))
        tables.append(_table(line, measured, beside, along, metric))
        if len(line.parameters) <= 2 and any(each.runs for each in measured):
            plots.append(_plot(line, measured, beside, along, metric))
    return Section(
        name=f"sweep-{dashed(settings.dataset)}",
        title=f"Settings of {settings.model} on {settings.dataset} (the paper's Figure 4)",
        text=(*texts, *problems),
        tables=tuple(tables),
        plots=tuple(plots),
        missing=() if baseline else (_missing_baseline(settings, places),),
    )


def best_baseline(configurations: Sequence[Configuration], model: str, metric: str) -> Configuration | None:
    """Return the best on validation of the other models; None if there are none."""
    others = [c for c in configurations if c.settings.model != model and c.validation(metric) and c.test(metric)]
    return max(best_of_each_model(others), key=lambda c: fmean(c.validation(metric)), default=None)


def baseline_along(
    line: Line, baseline: Configuration | None, configurations: Sequence[Configuration]
) -> dict[float, Configuration]:
    """Return value -> the baseline's runs at it, all else the same; empty unless there are several, of a number."""
    if baseline is None or len(line.parameters) > 1:
        return {}
    (name,) = line.parameters
    found: dict[Any, Configuration] = {}
    for one in configurations:
        value = getattr(one.settings, name, None)
        if one.settings.model == baseline.settings.model and differences(baseline, one).keys() <= {name}:
            found[value] = one
    return dict(sorted(found.items())) if len(found) > 1 and all(map(is_number, found)) else {}


def _table(
    line: Line,
    measured: Sequence[Measured],
    baseline: Configuration | None,
    along: Mapping[float, Configuration],
    metric: str,
) -> Table:
    tested = (metric, companion(metric))
    selected = selected_on_validation(measured, metric)
    rows = []
    for each in measured:
        notes = ["reference"] * each.point.reference + ["chosen on validation"] * (each is selected)
        values = [
            Cell(shown_value(value), float(value)) if is_number(value) else word(shown_value(value))
            for value in each.point.values
        ]
        rows.append([*values, word(", ".join(notes)), *_numbers(each.runs, metric, tested)])
    labels = len(line.parameters) + 1
    notes = ["Mean ± sample standard deviation over the seeds."]
    marked = [list(row) for row in with_marks(rows, range(labels + 1, labels + 2 + len(tested)))]
    if baseline:
        shown = {f"{baseline.label}, {shown_value(value)}": one for value, one in along.items()}
        for label, one in (shown or {baseline.label: baseline}).items():
            names = [word(label), *[word("")] * (len(line.parameters) - 1), word("best baseline")]
            marked.append([*names, *_numbers(one, metric, tested)])
        notes.append(f"Best baseline: {_BEST}.")
    return Table(
        name=f"sweep-{_name(line)}",
        title=f"{_title(line)}, test metrics of the epoch selected on validation",
        columns=(
            *map(shown_name, line.parameters),
            "Note",
            "Seeds",
            f"Validation {metric_label(metric)}",
            *(metric_label(name) for name in tested),
        ),
        rows=tuple(map(tuple, marked)),
        labels=labels,
        notes=tuple(notes),
    )


def _numbers(runs: Configuration | None, metric: str, tested: Sequence[str]) -> list[Cell]:
    if runs is None:
        return [Cell("0", 0.0), *[Cell("-")] * (len(tested) + 1)]
    return [
        Cell(str(len(runs.runs)), float(len(runs.runs))),
        mean_of(runs.validation(metric)),
        *(mean_of(runs.test(name)) for name in tested),
    ]


def _plot(
    line: Line,
    measured: Sequence[Measured],
    baseline: Configuration | None,
    along: Mapping[float, Configuration],
    metric: str,
) -> Plot:
    model = measured[0].point.settings.model
    data, shown = _data(line, measured, metric), metric_label(metric)
    line_of = None
    if baseline:
        at = {value: scores for value, one in along.items() if (scores := one.test(metric))}
        line_of = Baseline(baseline.label, baseline.test(metric), at)
    if len(line.parameters) == 2:
        names = (axis_name(line.parameters[0]), axis_name(line.parameters[1]))
        draw = partial(draw_grid, data, names, f"Test {shown}")
        caption = f"Test {shown} of {model} for each pair of values, the mean over the seeds; the frame is the pair "
        caption += "chosen on validation."
    else:
        label = measured[0].runs.label if measured[0].runs else model
        draw = partial(draw_line, data, axis_name(line.parameters[0]), f"Test {shown}", label, line_of)
        caption = f"Test {shown} of {model} against {axis_name(line.parameters[0])}: the mean over the seeds, the "
        caption += "band one standard deviation; the ring is the value chosen on validation, the hollow marker the "
        caption += "reference."
        if line_of:
            drawn = "other" if along else "horizontal"
            caption += f" The {drawn} line is {line_of.label}, the best baseline: {_BEST}."
    return Plot(f"figure4-{_name(line)}", _title(line), caption, draw, data)


def _data(line: Line, measured: Sequence[Measured], metric: str) -> pd.DataFrame:
    """One row per point: its values, then the numbers drawn."""
    selected = selected_on_validation(measured, metric)
    rows = []
    for each in measured:
        test, chosen = each.test(metric), each.validation(metric)
        places = dict(zip(line.parameters, map(_plain, each.point.values), strict=True))
        rows.append(
            {
                **places,
                "seeds": len(test),
                "test": fmean(test) if test else None,
                "deviation": stdev(test) if len(test) > 1 else None,
                "validation": fmean(chosen) if chosen else None,
                "chosen": each is selected,
                "reference": each.point.reference,
            }
        )
    numbers = {"test": float, "deviation": float, "validation": float}
    return pd.DataFrame(rows).astype(numbers)


def _plain(value: object) -> object:
    return value if is_number(value) else shown_value(value)


def _missing_baseline(settings: TrainSettings, places: str) -> Missing:
    other = next(name for name in ("lightgcn", "mf") if name != settings.model)
    return Missing(
        f"a baseline on {settings.dataset} (finished runs of another model)",
        f"mmssl train --dataset {settings.dataset} --model {other}{places}",
    )


def _title(line: Line) -> str:
    settings = line.points[0].settings
    return f"{' × '.join(map(axis_name, line.parameters))} of {settings.model} on {settings.dataset}"


def _name(line: Line) -> str:
    return dashed("-".join([*line.parameters, line.points[0].settings.dataset]))
