"""Figure 4 (Sec. 4.4): how a setting moves the test metrics, from finished runs; the value is chosen on validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from mmssl_cli.reporting.document import Cell, Missing, Plot, Section, Table, mean_of, with_marks, word
from mmssl_cli.reporting.tables import metric_label
from mmssl_cli.studies.sweep_points import SYMBOLS, Line, Point, is_number, shown_name, shown_value
from mmssl_cli.wording import companion, counted, dashed

if TYPE_CHECKING:
    import pandas as pd

    from mmssl_cli.config import TrainSettings
    from mmssl_cli.experiments.results import Configuration

#: What Sec. 4.4 finds best for MMSSL. It speaks of one temperature and does not say which of its two.
PAPER_BEST: dict[str, tuple[float, ...]] = {
    "layers": (2, 3),
    "zeta": (100,),
    "gradient_penalty": (1,),
    "gumbel_temperature": (0.085,),
    "contrast_temperature": (0.085,),
}


@dataclass(frozen=True)
class Measured:
    """A point with its finished runs; without any where all failed."""

    point: Point
    runs: Configuration | None

    def test(self, metric: str) -> list[float]:
        """A test metric of each run."""
        return self.runs.test(metric) if self.runs else []

    def validation(self, metric: str) -> list[float]:
        """A validation metric of each run's selected epoch."""
        return validation(self.runs, metric) if self.runs else []

    @property
    def shown(self) -> str:
        return " × ".join(map(shown_value, self.point.values))


def sweep_section(
    lines: Sequence[Line],
    found: Callable[[TrainSettings], Configuration | None],
    baselines: Sequence[Configuration],
    metric: str = "recall@20",
) -> Section:
    """A table and a figure of each line, and what they show in sentences.

    Args:
        lines: parameters with their points.
        found: the finished runs of a point's settings.
        baselines: finished runs of other models on the same data; the best on validation is drawn as a line.
        metric: test metric of the figures. The validation metric of the same name chooses the values.
    """
    settings = lines[0].points[0].settings
    baseline = best_baseline(baselines, settings.model, metric)
    texts, tables, plots = [], [], []
    for line in lines:
        measured = [Measured(point, found(point.settings)) for point in line.points]
        texts.append(_findings(line, measured, baseline, metric))
        tables.append(_table(line, measured, baseline, metric))
        if len(line.parameters) <= 2 and any(each.runs for each in measured):
            plots.append(_plot(line, measured, baseline, metric))
    return Section(
        name=f"sweep-{dashed(settings.dataset)}",
        title=f"Figure 4. Settings of {settings.model} on {settings.dataset}",
        text=tuple(texts),
        tables=tuple(tables),
        plots=tuple(plots),
        missing=() if baseline else (_missing_baseline(settings),),
    )


def best_baseline(configurations: Sequence[Configuration], model: str, metric: str) -> Configuration | None:
    """The configuration of any other model with the best mean validation metric; None where there is none."""
    others = [c for c in configurations if c.settings.model != model and validation(c, metric) and c.test(metric)]
    return max(others, key=lambda c: fmean(validation(c, metric)), default=None)


def validation(runs: Configuration, metric: str) -> list[float]:
    """A validation metric of the selected epoch of each run that measured it."""
    return [run.result["validation"][metric] for run in runs.runs if metric in run.result["validation"]]


def selected_on_validation(measured: Sequence[Measured], metric: str) -> Measured | None:
    """The point with the best mean validation metric, the first of equals; None where nothing is finished."""
    known = [each for each in measured if each.validation(metric)]
    return max(known, key=lambda each: fmean(each.validation(metric)), default=None)


def axis_name(parameter: str) -> str:
    """A setting with the paper's symbol: ``gradient-penalty (λ₁)``."""
    symbol = SYMBOLS.get(parameter)
    return f"{shown_name(parameter)} ({symbol})" if symbol else shown_name(parameter)


def _table(line: Line, measured: Sequence[Measured], baseline: Configuration | None, metric: str) -> Table:
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
    marked = [list(row) for row in with_marks(rows, range(labels + 1, labels + 2 + len(tested)))]
    if baseline:
        names = [word(baseline.label), *[word("")] * (len(line.parameters) - 1), word("best baseline")]
        marked.append([*names, *_numbers(baseline, metric, tested)])
    return Table(
        name=f"sweep-{_name(line)}",
        title=f"{_title(line)}, test metrics of the epoch selected on validation",
        columns=(
            *map(shown_name, line.parameters),
            "Note",
            "Seeds",
            f"Validation {metric_label(metric)}",
            *(metric_label(name) for name in tested),
            "Seconds an epoch",
        ),
        rows=tuple(map(tuple, marked)),
        labels=labels,
        notes=("Mean ± sample standard deviation over the seeds.",),
    )


