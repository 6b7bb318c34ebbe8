"""A low-pass filter of the interaction graph, to be added to the scores of a trained model; nothing in it is trained.

Shen et al., How Powerful is Graph Convolution for Recommendation?, CIKM 2021 (GF-CF), with two hops and a weaker
normalisation of the items, so that popular ones keep some of their lead.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import svds
from torch import Tensor, nn

from mmssl_cli.sparse.csr import CSR

USER_EXPONENT, ITEM_EXPONENT = 0.5, 0.25


class SpectralFilter(nn.Module):
    """Adds weight x R (X^T X)^2 to the scores, where X = D_u^-1/2 R D_i^-1/4 of the strongest singular directions.

    Both parts are brought to the same scale first: each user's scores over all the items to length 1.
    """

    user_factors: Tensor  #: R V S^2, [U, rank]
    item_factors: Tensor  #: V S^2, [I, rank]

    def __init__(self, train: CSR, num_items: int, weight: float, rank: int) -> None:
        super().__init__()
        self.weight = weight
        users, items = low_pass_factors(train, num_items, rank)
        device = train.indices.device
        # They follow from the data, so that no checkpoint needs them.
        self.register_buffer("user_factors", users.to(device), persistent=False)
        self.register_buffer("item_factors", items.to(device), persistent=False)

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [U, d] and [I, d] with the filter's columns beside them, [U, d + rank] and [I, d + rank]."""
        filtered = self.weight * unit_scores(self.user_factors, self.item_factors)
        joined_users = torch.cat([unit_scores(users, items), filtered], dim=1)
        return joined_users, torch.cat([items, self.item_factors], dim=1)


def unit_scores(users: Tensor, items: Tensor) -> Tensor:
    """Users [U, d] scaled so that each one's scores over all the items have length 1; no users x items array."""
    _, upper = torch.linalg.qr(items.double(), mode="r")
    lengths = (users.double() @ upper.T).norm(dim=1, keepdim=True)
    return (users.double() / lengths.clamp(min=1e-12)).to(users.dtype)


def low_pass_factors(train: CSR, num_items: int, rank: int) -> tuple[Tensor, Tensor]:
    """Float32 factors [U, r] and [I, r] of R (X^T X)^2 in X's r <= ``rank`` strongest singular directions."""
    indptr, indices = train.indptr.cpu().numpy(), train.indices.cpu().numpy()
    matrix = sp.csr_matrix((np.ones(len(indices)), indices, indptr), shape=(train.num_rows, num_items))
    of_users, of_items = (np.maximum(np.asarray(matrix.sum(axis=axis)).ravel(), 1) for axis in (1, 0))
    scaled = sp.diags(of_users**-USER_EXPONENT) @ matrix @ sp.diags(of_items**-ITEM_EXPONENT)
    rank = min(rank, min(matrix.shape) - 1)
    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    _, singular, directions = svds(scaled, k=rank, v0=start, return_singular_vectors="vh")
    factors = directions.T * singular**2
    return torch.from_numpy((matrix @ factors).astype(np.float32)), torch.from_numpy(factors.astype(np.float32))
