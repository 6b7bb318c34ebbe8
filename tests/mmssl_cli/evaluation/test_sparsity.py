"""Buckets of users by training degree: edges, means, quantiles, and refused edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssl_cli.evaluation.sparsity import Buckets, default_buckets, parse_buckets, quantile_buckets
from pipelines.errors import UsageError

DEGREES = [0, 1, 3, 4, 5, 6, 8, 9, 13, 50, 100, 101]


def test_a_bucket_is_half_open_and_the_last_one_closed() -> None:
    buckets = parse_buckets("0, 4,6,9,13,100")
    assert buckets.labels == ("[0, 4)", "[4, 6)", "[6, 9)", "[9, 13)", "[13, 100]")
    assert buckets.place(np.array(DEGREES)).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 4, 4, 4, -1]
    assert parse_buckets("2,5").place(np.array([1, 2, 5, 6])).tolist() == [-1, 0, 0, -1]


@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=5, unique=True),
    st.lists(st.tuples(st.integers(0, 14), st.floats(0, 1)), min_size=1),
)
def test_bucket_means_against_a_plain_loop(edges: list[int], users: list[tuple[int, float]]) -> None:
    buckets = Buckets(tuple(sorted(edges)))
    degrees, values = np.array([degree for degree, _ in users]), np.array([value for _, value in users])
    for at, mean in enumerate(buckets.means(degrees, values)):
        low, high, last = buckets.edges[at], buckets.edges[at + 1], at == len(buckets) - 1
        inside = [value for degree, value in users if low <= degree < high or (last and degree == high)]
        assert buckets.counts(degrees)[at] == len(inside)
        assert np.isnan(mean) if not inside else mean == pytest.approx(sum(inside) / len(inside))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 6))
def test_quantile_buckets_hold_everyone_and_are_never_empty(degrees: list[int], wanted: int) -> None:
    buckets = quantile_buckets(np.array(degrees), wanted)
    counts = buckets.counts(np.array(degrees))
    assert counts.min() > 0
    assert counts.sum() == len(degrees)
    assert len(buckets) <= wanted


def test_quantile_buckets_are_of_one_size_where_degrees_differ_and_fewer_where_they_do_not() -> None:
    assert quantile_buckets(np.arange(100)).edges == (0, 20, 40, 60, 80, 99)
    assert quantile_buckets(np.array([1] * 40 + [2] * 35 + [3] * 24 + [500])).edges == (1, 2, 3, 500)
    assert quantile_buckets(np.array([7, 7])).edges == (7, 8)


def test_the_papers_buckets_are_the_default_of_its_data_sets() -> None:
    assert default_buckets("amazon-baby", np.array([1])).edges == (0, 4, 6, 9, 13, 100)
    assert default_buckets("allrecipes", np.array([1])).edges == (0, 2, 3, 4, 5, 10)
    assert default_buckets("tiktok", np.array([1, 2])).edges == (1, 2, 3)


@pytest.mark.parametrize("text", ["", "4", "4,4", "5,4", "-1,4", "0,4.5", "0,four", "0,,4", "0," + "9" * 5000])
def test_buckets_that_do_not_rise_or_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="whole numbers that rise"):
        parse_buckets(text)
