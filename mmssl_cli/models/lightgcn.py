"""LightGCN (He et al., LightGCN: Simplifying and Powering Graph Convolution Network, SIGIR 2020)."""

from __future__ import annotations

from torch import Tensor

from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import GraphRecommender, ranking_terms


class LightGCN(GraphRecommender):
    """Embeddings averaged over layers of linear propagation on the training graph."""

    static_shapes = True

    def represent(self) -> tuple[Tensor, Tensor]:
        """Mean of the layers, [U, d] and [I, d]; wider where a low-pass filter is added to the scores."""
        return self.filtered(*self._propagated())

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """BPR on the propagated embeddings and, where weighted, L2 on those of layer 0."""
        users, items = self._propagated()
        return ranking_terms(self.settings, users, items, batch, (self.users, self.items))

    def _propagated(self) -> tuple[Tensor, Tensor]:
        return self.graph.propagate(self.users, self.items, self.settings.layers)
