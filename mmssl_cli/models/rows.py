"""Rows of embedding tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

#: Sparse gradients pay where a table has so many times the rows that are taken.
FEW = 8
_sparse: ContextVar[bool] = ContextVar("sparse", default=False)


def some_rows(count: int, wanted: int, device: torch.device) -> Tensor:
    """Return ``wanted`` of ``count`` rows, drawn evenly, each once; all of them if ``wanted`` is 0 or no fewer."""
    return torch.randperm(count, device=device)[:wanted] if 0 < wanted < count else torch.arange(count, device=device)


def take(table: Tensor, rows: Tensor) -> Tensor:
    """Return ``table[rows]``, [n, ...] for int64 [n], by a function that is faster on the CPU, forwards and backwards.

    On a GPU the gradient of that function would be summed in no fixed order.
    """
    if table.device.type != "cpu":
        return table[rows]
    is_few = _sparse.get() and FEW * len(rows) <= len(table)
    if is_few and table.is_leaf and table.requires_grad and not table._backward_hooks:
        return nn.functional.embedding(rows, table, sparse=True)
    return table.index_select(0, rows)


@contextmanager
def sparse_gradients() -> Iterator[None]:
    """Give parameters sparse gradients, for ``RowGradients``, where ``take`` takes few of their rows."""
    token = _sparse.set(True)
    try:
        yield
    finally:
        _sparse.reset(token)


class RowGradients:
    """Dense gradients of parameters that a step used some rows of, in memory kept from step to step.

    Without it each step would fill as many zeros as there are parameters.
    """

    def __init__(self) -> None:
        self._kept: dict[Tensor, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def gather(self, parameters: Iterable[Tensor]) -> None:
        """Replace the sparse gradients of parameters by dense ones."""
        for parameter in parameters:
            sparse = parameter.grad
            if sparse is None or not sparse.is_sparse:
                continue
            rows = sparse._indices()[0]
            if parameter in self._kept:
                dense, used = self._kept[parameter]
                dense.index_fill_(0, used, 0)
            else:
                dense = torch.zeros_like(parameter)
            self._kept[parameter] = dense, rows
            parameter.grad = dense.index_add_(0, rows, sparse._values())
