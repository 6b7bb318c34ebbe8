"""LightGCN (He et al., LightGCN: Simplifying and Powering Graph Convolution Network, SIGIR 2020)."""

from __future__ import annotations

from torch import Tensor

from mmssl_cli.models.base import GraphRecommender


class LightGCN(GraphRecommender):
    """Embeddings averaged over layers of linear propagation on the training graph."""

    static_shapes = True

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the mean of the layers, [U, d] and [I, d]."""
        return self.graph.propagate(self.users, self.items, self.settings.layers)
