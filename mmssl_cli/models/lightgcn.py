"""LightGCN (He et al., LightGCN: Simplifying and Powering Graph Convolution Network, SIGIR 2020)."""

from __future__ import annotations

from torch import Tensor

from mmssl_cli.config import LightGCNSettings
from mmssl_cli.data.graph import BipartiteGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import Recommender, embedding, ranking_terms


class LightGCN(Recommender):
    """Embeddings averaged over layers of linear propagation on the training graph."""

    def __init__(self, data: InteractionData, settings: LightGCNSettings) -> None:
        super().__init__(data, settings)
        self.settings = settings
        self.users = embedding(data.num_users, settings.embedding_dim)
        self.items = embedding(data.num_items, settings.embedding_dim)
        self.graph = BipartiteGraph.from_edges(
            data.train.row_of_each(), data.train.indices, data.num_users, data.num_items, settings.adjacency
        )

    def represent(self) -> tuple[Tensor, Tensor]:
        """Mean of the layers, [U, d] and [I, d]."""
        return self.graph.propagate(self.users, self.items, self.settings.layers)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """BPR on the propagated embeddings and, where weighted, L2 on those of layer 0."""
        users, items = self.represent()
        return ranking_terms(self.settings, users, items, batch, (self.users, self.items))
