"""Gradients of two losses at the generator's projections, compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmssl_cli.distributed.collectives import all_reduce_mean


def gradient_at(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Return the gradient of a loss at parameters as one vector, averaged over the processes; the graph is kept."""
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    parts = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    return all_reduce_mean(torch.cat([part.flatten() for part in parts]))


def relative_scale(reference: Tensor, loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Return the factor on ``loss`` that gives its gradient the norm of the reference loss's, a scalar."""
    wanted, own = (gradient_at(each, parameters).norm() for each in (reference, loss))
    return wanted / own.clamp(min=1e-12)
