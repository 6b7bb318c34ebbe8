"""EASE^R (Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

from mmssl_cli.config.fitted import EASESettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.evaluation.ranking import BLOCK_BYTES
from mmssl_cli.models.base import Recommender
from mmssl_cli.models.memory import available_memory
from mmssl_cli.models.pop import popular_without_items
from mmssl_cli.sparse.csr import CSR
from pipelines.errors import UsageError


class EASE(Recommender):
    """The scores are R B with B = I - P diag(P)^-1 and P = (R^T R + ridge I)^-1, so that diag(B) = 0 (Eq. 8).

    P takes the place of R^T R, and B that of P: one I x I float32 array, and a second when the run is saved.
    """

    settings: EASESettings
    weights: Tensor  #: float32 [I, I], B

    def __init__(self, data: InteractionData, settings: EASESettings) -> None:
        super().__init__(data, settings)
        self.train_items = data.train
        self.popularity = torch.bincount(data.train.indices, minlength=data.num_items).float()

    def fit(self, data: InteractionData) -> None:
        """Compute B on the CPU.

        Raises:
            UsageError: it needs more memory than there is.
        """
        check_memory(self.num_items)
        matrix = data.train.to_scipy(self.num_items).astype(np.float32)
        of_items = matrix.T.tocsr()
        size = max(1, BLOCK_BYTES // (4 * self.num_items))
        blocks = [slice(first, first + size) for first in range(0, self.num_items, size)]
        gram = np.empty((self.num_items, self.num_items), dtype=np.float32, order="F")
        for block in blocks:
            gram[:, block] = (of_items[block] @ matrix).toarray().T
        gram.flat[:: self.num_items + 1] += self.settings.ridge
        factor, problem = lapack.spotrf(gram, lower=1, clean=0, overwrite_a=1)
        inverse, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
        if problem or failed:
            raise UsageError("EASE: the matrix of the items is singular in float32; choose a larger --ridge.")
        diagonal = inverse.diagonal().copy()
        for block in blocks:  # only the lower triangle was computed
            inverse[block, block.stop :] = inverse[block.stop :, block].T
            square = inverse[block, block]
            inverse[block, block] = np.tril(square) + np.tril(square, -1).T
        for block in blocks:  # the transpose of B, as the inverse is symmetric
            inverse[block] /= -diagonal[block, None]
        inverse.flat[:: self.num_items + 1] = 0
        self.weights = torch.from_numpy(inverse.T)

    def score(self, users: Tensor) -> Tensor:
        """Return R B of the users, [n, I]; popularity for users without items."""
        items = self.train_items.select(users)
        return popular_without_items(self.score_from_items(items), items, self.popularity)

    def score_from_items(self, items: CSR) -> Tensor:
        """Return R B of users with these items, [n, I]."""
        return torch.nn.functional.embedding_bag(items.indices, self.weights, items.indptr[:-1], mode="sum")


def check_memory(num_items: int) -> None:
    """Check that an I x I float32 array fits into memory twice: once to be computed, once more to be saved.

    Raises:
        UsageError: it does not.
    """
    needed, free = 2 * 4 * num_items**2, available_memory()
    if needed > free:
        raise UsageError(
            f"EASE needs an array of {num_items:,} x {num_items:,} weights between items: {needed / 2**30:,.1f} GiB to "
            f"compute and save it, and {free / 2**30:,.1f} GiB are free; choose another model, such as itemknn, or a "
            "data set of fewer items."
        )
