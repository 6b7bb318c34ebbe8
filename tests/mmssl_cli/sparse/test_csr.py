"""Compressed rows against plain Python dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.sparse.csr import CSR


def _random_pairs(seed: int, rows: int, columns: int, count: int) -> list[tuple[int, int]]:
    generator = np.random.default_rng(seed)
    drawn = {(int(generator.integers(rows)), int(generator.integers(columns))) for _ in range(count)}
    shuffled = list(drawn)
    generator.shuffle(shuffled)
    return [(int(row), int(column)) for row, column in shuffled]


@pytest.mark.parametrize("seed", range(3))
def test_rows_hold_their_columns_in_order(seed: int) -> None:
    pairs = _random_pairs(seed, rows=9, columns=12, count=40)
    csr = CSR.from_pairs(np.array(pairs), num_rows=11)

    assert csr.num_rows == 11
    assert len(csr) == len(pairs)
    for row in range(11):
        assert csr.row(row).tolist() == sorted(column for r, column in pairs if r == row)
    assert csr.degrees().tolist() == [sum(r == row for r, _ in pairs) for row in range(11)]
    assert list(zip(csr.row_of_each().tolist(), csr.indices.tolist(), strict=True)) == sorted(pairs)
    assert csr.indptr.dtype == csr.indices.dtype == torch.int64


@pytest.mark.parametrize("rows", [[], [4], [3, 0, 3, 10, 8], list(range(11))])
def test_select_takes_rows_in_the_given_order(rows: list[int]) -> None:
    csr = CSR.from_pairs(_random_pairs(5, rows=9, columns=12, count=40), num_rows=11)

    chosen = csr.select(torch.tensor(rows, dtype=torch.int64))

    assert chosen.num_rows == len(rows)
    assert [chosen.row(place).tolist() for place in range(len(rows))] == [csr.row(row).tolist() for row in rows]


def test_a_matrix_without_entries_has_empty_rows() -> None:
    csr = CSR.from_pairs(np.empty((0, 2), dtype=np.int64), num_rows=3)

    assert csr.degrees().tolist() == [0, 0, 0]
    assert csr.select(torch.tensor([2, 0])).indptr.tolist() == [0, 0, 0]
    assert csr.row_of_each().tolist() == []


@pytest.mark.parametrize("pair", [(3, 0), (-1, 0), (0, -1)])
def test_a_pair_outside_the_matrix_is_refused(pair: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"rows in 0\.\.2"):
        CSR.from_pairs([(0, 0), pair], num_rows=3)
