"""Paired tests between two models, over users and over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PairedTest:
    """The outcome of a paired comparison; every difference is first minus second.

    Attributes:
        pairs: users or seeds compared.
        difference: mean of the differences.
        low, high: bounds of its 95% confidence interval: Student's t over seeds, bootstrap over users.
        t_p_value: two-sided, paired t-test.
        wilcoxon_p_value: two-sided, Wilcoxon signed-rank test; NaN where there is none (over seeds).
    """

    pairs: int
    difference: float
    low: float
    high: float
    t_p_value: float
    wilcoxon_p_value: float = float("nan")


def compare_over_users(first: np.ndarray, second: np.ndarray, *, resamples: int = 2000, seed: int = 0) -> PairedTest:
    """Compare two models on the same users.

    Args:
        first: a metric's value for each user under one model, float [n], n >= 2.
        second: the same users, in the same order, under the other.
        resamples: bootstrap samples for the confidence interval.
        seed: of the bootstrap.

    Raises:
        ValueError: the arrays differ in length, are shorter than 2 or hold NaN.
    """
    differences = _differences(first, second)
    low, high = _bootstrap_interval(differences, resamples, np.random.default_rng(seed))
    return PairedTest(
        len(differences), float(differences.mean()), low, high, _t_p(differences), _wilcoxon_p(differences)
    )


def compare_over_seeds(first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Compare two models by a mean metric of each seed: float [n] and [n], paired by seed, n >= 2.

    No signed-rank test is made: over five seeds its p-value cannot fall below 0.06.

    Raises:
        ValueError: the arrays differ in length, are shorter than 2 or hold NaN.
    """
    from scipy import stats  # takes half a second to import

    differences = _differences(first, second)
    pairs, mean = len(differences), float(differences.mean())
    reach = float(stats.t.ppf(0.975, pairs - 1) * differences.std(ddof=1) / np.sqrt(pairs))
    return PairedTest(pairs, mean, mean - reach, mean + reach, _t_p(differences))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number (Holm, 1979); None, where no test was made, stays None and does not count."""
    made = np.array([p for p in p_values if p is not None], dtype=np.float64)
    order = np.argsort(made)
    stepped = np.maximum.accumulate(made[order] * np.arange(len(made), 0, -1))
    corrected = np.empty_like(made)
    corrected[order] = np.minimum(stepped, 1)
    values = iter(corrected)
    return [None if p is None else float(next(values)) for p in p_values]


def _differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise ValueError(f"expected two arrays of one length of at least 2, got {first.shape} and {second.shape}")
    differences: np.ndarray = first - second
    if not np.isfinite(differences).all():
        raise ValueError("expected finite values")
    return differences


def has_spread(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether the differences of two arrays differ by more than rounding, so that a t-test can be made."""
    size = max(np.abs(first).max(), np.abs(second).max())
    return bool(np.ptp(first - second) > 1e-12 * size)


def _t_p(differences: np.ndarray) -> float:
    if np.ptp(differences) == 0:  # no spread, so no t: alike, or shifted by a constant
        return 1.0 if differences[0] == 0 else 0.0
    from scipy import stats

    return float(stats.ttest_1samp(differences, 0).pvalue)


def _wilcoxon_p(differences: np.ndarray) -> float:
    if not differences.any():
        return 1.0
    from scipy import stats

    # Most users have the same hits under both models: their zeros count for both signs alike (Pratt, 1959).
    return float(stats.wilcoxon(differences, zero_method="zsplit", method="approx").pvalue)


def _bootstrap_interval(differences: np.ndarray, resamples: int, generator: np.random.Generator) -> tuple[float, float]:
    # A resample is fixed by how often each distinct difference was drawn, and metrics at K take few values.
    values, counts = np.unique(differences, return_counts=True)
    drawn = generator.multinomial(len(differences), counts / len(differences), size=resamples)
    low, high = np.quantile(drawn @ values / len(differences), [0.025, 0.975])
    return float(low), float(high)
