"""Points of a sweep with their runs, the value that validation chooses, and the sentences on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from mmssl_cli.reporting.document import mean_of
from mmssl_cli.runs.results import Configuration
from mmssl_cli.studies.headline import seeds_sentence
from mmssl_cli.studies.sweep.points import SYMBOLS, Line, Point, shown_name, shown_value
from mmssl_cli.text import metric_label

#: The best values of MMSSL by Sec. 4.4, which names one temperature without saying which of the two it is.
PAPER_BEST: dict[str, tuple[float, ...]] = {
    "layers": (2, 3),
    "zeta": (100,),
    "gradient_penalty": (1,),
    "gumbel_temperature": (0.085,),
    "contrast_temperature": (0.085,),
}


@dataclass(frozen=True)
class Measured:
    """A point with its finished runs; None if all of them failed."""

    point: Point
    runs: Configuration | None

    def test(self, metric: str) -> list[float]:
        """Return a test metric of each run."""
        return self.runs.test(metric) if self.runs else []

    def validation(self, metric: str) -> list[float]:
        """Return a validation metric of each run's selected epoch."""
        return self.runs.validation(metric) if self.runs else []

    @property
    def shown(self) -> str:
        return " × ".join(map(shown_value, self.point.values))


def on_shared_seeds(measured: Sequence[Measured]) -> tuple[list[Measured], str]:
    """Return the points on the seeds that all finished ones have, and a sentence on those that some lack.

    Without a seed that all have, the points are as they were.
    """
    seeds = {each.shown: set(each.runs.seeds) for each in measured if each.runs}
    every: set[int] = set().union(*seeds.values())
    common = {seed for seed in every if all(seed in own for own in seeds.values())}
    lacking = [(shown, sorted(every - own)) for shown, own in seeds.items() if every - own]
    if not common:
        return list(measured), "No seed is that of all values: their means are over different seeds." if lacking else ""
    kept = [replace(each, runs=on_seeds(each.runs, common) if each.runs else None) for each in measured]
    return kept, seeds_sentence(sorted(common), lacking)


def on_seeds(runs: Configuration, seeds: Collection[int]) -> Configuration:
    """Return the runs with these seeds, or all of them if there are none."""
    kept = tuple(run for run in runs.runs if run.seed in seeds)
    return Configuration(kept) if kept else runs


def selected_on_validation(measured: Sequence[Measured], metric: str) -> Measured | None:
    """Return the first point with the best mean validation metric; None without a finished run."""
    known = [each for each in measured if each.validation(metric)]
    return max(known, key=lambda each: fmean(each.validation(metric)), default=None)


def axis_name(parameter: str) -> str:
    """Return a setting with the paper's symbol: ``gradient-penalty (λ₁)``."""
    symbol = SYMBOLS.get(parameter)
    return f"{shown_name(parameter)} ({symbol})" if symbol else shown_name(parameter)


def findings(line: Line, measured: Sequence[Measured], metric: str) -> str:
    """Describe a line: the value chosen on validation, its test metric, the paper's best, and values without runs."""
    names = " × ".join(map(axis_name, line.parameters))
    known = [each for each in measured if each.test(metric) and each.validation(metric)]
    selected = selected_on_validation(known, metric)
    if selected is None:
        return f"{names}: no run is finished."
    shown, score = metric_label(metric), fmean(selected.validation(metric))
    test = f"whose test {shown} is {mean_of(selected.test(metric)).text}."
    if len(known) == 1:
        parts = [f"{names}: only {selected.shown} is finished (validation {shown} {score:.4f}), {test}"]
    else:
        equals = [each for each in known if fmean(each.validation(metric)) == score]
        tied = f"; as good: {_listed(equals[1:])}" if len(equals) > 1 else ""
        parts = [f"{names}: validation {shown} chooses {selected.shown} ({score:.4f}{tied}), {test}"]
    parts += _of_the_paper(line, known)
    if absent := [each for each in measured if not each.runs]:
        parts.append(f"No run is finished for {_listed(absent)}.")
    return " ".join(parts)


def _listed(points: Sequence[Measured]) -> str:
    return ", ".join(each.shown for each in points)


def _of_the_paper(line: Line, known: Sequence[Measured]) -> list[str]:
    """The best values of Sec. 4.4, with those that have no run here."""
    (parameter, *more) = line.parameters
    if more or line.points[0].settings.model != "mmssl" or parameter not in PAPER_BEST:
        return []
    best = PAPER_BEST[parameter]
    tried = {each.point.values[0] for each in known}
    untried = [shown_value(value) for value in best if value not in tried]
    not_here = f"; {' and '.join(untried)} {'was' if len(untried) == 1 else 'were'} not tried here" if untried else ""
    return [f"The paper finds {' or '.join(map(shown_value, best))} best (Sec. 4.4){not_here}."]
