"""Cross-modal contrast between a user's modality views and the final embedding: Eq. 11."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint


def cross_modal_contrast(
    final: Tensor,
    views: list[Tensor],
    temperature: float,
    counted: Tensor | None = None,
    block_rows: int = 2048,
) -> Tensor:
    """Eq. 11 as a mean over users and a sum over modalities.

    For each view e and user u: -log exp s(h_u, e_u) / sum_u' (exp s(h_u', e_u) + exp s(e_u', e_u)), s the cosine
    over ``temperature``; u' runs over all the rows, u itself included, as printed.

    Args:
        final: h, [n, d].
        views: e^m, [n, d] for each modality.
        counted: bool [n], rows to count; others (repeats of a user) neither add a term nor are negatives.
        block_rows: anchors compared at a time; blocks are recomputed in the backward pass.
    """
    h = normalize(final, dim=1)
    counted = torch.ones(len(h), dtype=torch.bool, device=h.device) if counted is None else counted
    hidden = torch.where(counted, 0.0, -torch.inf)
    total = h.new_zeros(())
    for view in views:
        e = normalize(view, dim=1)
        for rows in torch.arange(len(h), device=h.device).split(block_rows):
            arguments = (h, e, rows, hidden, temperature)
            if len(h) <= block_rows:
                losses = _anchor_losses(*arguments)
            else:
                losses = checkpoint(_anchor_losses, *arguments, use_reentrant=False)
            total = total + torch.where(counted[rows], losses, 0.0).sum()
    return total / counted.sum()


def _anchor_losses(h: Tensor, e: Tensor, rows: Tensor, hidden: Tensor, temperature: float) -> Tensor:
    anchors = e[rows] / temperature
    logits = torch.cat([anchors @ h.T + hidden, anchors @ e.T + hidden], dim=1)
    return torch.logsumexp(logits, dim=1) - (anchors * h[rows]).sum(dim=1)


def first_occurrences(users: Tensor, num_users: int) -> Tensor:
    """Which entries of int64 [n] are the first of their value, bool [n], in static shapes."""
    order = torch.arange(len(users), device=users.device)
    first = torch.full((num_users,), len(users), dtype=order.dtype, device=users.device)
    first.scatter_reduce_(0, users, order, reduce="amin")
    return first[users] == order
