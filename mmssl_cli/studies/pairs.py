"""Two configurations side by side: how far apart they are, and whether that is chance."""

from __future__ import annotations

from statistics import fmean

import numpy as np

from mmssl_cli.evaluation.significance import compare_over_seeds, compare_over_users
from mmssl_cli.experiments.results import Configuration
from mmssl_cli.reporting.document import Cell, p_value, percent

#: What the two p-values are, for the notes of tables.
TESTS = (
    "p: two-sided paired t-tests, over the test users (their metrics averaged over the seeds) and over the seeds; not "
    "corrected for the number of tests."
)


def on_common_seeds(first: Configuration, second: Configuration) -> tuple[Configuration, Configuration] | None:
    """Both configurations with the seeds that both have; None where they share none."""
    common = set(first.seeds) & set(second.seeds)
    if not common:
        return None
    one, two = (Configuration(tuple(run for run in each.runs if run.seed in common)) for each in (first, second))
    return one, two


def against(first: Configuration, second: Configuration, metric: str) -> tuple[Cell, Cell, Cell]:
    """The relative difference of ``first`` to ``second`` over their common seeds, and p over users and over seeds.

    ``-`` for each that cannot be told: no common seed, or of p over seeds a single one.
    """
    pair = on_common_seeds(first, second)
    unknown = Cell("-"), Cell("-"), Cell("-")
    if pair is None:
        return unknown
    ours, theirs = (np.array(each.test(metric)) for each in pair)
    if len(ours) != len(theirs) or not len(ours):
        return unknown
    base = fmean(theirs)
    users = compare_over_users(*(each.per_user(metric).to_numpy() for each in pair))
    seeds = compare_over_seeds(ours, theirs).t_p_value if len(ours) > 1 else None
    return percent(fmean(ours) / base - 1 if base else None), p_value(users.t_p_value), p_value(seeds)
