"""What a sweep shows, in sentences: the value that validation chooses, the best on test, what the paper says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from mmssl_cli.reporting.document import mean_of
from mmssl_cli.studies.sweep.points import SYMBOLS, Line, Point, shown_name, shown_value
from mmssl_cli.text import metric_label

if TYPE_CHECKING:
    from mmssl_cli.runs.results import Configuration

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
        return validation_of(self.runs, metric) if self.runs else []

    @property
    def shown(self) -> str:
        return " × ".join(map(shown_value, self.point.values))


def validation_of(runs: Configuration, metric: str) -> list[float]:
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


def findings(line: Line, measured: Sequence[Measured], baseline: Configuration | None, metric: str) -> str:
    """What a line shows, in sentences; a single value is compared with no other."""
    names = " × ".join(map(axis_name, line.parameters))
    known = [each for each in measured if each.test(metric) and each.validation(metric)]
    selected = selected_on_validation(known, metric)
    if selected is None:
        return f"{names}: no run is finished."
    shown, score = metric_label(metric), fmean(selected.validation(metric))
    chosen = [each for each in known if fmean(each.validation(metric)) == score]
    best = _best_on_test(known, metric)
    test = f"whose test {shown} is {mean_of(selected.test(metric)).text}."
    if len(known) == 1:
        parts = [f"{names}: only {selected.shown} is finished (validation {shown} {score:.4f}), {test}"]
    else:
        tied = f"; as good: {_listed(chosen[1:])}" if len(chosen) > 1 else ""
        parts = [f"{names}: validation {shown} chooses {selected.shown} ({score:.4f}{tied}), {test}"]
        parts += [_on_test(selected, best, metric), *_spread(known, metric)]
    parts += _beside_the_paper(line, known, chosen, best, metric)
    if baseline:
        parts.append(_beside_the_baseline(known, baseline, metric))
    absent = [each for each in measured if not each.runs]
    if absent:
        parts.append(f"No run is finished for {_listed(absent)}.")
    return " ".join(parts)


def _listed(points: Sequence[Measured]) -> str:
    return ", ".join(each.shown for each in points)


def _best_on_test(known: Sequence[Measured], metric: str) -> list[Measured]:
    highest = max(fmean(each.test(metric)) for each in known)
    return [each for each in known if fmean(each.test(metric)) == highest]


def _on_test(selected: Measured, best: Sequence[Measured], metric: str) -> str:
    others = [each for each in best if each is not selected]
    if len(others) < len(best):
        return f"It is the best on test too{f'; as good: {_listed(others)}' if others else ''}."
    tied = f"; as good: {_listed(others[1:])}" if len(others) > 1 else ""
    return f"The best on test is {others[0].shown} ({mean_of(others[0].test(metric)).text}{tied})."


def _spread(known: Sequence[Measured], metric: str) -> list[str]:
    """How far the values lie apart on test, beside how far seeds do."""
    repeated = [stdev(each.test(metric)) for each in known if len(each.test(metric)) > 1]
    if not repeated:
        return []
    means = [fmean(each.test(metric)) for each in known]
    apart, seeds = max(means) - min(means), max(repeated)
    return [f"The values lie up to {apart:.4f} apart; seeds of one value deviate by up to {seeds:.4f}."]


def _beside_the_baseline(known: Sequence[Measured], baseline: Configuration, metric: str) -> str:
    score = fmean(baseline.test(metric))
    above = sum(fmean(each.test(metric)) > score for each in known)
    its = f"{baseline.label} ({score:.4f})"
    if len(known) == 1:
        return f"It lies {'above' if above else 'not above'} {its}."
    return f"{above} of {len(known)} values lie above {its}."


def _beside_the_paper(
    line: Line, known: Sequence[Measured], chosen: Sequence[Measured], best: Sequence[Measured], metric: str
) -> list[str]:
    """A verdict on Sec. 4.4, only where all of the paper's best values were tried, and another one beside them."""
    (parameter, *more) = line.parameters
    if more or line.points[0].settings.model != "mmssl" or parameter not in PAPER_BEST:
        return []
    theirs = PAPER_BEST[parameter]
    claim = f"The paper finds {' or '.join(map(shown_value, theirs))} best (Sec. 4.4)"
    tried = [each for each in known if each.point.values[0] in theirs]
    if not tried:
        return [f"{claim}, which was not tried here."]
    there = "; ".join(f"at {each.shown} test is {mean_of(each.test(metric)).text}" for each in tried)
    values = {each.point.values[0] for each in tried}
    untried = [shown_value(value) for value in theirs if value not in values]
    if untried:
        return [f"{claim}, of which {', '.join(untried)} was not tried here; {there}."]
    if len(tried) == len(known):
        return [f"{claim}; no other value was tried here."]
    validation, test = (_agreement(points, theirs) for points in (chosen, best))
    return [f"{claim}: the choice on validation {validation}, the best on test {test}; {there}."]


def _agreement(points: Sequence[Measured], theirs: Sequence[float]) -> str:
    """Whether the points, which are equally good, are among the paper's values."""
    agree = [each.point.values[0] in theirs for each in points]
    return "agrees" if all(agree) else "agrees (tied with another)" if any(agree) else "does not agree"
