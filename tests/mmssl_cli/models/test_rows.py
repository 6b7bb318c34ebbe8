"""Gradients of the rows of a table: sparse ones, gathered in memory that is kept, against those of plain indexing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmssl_cli.models.rows import RowGradients, sparse_gradients, take


@pytest.mark.parametrize("whole", [False, True])
def test_gathered_gradients_are_those_of_plain_indexing_in_every_step(whole: bool) -> None:
    table, plain = (nn.Parameter(torch.arange(80.0).view(40, 2) / 7) for _ in range(2))
    kept = RowGradients()
    places = set()
    for rows in ([3, 3, 9], [0], [7, 6, 5, 4, 19], [3, 3, 9], []):
        chosen = torch.tensor(rows, dtype=torch.int64)
        table.grad = plain.grad = None
        with sparse_gradients():
            loss = (take(table, chosen) ** 2).sum() + (table.cos().sum() if whole else 0)
        loss.backward()
        assert table.grad is not None and table.grad.is_sparse is not whole
        kept.gather([table, nn.Parameter(torch.ones(2))])
        ((plain[chosen] ** 2).sum() + (plain.cos().sum() if whole else 0)).backward()
        assert table.grad.layout == torch.strided
        torch.testing.assert_close(table.grad, plain.grad)
        places.add(table.grad.data_ptr())
    assert whole or len(places) == 1  # the same memory each time


def test_outside_of_the_block_for_many_rows_and_of_a_table_with_a_hook_gradients_are_dense() -> None:
    table = nn.Parameter(torch.ones(8, 2))
    take(table, torch.tensor([1])).sum().backward()
    assert table.grad is not None and not table.grad.is_sparse
    table.grad = None
    with sparse_gradients():
        take(table, torch.tensor([1, 2, 2])).sum().backward()
    assert table.grad is not None and not table.grad.is_sparse
    kept = (torch.arange(8) != 1).float().unsqueeze(1)
    table.register_hook(lambda gradient: gradient * kept)
    table.grad = None
    with sparse_gradients():
        take(table, torch.tensor([1, 2])).sum().backward()
    assert table.grad is not None
    assert table.grad.sum(dim=1).tolist() == [0, 0, 2, 0, 0, 0, 0, 0]
