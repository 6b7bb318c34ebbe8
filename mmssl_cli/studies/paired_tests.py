"""Paired comparison of two configurations: relative difference and p-values."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import numpy as np

from mmssl_cli.evaluation.significance import compare_over_seeds, compare_over_users
from mmssl_cli.reporting.document import Cell, p_value, percent
from mmssl_cli.runs.results import Configuration

#: Explanation of the two p-values, for the notes of tables.
TESTS = (
    "p: two-sided paired t-tests, over the test users (their metrics averaged over the seeds) and over the seeds; not "
    "corrected for the number of tests."
)
#: Significance level.
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """Difference of one configuration from another over their common seeds; None where it cannot be measured.

    Attributes:
        relative: difference of the means, relative to the other's mean.
        over_users: p-value over the test users (chance in the choice of users).
        over_seeds: p-value over the seeds (chance in training); None with a single seed.
    """

    relative: float | None = None
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
    return Difference(fmean(ours) / base - 1 if base else None, users.t_p_value, seeds)
