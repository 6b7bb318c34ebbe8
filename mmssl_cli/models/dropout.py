"""Dropout of embeddings on the CPU in a third of the time that PyTorch's own takes."""

from __future__ import annotations

import torch
from torch import Tensor

from mmssl_cli.models.rows import take


def dropout(values: Tensor, p: float, training: bool = True) -> Tensor:
    """``values`` without each element with probability ``p``, the others divided by 1 - ``p``.

    As PyTorch's own in all but the draws, which take a third of the time on CPUs.
    """
    if not training or not p:
        return values
    kept = torch.rand(values.shape, device=values.device).ge_(p).div_(1 - p)
    return values * kept.to(values.dtype)


def dropout_mask(rows: int, columns: int, p: float, device: torch.device, of: Tensor | None = None) -> Tensor:
    """Return a mask, bool [rows, columns], that is False with probability ``p``, to a 65,536th.

    Four elements share a draw of 64 bits: a mask of a table costs less than dropout of some of its rows.

    Args:
        of: rows of that mask, int64 [n], to return in place of all.
    """
    size = rows * columns
    draws = torch.empty(-(-size // 4), dtype=torch.int64, device=device).random_(-(2**63), None)
    least = min(round(p * 2**16), 2**16 - 1) - 2**15
    table = draws.view(torch.int16)[:size].view(rows, columns)
    return (table if of is None else take(table, of)) >= least
