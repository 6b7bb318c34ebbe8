"""A low-pass filter of the interaction graph, to be added to the scores of a trained model; nothing in it is trained.

Shen et al., How Powerful is Graph Convolution for Recommendation?, CIKM 2021 (GF-CF), with a smooth filter in place of
an ideal one, and a weaker normalisation of the items, so that popular ones keep some of their lead.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import svds
from torch import Tensor, nn

from mmssl_cli.config import GraphSettings
from mmssl_cli.data.cache import cached
from mmssl_cli.data.interactions import InteractionData

USER_EXPONENT = 0.5
#: Length of a user's scores that counts as none.
MIN_NORM = 1e-12
#: Users whose scores are compared at once.
BLOCK_USERS = 1024


class SpectralFilter(nn.Module):
    """Adds ``spectral_weight`` x the scores of ``low_pass_factors`` to those of a model.

    Both parts are brought to the same scale first: each user's scores over all the items to unit norm. Part of the
    filter's scale is with the items, so that their rows weigh both parts as those of most users do.
    """

    user_factors: Tensor  #: [U, rank]
    item_factors: Tensor  #: [I, rank]

    def __init__(self, data: InteractionData, settings: GraphSettings) -> None:
        super().__init__()
        self.weight = settings.spectral_weight
        users, items = low_pass_factors(data, settings)
        device = data.train.indices.device
        # They follow from the data, so that no checkpoint needs them.
        self.register_buffer("user_factors", users.to(device), persistent=False)
        self.register_buffer("item_factors", items.to(device), persistent=False)

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [U, d] and [I, d] with the filter's columns beside them, [U, d + rank] and [I, d + rank]."""
        of_model, of_filter = score_norms(users, items), score_norms(self.user_factors, self.item_factors)
        known = (of_model > MIN_NORM) & (of_filter > MIN_NORM)
        ratios = (self.weight * of_model / of_filter)[known]
        # A power of two, so that the products are the same to the bit.
        scale = torch.exp2(ratios.median().log2().round()).item() if len(ratios) else 1.0
        filtered = self.weight * unit_scores(self.user_factors, of_filter) / scale
        joined_users = torch.cat([unit_scores(users, of_model), filtered], dim=1)
        return joined_users, torch.cat([items, scale * self.item_factors], dim=1)


def score_norms(users: Tensor, items: Tensor) -> Tensor:
    """Return the length of each user's scores over all the items, float64 [U, 1]; no users x items array."""
    _, upper = torch.linalg.qr(items.double(), mode="r")
    return (users.double() @ upper.T).norm(dim=1, keepdim=True)


def unit_scores(users: Tensor, norms: Tensor) -> Tensor:
    """Return users [U, d] divided by the ``score_norms``, so that their scores have unit norm."""
    return (users.double() / norms.clamp(min=MIN_NORM)).to(users.dtype)


def first_items(users: Tensor, items: Tensor, k: int, folder: Path) -> Tensor:
    """Return the ``k`` items of largest positive inner product with each user, of factors [U, r] and [I, r].

    int64 [U, k], -1 where a user has fewer; the scores exist in blocks of users alone. ``folder`` is that of the data.
    """

    def find() -> list[Tensor]:
        blocks = [torch.topk(block @ items.T, k, dim=1, sorted=False) for block in users.split(BLOCK_USERS)]
        return [torch.cat([torch.where(scores > 0, found, -1) for scores, found in blocks])]

    [nearest] = cached(folder, "first-items-1", (users, items, k), find)
    return nearest


def strongest_directions(matrix: sp.csr_matrix, rank: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest singular values of a matrix [U, I], [r], and their right singular vectors, [r, I].

    r is ``rank``, or one less than the shorter side of the matrix; ``folder`` is that of the data.
    """
    rank = min(rank, min(matrix.shape) - 1)

    def decompose() -> list[Tensor]:
        start = np.random.default_rng(0).standard_normal(min(matrix.shape))
        _, singular, directions = svds(matrix, k=rank, v0=start, return_singular_vectors="vh")
        return [torch.from_numpy(np.ascontiguousarray(each)) for each in (singular, directions)]

    parts = [torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data)]
    singular, directions = cached(folder, "strongest-directions-1", (*parts, *matrix.shape, rank), decompose)
    return singular.numpy(), directions.numpy()


def low_pass_factors(data: InteractionData, settings: GraphSettings) -> tuple[Tensor, Tensor]:
    """Float32 factors [U, r] and [I, r] of the scores R D_i^-c (X^T X)^h D_i^c in X's strongest singular directions.

    X = D_u^-1/2 R D_i^-e, e = ``spectral_item_exponent``, h = ``spectral_hops``, r <= ``spectral_rank``; c is e with
    ``spectral_form`` normalised (the filter of X, as in the paper), and 0 with plain.
    """
    matrix = data.train.to_scipy(data.num_items)
    of_users, of_items = (np.maximum(np.asarray(matrix.sum(axis=axis)).ravel(), 1) for axis in (1, 0))
    item_scale = of_items**-settings.spectral_item_exponent
    scaled = sp.diags(of_users**-USER_EXPONENT) @ matrix @ sp.diags(item_scale)
    singular, directions = strongest_directions(scaled.tocsr(), settings.spectral_rank, data.folder)
    factors = directions.T * singular**settings.spectral_hops
    users, items = matrix @ factors, factors
    if settings.spectral_form == "normalised":
        users, items = matrix @ (factors * item_scale[:, None]), factors / item_scale[:, None]
    return torch.from_numpy(users.astype(np.float32)), torch.from_numpy(items.astype(np.float32))
