"""Collapse of modality features: VICReg's terms against it, and the effective rank that shows it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def vicreg_penalty(rows: Tensor) -> Tensor:
    """Variance and covariance terms of VICReg (Bardes et al., ICLR 2022), weighted 25 to 1 as there and divided by 25.

    The cosines of Eq. 3 see directions alone, so that the terms are taken of rows [n, d] at length sqrt(d), whose
    columns have deviation 1 where they fill all dimensions alike. Rows of zeros do not count.
    """
    d = rows.shape[1]
    counted = (rows.norm(dim=1, keepdim=True) > 0).to(rows.dtype)
    directions = normalize(rows, dim=1) * d**0.5 * counted
    count = counted.sum().clamp(min=2)
    centred = (directions - directions.sum(dim=0) / count) * counted
    covariance = centred.T @ centred / (count - 1)
    variances = covariance.diagonal()
    variance = (1 - torch.sqrt(variances + 1e-4)).clamp(min=0).mean()
    return variance + (covariance.square().sum() - variances.square().sum()) / d / 25


@torch.no_grad()
def effective_rank(rows: Tensor) -> Tensor:
    """Effective rank (Roy and Vetterli, EUSIPCO 2007) of rows [n, d] at unit norm, a scalar from 1 to d.

    The exponential of the entropy of the singular values, which come from the d x d Gram matrix.
    """
    directions = normalize(rows.double(), dim=1)  # float32 would make singular values of 3e-4 out of zeros
    values = torch.linalg.eigvalsh(directions.T @ directions).clamp(min=0).sqrt()
    shares = values / values.sum().clamp(min=1e-12)
    return torch.special.entr(shares).sum().exp()
