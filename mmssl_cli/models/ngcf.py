"""NGCF (Wang et al., Neural Graph Collaborative Filtering, SIGIR 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize

from mmssl_cli.config.collaborative import NGCFSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import GraphRecommender, embedding, ranking_terms
from mmssl_cli.models.dropout import dropout

LEAKY_SLOPE = 0.2  #: of negative numbers; the paper names none, this is its authors' (TensorFlow's default)


class NGCF(GraphRecommender):
    """Propagation with learnt matrices and the product of a node with what it receives; layers side by side.

    As the paper's Eq. 7 and 9, with its message and node dropout, all layers of the same width. Node dropout blocks
    the messages of a node in a layer; what is left grows so that sums keep their mean. The authors scale every layer
    but the first to unit norm before they are joined, which the paper does not say: ``layer_scaling`` has both. Their
    L2 term is of the batch's final embeddings (``l2_on``); the matrices know ``weight_decay`` alone.
    """

    static_shapes = True
    settings: NGCFSettings

    def __init__(self, data: InteractionData, settings: NGCFSettings) -> None:
        super().__init__(data, settings)
        dim = settings.embedding_dim
        #: W_1 of each layer, for a node's own embedding and the sum of its neighbours'.
        self.of_sums = nn.ParameterList([embedding(dim, dim) for _ in range(settings.layers)])
        #: W_2 of each layer, for the product of both.
        self.of_products = nn.ParameterList([embedding(dim, dim) for _ in range(settings.layers)])

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return all layers side by side, [U, d (layers + 1)] and [I, d (layers + 1)]."""
        users: Tensor = self.users
        items: Tensor = self.items
        joined: list[tuple[Tensor, Tensor]] = [(users, items)]
        for of_sums, of_products in zip(self.of_sums, self.of_products, strict=True):
            received = self.graph.users_from(self._messages(items)), self.graph.items_from(self._messages(users))
            users, items = (
                self._layer(own, others, of_sums, of_products)
                for own, others in zip((users, items), received, strict=True)
            )
            scaled = self.settings.layer_scaling == "l2"
            joined.append((normalize(users, dim=1), normalize(items, dim=1)) if scaled else (users, items))
        of_users, of_items = zip(*joined, strict=True)
        return torch.cat(of_users, dim=1), torch.cat(of_items, dim=1)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the ranking loss and, where weighted, L2 on the final embeddings or on layer 0."""
        final = self.embeddings()
        return ranking_terms(
            self.settings, *final, batch, final if self.settings.l2_on == "final" else self.ego_embeddings()
        )

    def _layer(self, own: Tensor, received: Tensor, of_sums: Tensor, of_products: Tensor) -> Tensor:
        """Eq. 7 for one side of the graph: [N, d] from its own embeddings and what it receives, [N, d] each."""
        out = leaky_relu((own + received) @ of_sums + (own * received) @ of_products, LEAKY_SLOPE)
        return dropout(out, self.settings.dropout, self.training)

    def _messages(self, embeddings: Tensor) -> Tensor:
        """Return embeddings [N, d] as messages, zeros for blocked nodes."""
        if not self.settings.node_dropout:
            return embeddings
        ones = embeddings.new_ones(len(embeddings), 1)
        return embeddings * dropout(ones, self.settings.node_dropout, self.training)
