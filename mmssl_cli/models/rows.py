"""Rows of embedding tables."""

from __future__ import annotations

import torch
from torch import Tensor


def some_rows(count: int, wanted: int, device: torch.device) -> Tensor:
    """Return ``wanted`` of ``count`` rows, drawn evenly, each once; all of them if ``wanted`` is 0 or no fewer."""
    return torch.randperm(count, device=device)[:wanted] if 0 < wanted < count else torch.arange(count, device=device)


def take(table: Tensor, rows: Tensor) -> Tensor:
    """Return ``table[rows]``, [n, ...] for int64 [n], by a function that is faster on the CPU, forwards and backwards.

    On a GPU the gradient of that function would be summed in no fixed order.
    """
    return table.index_select(0, rows) if table.device.type == "cpu" else table[rows]
