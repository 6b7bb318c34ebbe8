"""Paired tests against SciPy's own two-sample forms and a plain bootstrap; corrections against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mmssl_cli.evaluation.significance import compare_over_seeds, compare_over_users, holm


def _users(shift: float, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Two recall-like columns: most users have none of their items found under either model."""
    generator = np.random.default_rng(0)
    second = generator.choice([0.0, 0.5, 1.0], count, p=[0.8, 0.1, 0.1])
    flips = generator.random(count)
    first = np.where(flips < 0.1 + shift, 1.0, np.where(flips > 0.9 + shift, 0.0, second))
    return first, second


def test_p_values_over_users_are_scipys() -> None:
    first, second = _users(shift=0.05)

    outcome = compare_over_users(first, second)

    assert outcome.pairs == 400
    assert outcome.difference == pytest.approx(first.mean() - second.mean())
    assert outcome.t_p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)
    expected = stats.wilcoxon(first, second, zero_method="zsplit", method="asymptotic").pvalue
    assert outcome.wilcoxon_p_value == pytest.approx(expected)


def test_the_bootstrap_interval_is_that_of_resampled_users() -> None:
    first, second = _users(shift=0.05)
    outcome = compare_over_users(first, second, resamples=4000)

    generator = np.random.default_rng(1)
    means = [generator.choice(first - second, 400).mean() for _ in range(4000)]
    assert (outcome.low, outcome.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.006)
    again = compare_over_users(first, second, resamples=4000)
    assert (again.low, again.high) == (outcome.low, outcome.high)


def test_a_real_difference_is_found_and_none_is_not() -> None:
    better = compare_over_users(*_users(shift=0.09))
    assert better.t_p_value < 0.01
    assert better.wilcoxon_p_value < 0.01
    assert better.low > 0

    first, _ = _users(shift=0.0)
    same = compare_over_users(first, first)
    assert (same.t_p_value, same.wilcoxon_p_value, same.difference) == (1.0, 1.0, 0.0)
    assert same.low == same.high == 0.0


def test_over_seeds_it_is_the_paired_t_test_with_its_interval() -> None:
    first = np.array([0.1102, 0.1093, 0.1111, 0.1087, 0.1099])
    second = np.array([0.1050, 0.1061, 0.1049, 0.1060, 0.1044])

    outcome = compare_over_seeds(first, second)

    reference = stats.ttest_rel(first, second)
    interval = reference.confidence_interval()
    assert outcome.t_p_value == pytest.approx(reference.pvalue)
    assert (outcome.low, outcome.high) == pytest.approx((interval.low, interval.high))
    assert np.isnan(outcome.wilcoxon_p_value)


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [([0.1], [0.2], "length"), ([0.1, 0.2], [0.1], "length"), ([0.1, np.nan], [0.1, 0.2], "finite")],
)
def test_arrays_that_cannot_be_paired_are_refused(first: list[float], second: list[float], what: str) -> None:
    for compare in (compare_over_users, compare_over_seeds):
        with pytest.raises(ValueError, match=what):
            compare(np.array(first), np.array(second))


@pytest.mark.parametrize("p_values", [[0.04, 0.01, 0.03, 0.01], [0.9, 0.6], [0.2], []])
def test_the_correction_for_several_tests_is_that_of_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1].tolist() if p_values else []
    assert holm(p_values) == expected
    assert holm([None, *p_values, None]) == [None, *expected, None]
