"""Paired tests against SciPy's own two-sample forms and a plain bootstrap; corrections against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mmssl_cli.evaluation import significance
from mmssl_cli.evaluation.significance import bootstrap_interval, holm, t_test


def _users(shift: float, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Two recall-like columns: most users have none of their items found under either model."""
    generator = np.random.default_rng(0)
    second = generator.choice([0.0, 0.5, 1.0], count, p=[0.8, 0.1, 0.1])
    flips = generator.random(count)
    first = np.where(flips < 0.1 + shift, 1.0, np.where(flips > 0.9 + shift, 0.0, second))
    return first, second


def test_the_p_value_is_that_of_scipys_paired_test() -> None:
    first, second = _users(shift=0.05)
    assert t_test(first, second) == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert t_test(first[:5], second[:5] / 2) == pytest.approx(stats.ttest_rel(first[:5], second[:5] / 2).pvalue)


def test_the_bootstrap_interval_is_that_of_resampled_users(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _users(shift=0.05)
    found = bootstrap_interval(first, second, resamples=4000)

    generator = np.random.default_rng(1)
    means = [generator.choice(first - second, 400).mean() for _ in range(4000)]
    assert found == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.006)
    assert bootstrap_interval(first, second, resamples=4000) == found
    monkeypatch.setattr(significance, "_NUMBERS_AT_ONCE", 100)
    assert bootstrap_interval(first, second, resamples=4000) == pytest.approx(found, rel=1e-12)


def test_a_real_difference_is_found_and_none_is_not() -> None:
    better = _users(shift=0.09)
    assert t_test(*better) < 0.01 and bootstrap_interval(*better)[0] > 0

    first, _ = _users(shift=0.0)
    assert t_test(first, first) == 1.0 and t_test(first, first - 0.25) == 0.0
    assert bootstrap_interval(first, first) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [([0.1], [0.2], "length"), ([0.1, 0.2], [0.1], "length"), ([0.1, np.nan], [0.1, 0.2], "finite")],
)
def test_arrays_that_cannot_be_paired_are_refused(first: list[float], second: list[float], what: str) -> None:
    for compare in (t_test, bootstrap_interval):
        with pytest.raises(ValueError, match=what):
            compare(np.array(first), np.array(second))


@pytest.mark.parametrize("p_values", [[0.04, 0.01, 0.03, 0.01], [0.9, 0.6], [0.2], []])
def test_the_correction_for_several_tests_is_that_of_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1].tolist() if p_values else []
    assert holm(p_values) == expected
    assert holm([None, *p_values, None]) == [None, *expected, None]
