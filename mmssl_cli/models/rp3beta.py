"""RP3beta (Paudel et al., Updatable, Accurate, Diverse, and Scalable Recommendations ..., TiiS 2017)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from mmssl_cli.config.fitted import RP3betaSettings
from mmssl_cli.models.item_weights import ItemWeights, largest_of_rows, rows_at_once


class RP3beta(ItemWeights):
    """The score of item i is the sum of w_ji over the items j of the user.

    w_ji = sum over the users u of both of (n_j n_u)^-alpha, divided by n_i^beta: the walk from j over u to i, each
    transition with the power ``alpha``. Of the walks from j those to ``neighbours`` items of the largest w_ji are kept.
    """

    settings: RP3betaSettings

    def item_weights(self, matrix: sp.csr_matrix) -> sp.spmatrix:
        """Return w [I, I]."""
        return largest_of_rows(self._walks(matrix), self.settings.neighbours)

    def _walks(self, matrix: sp.csr_matrix) -> Iterator[np.ndarray]:
        of_users, of_items = (np.maximum(np.asarray(matrix.sum(axis=axis)).ravel(), 1) for axis in (1, 0))
        to_users = (sp.diags(of_items**-self.settings.alpha) @ matrix.T).tocsr()
        to_items = (sp.diags(of_users**-self.settings.alpha) @ matrix @ sp.diags(of_items**-self.settings.beta)).tocsr()
        size = rows_at_once(len(of_items))
        for first in range(0, len(of_items), size):
            block = (to_users[first : first + size] @ to_items).toarray()
            row = np.arange(len(block))
            block[row, row + first] = 0
            yield block