def _numbers(runs: Configuration | None, metric: str, tested: Sequence[str]) -> list[Cell]:
    if runs is None:
        return [Cell("0", 0.0), *[Cell("-")] * (len(tested) + 2)]
    return [
        Cell(str(len(runs.runs)), float(len(runs.runs))),
        mean_of(validation(runs, metric)),
        *(mean_of(runs.test(name)) for name in tested),
        mean_of([float(run.metrics["seconds"].mean()) for run in runs.runs], ".2f"),
    ]


def _findings(line: Line, measured: Sequence[Measured], baseline: Configuration | None, metric: str) -> str:
    """What a line shows, in sentences."""
    names = " × ".join(map(axis_name, line.parameters))
    selected = selected_on_validation(measured, metric)
    if selected is None:
        return f"{names}: no run is finished."
    shown = metric_label(metric)
    known = [each for each in measured if each.test(metric)]
    best = max(known, key=lambda each: fmean(each.test(metric)))
    score = fmean(selected.validation(metric))
    equals = [each.shown for each in known if each is not selected and fmean(each.validation(metric)) == score]
    tied = f"; as good: {', '.join(equals)}" if equals else ""
    parts = [
        f"{names}: validation {shown} chooses {selected.shown} ({score:.4f}{tied}), whose test "
        f"{shown} is {mean_of(selected.test(metric)).text}."
    ]
    if best is selected:
        parts.append("It is the best on test too.")
    else:
        parts.append(f"The best on test is {best.shown} ({mean_of(best.test(metric)).text}).")
    parts += _spread(known, metric)
    parts += _beside_the_paper(line, measured, selected, best, metric)
    if baseline:
        score = fmean(baseline.test(metric))
        above = sum(fmean(each.test(metric)) > score for each in known)
        parts.append(f"{above} of {counted(len(known), 'value')} lie above {baseline.label} ({score:.4f}).")
    absent = [each.shown for each in measured if not each.runs]
    if absent:
        parts.append(f"No run is finished for {', '.join(absent)}.")
    return " ".join(parts)


def _spread(known: Sequence[Measured], metric: str) -> list[str]:
    """How far the values lie apart on test, beside how far seeds do."""
    repeated = [stdev(each.test(metric)) for each in known if len(each.test(metric)) > 1]
    if len(known) < 2 or not repeated:
        return []
    means = [fmean(each.test(metric)) for each in known]
    apart, seeds = max(means) - min(means), max(repeated)
    return [f"The values lie up to {apart:.4f} apart; seeds of one value deviate by up to {seeds:.4f}."]


def _beside_the_paper(
    line: Line, measured: Sequence[Measured], selected: Measured, best: Measured, metric: str
) -> list[str]:
    (parameter, *more) = line.parameters
    if more or selected.point.settings.model != "mmssl" or parameter not in PAPER_BEST:
        return []
    theirs = PAPER_BEST[parameter]
    choice = " or ".join(shown_value(value) for value in theirs)
    agree = [each.point.values[0] in theirs for each in (selected, best)]
    verdict = {
        (True, True): "both the choice on validation and the best on test agree",
        (True, False): "the choice on validation agrees, the best on test does not",
        (False, True): "the best on test agrees, the choice on validation does not",
        (False, False): "neither the choice on validation nor the best on test agrees",
    }[agree[0], agree[1]]
    tried = [each for each in measured if each.point.values[0] in theirs and each.test(metric)]
    there = "; ".join(f"at {each.shown} test is {mean_of(each.test(metric)).text}" for each in tried)
    return [f"The paper finds {choice} best (Sec. 4.4): {verdict}; {there or 'its value was not tried'}."]


def _plot(line: Line, measured: Sequence[Measured], baseline: Configuration | None, metric: str) -> Plot:
    from mmssl_cli.studies.sweep_figures import Baseline, draw_grid, draw_line

    model = measured[0].point.settings.model
    data, shown = _data(line, measured, metric), metric_label(metric)
    line_of = Baseline(baseline.label, baseline.test(metric)) if baseline else None
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
            caption += f" The horizontal line is {line_of.label}, the baseline that is best on validation."
    return Plot(f"figure4-{_name(line)}", _title(line), caption, draw, data)


def _data(line: Line, measured: Sequence[Measured], metric: str) -> pd.DataFrame:
    """A row a point: its values as ``x`` and ``y``, and what is drawn."""
    import pandas as pd

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


def _missing_baseline(settings: TrainSettings) -> Missing:
    other = next(name for name in ("lightgcn", "mf") if name != settings.model)
    return Missing(
        f"a baseline on {settings.dataset} (finished runs of another model)",
        f"mmssl train --dataset {settings.dataset} --model {other}",
    )


def _title(line: Line) -> str:
    settings = line.points[0].settings
    return f"{' × '.join(map(axis_name, line.parameters))} of {settings.model} on {settings.dataset}"


def _name(line: Line) -> str:
    return dashed("-".join([*line.parameters, line.points[0].settings.dataset]))
