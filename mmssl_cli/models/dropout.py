"""Dropout of whole embedding tables, several times a step."""

from __future__ import annotations

import torch
from torch import Tensor


def dropout(values: Tensor, share: float, training: bool = True) -> Tensor:
    """``values`` without each element with probability ``share``, the others divided by 1 - ``share``.

    As PyTorch's own in all but the draws, which take a third of the time on CPUs.
    """
    if not training or not share:
        return values
    kept = torch.rand(values.shape, device=values.device).ge_(share).div_(1 - share)
    return values * kept.to(values.dtype)
