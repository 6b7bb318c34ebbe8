"""GF-CF (Shen et al., How Powerful is Graph Convolution for Recommendation?, CIKM 2021)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmssl_cli.config.fitted import GFCFSettings
from mmssl_cli.data.graph import BipartiteGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import Recommender
from mmssl_cli.models.pop import popular_without_items
from mmssl_cli.models.spectral import strongest_directions
from mmssl_cli.sparse.csr import CSR


class GFCF(Recommender):
    """The scores are R N^T N D_i^(1/2 - e) + low_pass x R D_i^-1/2 V V^T D_i^1/2, with N = D_u^-1/2 R D_i^-1/2.

    D_u and D_i are the numbers of interactions of users and items, V [I, r] N's strongest right singular vectors. The
    first part is the linear filter of the neighbourhood, the second the ideal low-pass filter; e is ``item_exponent``,
    1/2 in the paper.
    """

    settings: GFCFSettings
    directions: Tensor  #: float32 [I, r], V

    def __init__(self, data: InteractionData, settings: GFCFSettings) -> None:
        super().__init__(data, settings)
        self.train_items = data.train
        self.popularity = torch.bincount(data.train.indices, minlength=data.num_items).float()
        self.degrees = self.popularity.clamp(min=1).unsqueeze(1)
        self.graph = BipartiteGraph.from_edges(*data.train.entries(), data.num_users, data.num_items, "sym")

    def fit(self, data: InteractionData) -> None:
        """Compute V by a truncated singular value decomposition, from a fixed start."""
        matrix = data.train.to_scipy(self.num_items)
        matrix.data = self.graph.to_users.matrix.values().double().cpu().numpy()
        _, directions = strongest_directions(matrix, self.settings.directions, data.folder)
        self.directions = torch.from_numpy(directions.T.astype(np.float32).copy())

    def score(self, users: Tensor) -> Tensor:
        """Return the sum of both filters for the users, [n, I]; popularity for users without items."""
        items = self.train_items.select(users)
        return popular_without_items(self.score_from_items(items), items, self.popularity)

    def score_from_items(self, items: CSR) -> Tensor:
        """Return the sum of both filters for users with these items, [n, I]."""
        rows = torch.zeros(self.num_items, items.num_rows, device=items.indices.device)
        rows[items.indices, items.row_of_each()] = 1  # R^T of these users
        # The graph's weights have the exponent 1/2 of the paper.
        popularity = self.degrees ** (0.5 - self.settings.item_exponent)
        scores = (popularity * self.graph.items_from(self.graph.users_from(rows))).T
        if self.settings.low_pass:
            filtered = (rows.T @ (self.directions * self.degrees.rsqrt())) @ (self.directions * self.degrees.sqrt()).T
            scores = scores + self.settings.low_pass * filtered
        return scores.contiguous()
