"""Paired comparison of two models over users or seeds: t-test, bootstrap interval, correction for several tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Numbers that the bootstrap holds in memory.
_NUMBERS_AT_ONCE = 4_000_000


def t_test(first: np.ndarray, second: np.ndarray) -> float:
    """Return p of a two-sided paired t-test: of users, or of seeds, float [n] each, in the same order, n >= 2.

    Without any spread of the differences it is 1 if they are 0, else 0.

    Raises:
        ValueError: the arrays differ in length, are shorter than 2 or hold NaN.
    """
    differences = _differences(first, second)
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    from scipy import stats  # takes half a second to import

    return float(stats.ttest_1samp(differences, 0).pvalue)


def bootstrap_interval(
    first: np.ndarray, second: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the bounds of the 95% bootstrap interval of the mean difference, first minus second, over users.

    Args:
        first: a metric's value for each user under one model, float [n], n >= 2.
        second: the same users, in the same order, under the other.
        resamples: number of bootstrap samples.
        seed: of the bootstrap.

    Raises:
        ValueError: the arrays differ in length, are shorter than 2 or hold NaN.
    """
    # A resample is fixed by how often each distinct difference was drawn; most metrics at K take few values.
    values, counts = np.unique(_differences(first, second), return_counts=True)
    random, users, at_once = np.random.default_rng(seed), counts.sum(), max(1, _NUMBERS_AT_ONCE // len(values))
    sizes = [min(at_once, resamples - done) for done in range(0, resamples, at_once)]
    sums = np.concatenate([random.multinomial(users, counts / users, size=size) @ values for size in sizes])
    low, high = np.quantile(sums / users, [0.025, 0.975])
    return float(low), float(high)


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
