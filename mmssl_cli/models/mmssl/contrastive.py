"""Cross-modal contrast between a user's modality views and the final embedding: Eq. 11."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from mmssl_cli.distributed.collectives import local_rows, world_size


def cross_modal_contrast(
    final: Tensor,
    views: list[Tensor],
    temperature: float,
    block_rows: int = 2048,
    mask: Tensor | None = None,
) -> Tensor:
    """Eq. 11 as a mean over users and a sum over modalities.

    For each view e and user u: -log exp s(h_u, e_u) / sum_u' (exp s(h_u', e_u) + exp s(e_u', e_u)), s the cosine
    over ``temperature``; u' runs over all the rows, u itself included, as printed. Of several processes each takes its
    part of the users u (see ``mmssl_cli.distributed.collectives``).

    Args:
        final: h of distinct users, [n, d].
        views: e^m of the same users, [n, d] for each modality.
        block_rows: anchors compared at a time; blocks are recomputed in the backward pass.
        mask: bool [n], False for rows that only pad a batch to its shape; None where all count.
    """
    h = normalize(final, dim=1)
    absent = None if mask is None else ~mask.repeat(2)
    anchors = local_rows(torch.arange(len(h), device=h.device))
    total = h.new_zeros(())
    for view in views:
        e = normalize(view, dim=1)
        for rows in anchors.split(block_rows):
            arguments = (h, e, rows, temperature, absent)
            if len(anchors) <= block_rows:
                losses = _anchor_losses(*arguments)
            else:
                losses = checkpoint(_anchor_losses, *arguments, use_reentrant=False, preserve_rng_state=False)
            total = total + (losses if mask is None else losses * mask[rows]).sum()
    # ``BatchRows.mean`` of each view would add up the blocks in another order, and change the last digits.
    return total / (len(h) / world_size() if mask is None else mask.sum())


def _anchor_losses(h: Tensor, e: Tensor, rows: Tensor, temperature: float, absent: Tensor | None) -> Tensor:
    anchors = e[rows] / temperature
    logits = torch.cat([anchors @ h.T, anchors @ e.T], dim=1)
    if logits.dtype == torch.bfloat16:  # too short for a sum of exponentials
        logits = logits.float()
    if absent is not None:
        logits = logits.masked_fill(absent, -torch.inf)
    return torch.logsumexp(logits, dim=1) - (anchors * h[rows]).sum(dim=1)
