"""Paired comparison of two configurations: relative difference and p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from mmssl_cli.evaluation.significance import bootstrap_interval, has_spread, holm, t_test
from mmssl_cli.reporting.document import Cell, Table, interval, p_equals, p_value, percent, word
from mmssl_cli.runs.results import Configuration
from mmssl_cli.text import OF_ALL_LISTS, metric_label

#: Explanation of a table of tests.
_NOTE = (
    "Over the seeds that both have. Interval: 95 % of 2,000 bootstrap samples of the test users, of the absolute "
    "difference. p: two-sided paired t-tests, over the test users (their metrics averaged over the seeds) and over the "
    "seeds; Holm: corrected for the number of tests of the metric in this table."
)
#: Significance level.
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """Difference of one configuration from another over their common seeds; None where it cannot be measured.

    Attributes:
        relative: difference of the means, relative to the other's mean.
        low, high: 95% interval of the absolute difference over the test users (bootstrap).
        over_users: p-value over the test users (chance in the choice of users).
        over_seeds: p-value over the seeds (variance between seeds); None with a single seed, and where every seed
            has the same difference, as between models without training.
        holm_users, holm_seeds: the same, corrected for the number of tests (Holm, 1979).
    """

    relative: float | None = None
    low: float | None = None
    high: float | None = None
    over_users: float | None = None
    over_seeds: float | None = None
    holm_users: float | None = None
    holm_seeds: float | None = None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Difference, interval and p-values as cells of a table."""
        p_values = (self.over_users, self.holm_users, self.over_seeds, self.holm_seeds)
        return percent(self.relative), interval(self.low, self.high), *map(p_value, p_values)

    @property
    def is_clear(self) -> bool:
        """True if every test that could be made is significant, corrected for the number of tests."""
        made = [p for p in (self.holm_users, self.holm_seeds) if p is not None]
        return bool(made) and all(p < LEVEL for p in made)

    @property
    def text(self) -> str:
        """``-25.6 % (p = 2.7e-17 over users, 0.01 over seeds)``, with the corrected p-values where they differ.

        A difference that is not clear is said to be such.
        """
        plain = (self.over_users, self.over_seeds) == (self.holm_users, self.holm_seeds)
        over_users = f"{'p' if plain else 'corrected p'} {p_equals(self.holm_users)} over users"
        over_seeds = (
            f"{p_value(self.holm_seeds).text} over seeds" if self.holm_seeds is not None else "seed variance untested"
        )
        clear = "" if self.is_clear else "; not significant"
        return f"{percent(self.relative).text} ({over_users}, {over_seeds}{clear})"


def on_common_seeds(first: Configuration, second: Configuration) -> tuple[Configuration, Configuration] | None:
    """Return both configurations restricted to their common seeds; None if they share none."""
    common = set(first.seeds) & set(second.seeds)
    if not common:
        return None
    one, two = (Configuration(tuple(run for run in each.runs if run.seed in common)) for each in (first, second))
    return one, two


def against(first: Configuration, second: Configuration, metric: str) -> Difference:
    """Return the difference of ``first`` from ``second`` in a test metric."""
    pair = on_common_seeds(first, second)
    if pair is None:
        return Difference()
    ours, theirs = (np.array(each.test(metric)) for each in pair)
    if len(ours) != len(theirs) or not len(ours):
        return Difference()
    base = fmean(theirs)
    relative = fmean(ours) / base - 1 if base else None
    seeds = t_test(ours, theirs) if len(ours) > 1 and has_spread(ours, theirs) else None
    if metric.partition("@")[0] in OF_ALL_LISTS:
        return Difference(relative, over_seeds=seeds, holm_seeds=seeds)
    by_user = [each.per_user(metric).to_numpy() for each in pair]
    users = t_test(*by_user)
    return Difference(relative, *bootstrap_interval(*by_user), users, seeds, users, seeds)


def corrected(pairs: Sequence[tuple[Configuration, Configuration]], metric: str) -> list[Difference]:
    """Return the difference of the first from the second of each pair, the p-values corrected for their number."""
    found = [against(first, second, metric) for first, second in pairs]
    users, seeds = holm([one.over_users for one in found]), holm([one.over_seeds for one in found])
    return [
        replace(one, holm_users=by_users, holm_seeds=by_seeds)
        for one, by_users, by_seeds in zip(found, users, seeds, strict=True)
    ]


def tests_table(
    name: str,
    title: str,
    heading: str,
    entries: Sequence[tuple[str, Configuration, Configuration]],
    metrics: Sequence[str],
) -> Table:
    """Build a table of paired tests, a row for each metric and entry.

    Args:
        heading: of the first column.
        entries: its text, and the configurations whose difference is tested.
    """
    rows = tuple(
        (word(label), word(metric_label(metric)), *difference.cells)
        for metric in metrics
        for (label, _, _), difference in zip(
            entries, corrected([(first, second) for _, first, second in entries], metric), strict=True
        )
    )
    columns = (
        heading,
        "Metric",
        "Difference",
        "Interval, absolute",
        "p, users",
        "Holm, users",
        "p, seeds",
        "Holm, seeds",
    )
    return Table(name, title, columns, rows, labels=2, notes=(_NOTE,))
