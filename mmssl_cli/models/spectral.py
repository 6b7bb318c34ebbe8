"""A low-pass filter of the interaction graph, to be added to the scores of a trained model; nothing in it is trained.

Shen et al., How Powerful is Graph Convolution for Recommendation?, CIKM 2021 (GF-CF), with a smooth filter in place of
an ideal one, and a weaker normalisation of the items, so that popular ones keep some of their lead.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import svds
from torch import Tensor, nn

from mmssl_cli.config import GraphSettings
from mmssl_cli.sparse.csr import CSR

USER_EXPONENT = 0.5
#: Users whose scores are compared at once.
BLOCK_USERS = 1024


class SpectralFilter(nn.Module):
    """Adds ``spectral_weight`` x the scores of ``low_pass_factors`` to those of a model.

    Both parts are brought to the same scale first: each user's scores over all the items to length 1.
    """

    user_factors: Tensor  #: [U, rank]
    item_factors: Tensor  #: [I, rank]

    def __init__(self, train: CSR, num_items: int, settings: GraphSettings) -> None:
        super().__init__()
        self.weight = settings.spectral_weight
        users, items = low_pass_factors(train, num_items, settings)
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


def first_items(users: Tensor, items: Tensor, k: int) -> Tensor:
    """Return the ``k`` items of largest positive inner product with each user, of factors [U, r] and [I, r].

    int64 [U, k], -1 where a user has fewer; the scores exist in blocks of users alone.
    """
    blocks = [torch.topk(block @ items.T, k, dim=1, sorted=False) for block in users.split(BLOCK_USERS)]
    return torch.cat([torch.where(scores > 0, found, -1) for scores, found in blocks])


def low_pass_factors(train: CSR, num_items: int, settings: GraphSettings) -> tuple[Tensor, Tensor]:
    """Float32 factors [U, r] and [I, r] of the scores R D_i^-c (X^T X)^h D_i^c in X's strongest singular directions.

    X = D_u^-1/2 R D_i^-e, e = ``spectral_item_exponent``, h = ``spectral_hops``, r <= ``spectral_rank``; c is e with
    ``spectral_form`` normalised (the filter of X, as in the paper), and 0 with plain.
    """
    indptr, indices = train.indptr.cpu().numpy(), train.indices.cpu().numpy()
    matrix = sp.csr_matrix((np.ones(len(indices)), indices, indptr), shape=(train.num_rows, num_items))
    of_users, of_items = (np.maximum(np.asarray(matrix.sum(axis=axis)).ravel(), 1) for axis in (1, 0))
    item_scale = of_items**-settings.spectral_item_exponent
    scaled = sp.diags(of_users**-USER_EXPONENT) @ matrix @ sp.diags(item_scale)
    rank = min(settings.spectral_rank, min(matrix.shape) - 1)
    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    _, singular, directions = svds(scaled, k=rank, v0=start, return_singular_vectors="vh")
    factors = directions.T * singular**settings.spectral_hops
    users, items = matrix @ factors, factors
    if settings.spectral_form == "normalised":
        users, items = matrix @ (factors * item_scale[:, None]), factors / item_scale[:, None]
    return torch.from_numpy(users.astype(np.float32)), torch.from_numpy(items.astype(np.float32))
