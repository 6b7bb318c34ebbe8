"""ItemKNN (Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, TOIS 2004)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from mmssl_cli.config.fitted import ItemKNNSettings
from mmssl_cli.models.item_weights import ItemWeights, largest_of_rows, rows_at_once


class ItemKNN(ItemWeights):
    """The score of item i is the sum of s_ij over those of its ``neighbours`` nearest items j that the user has.

    s_ij = n_ij / (sqrt(n_i n_j) + shrinkage), with n_ij users of both items, and n_i users of i.
    """

    settings: ItemKNNSettings

    def item_weights(self, matrix: sp.csr_matrix) -> sp.spmatrix:
        """Return the similarities [I, I], those of the nearest items of i in column i."""
        return largest_of_rows(self._similarities(matrix), self.settings.neighbours).T

    def _similarities(self, matrix: sp.csr_matrix) -> Iterator[np.ndarray]:
        of_items = matrix.T.tocsr()
        lengths = np.sqrt(np.asarray(matrix.sum(axis=0)).ravel())
        size = rows_at_once(len(lengths))
        for first in range(0, len(lengths), size):
            block = (of_items[first : first + size] @ matrix).toarray()
            row = np.arange(len(block))
            block[row, row + first] = 0
            norms = np.outer(lengths[first : first + size], lengths) + self.settings.shrinkage
            yield np.divide(block, norms, out=block, where=block > 0)
