"""Paired comparison of two configurations: relative difference and p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from mmssl_cli.evaluation.significance import compare_over_seeds, compare_over_users, holm
from mmssl_cli.reporting.document import Cell, Table, interval, p_value, percent, word
from mmssl_cli.runs.results import Configuration
from mmssl_cli.text import metric_label

#: Explanation of the two p-values, for the notes of tables.
TESTS = (
    "p: two-sided paired t-tests, over the test users (their metrics averaged over the seeds) and over the seeds; not "
    "corrected for the number of tests."
)
#: The same for tables of tests.
TESTS_TABLE = (
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
        over_seeds: p-value over the seeds (chance in training); None with a single seed.
    """

    relative: float | None = None
    low: float | None = None
    high: float | None = None
    over_users: float | None = None
    over_seeds: float | None = None

    @property
    def cells(self) -> tuple[Cell, Cell, Cell]:
        """Difference and both p-values as cells of a table."""
        return percent(self.relative), p_value(self.over_users), p_value(self.over_seeds)

    @property
    def is_clear(self) -> bool:
        """True if every test that could be made is significant."""
        made = [p for p in (self.over_users, self.over_seeds) if p is not None]
        return bool(made) and all(p < LEVEL for p in made)

    @property
    def text(self) -> str:
        """``-25.6 % (p = 2.7e-17 over users, 0.01 over seeds)``."""
        relative, users, seeds = self.cells
        over_seeds = f"{seeds.text} over seeds" if self.over_seeds is not None else "one seed"
        return f"{relative.text} (p = {users.text} over users, {over_seeds})"


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
    users = compare_over_users(*(each.per_user(metric).to_numpy() for each in pair))
    seeds = compare_over_seeds(ours, theirs).t_p_value if len(ours) > 1 else None
    return Difference(fmean(ours) / base - 1 if base else None, users.low, users.high, users.t_p_value, seeds)


def tests_table(
    name: str,
    title: str,
    heading: str,
    entries: Sequence[tuple[str, Configuration, Configuration]],
    metrics: Sequence[str],
) -> Table:
    """Build a table of paired tests, a row for each entry and metric.

    Args:
        heading: of the first column.
        entries: its text, and the configurations whose difference is tested.
    """
    rows = []
    for metric in metrics:
        found = [against(first, second, metric) for _, first, second in entries]
        over_users, over_seeds = (holm([getattr(one, kind) for one in found]) for kind in ("over_users", "over_seeds"))
        for (label, _, _), one, users, seeds in zip(entries, found, over_users, over_seeds, strict=True):
            relative, p_users, p_seeds = one.cells
            between = interval(one.low, one.high)
            rows.append(
                (
                    word(label),
                    word(metric_label(metric)),
                    relative,
                    between,
                    p_users,
                    p_value(users),
                    p_seeds,
                    p_value(seeds),
                )
            )
    columns = (heading, "Metric", "Difference", "Interval", "p, users", "Holm, users", "p, seeds", "Holm, seeds")
    return Table(name, title, columns, tuple(rows), labels=2, notes=(TESTS_TABLE,))
