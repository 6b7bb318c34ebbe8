"""GRCN (Wei et al., Graph-Refined Convolutional Network for Multimedia Recommendation with Implicit Feedback,
MM 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize

from mmssl_cli.config.content import GRCNSettings
from mmssl_cli.data.edges import EdgeGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import EmbeddingRecommender
from mmssl_cli.models.content import ContentProjections, xavier_weights


class GRCN(EmbeddingRecommender):
    """Ids propagate over edges weighted by how well the item's content fits the user's prototype.

    All of the paper: the routing that finds a user's prototype in each modality, affinities in both directions, the
    three ways to join them, soft and hard pruning, and what is ranked by. By default as in MMRec: edges of negative
    weight are cut (``pruning``), confidences begin near 0, where the ids hardly propagate at first
    (``confidence_init``), and prototypes are not routed (``routing_steps``): the program's messages go to items, and it
    reads those at users. Projections and prototypes begin with Xavier's normal weights. Departures: an edge whose
    item has no content at all weighs 1/N of the receiving node; the L2 term counts a batch's rows as in other models,
    and the ranking is by the weights after the last step, not before it.
    """

    cold_items = "content"
    static_shapes = True
    settings: GRCNSettings

    def __init__(self, data: InteractionData, settings: GRCNSettings) -> None:
        super().__init__(data, settings)
        self.edges = EdgeGraph.from_csr(data.train, data.num_items)
        #: True where the item of an edge has content, bool [n] for each modality.
        self.known = {name: present[self.edges.items] for name, present in data.present.items()}
        every = torch.ones_like(self.edges.users, dtype=torch.bool)
        zeros = torch.zeros(len(every), device=every.device)
        self.uniform = self.edges.softmax_by_user(zeros, every), self.edges.softmax_by_item(zeros, every)
        dim, count = settings.embedding_dim, len(data.features)
        self.content = ContentProjections(data, dim, None)
        xavier_weights(self.content.layers.values(), nn.init.xavier_normal_)
        tables = {name: nn.init.xavier_normal_(torch.empty(data.num_users, dim)) for name in data.features}
        self.prototypes = nn.ParameterDict({name: nn.Parameter(table) for name, table in tables.items()})
        if settings.integration == "confidence":
            confidences = torch.ones(data.num_users + data.num_items, count)
            if settings.confidence_init == "xavier":
                nn.init.xavier_normal_(confidences)
            of_users, of_items = confidences.split([data.num_users, data.num_items])
            self.user_confidence, self.item_confidence = nn.Parameter(of_users.clone()), nn.Parameter(of_items.clone())

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Ids propagated over the refined graph, with content as ``fusion`` has it: (1 + modalities) d columns or d."""
        users, items, to_users, to_items = [], [], [], []
        for name, content in self.content().items():
            features = normalize(leaky_relu(content), dim=1)
            of_users, of_items, by_user, by_item = self._refine(name, features)
            users.append(of_users)
            items.append(of_items)
            to_users.append(by_user)
            to_items.append(by_item)
        id_users, id_items = self._propagated(*self._weights(to_users, to_items))
        return self._fused([id_users, *users]), self._fused([id_items, *items])

    def ego_embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the ids and the initial prototypes."""
        return torch.cat([self.users, *self.prototypes.values()], dim=1), self.items

    def _refine(self, name: str, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One modality: content of users [U, d] and items [I, d], affinities [n] to users and to items."""
        edges, known = self.edges, self.known[name]
        prototypes = normalize(self.prototypes[name], dim=1)
        for _ in range(self.settings.routing_steps):
            shares = edges.softmax_by_user(edges.products(prototypes, features), known)
            prototypes = normalize(prototypes + edges.users_from(shares, features), dim=1)
        scores = edges.products(prototypes, features)
        by_user, by_item = edges.softmax_by_user(scores, known), edges.softmax_by_item(scores, known)
        users = prototypes + edges.users_from(by_user, features)
        return users, features + edges.items_from(by_item, prototypes), by_user, by_item

    def _weights(self, to_users: list[Tensor], to_items: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the weights [n] of edges towards their user and towards their item, from affinities per modality."""
        of_users, of_items = torch.stack(to_users, dim=1), torch.stack(to_items, dim=1)
        if self.settings.integration == "confidence":  # that of the node an edge comes from
            of_users = of_users * self.item_confidence[self.edges.items]
            of_items = of_items * self.user_confidence[self.edges.users]
        return self._integrated(of_users, self.uniform[0]), self._integrated(of_items, self.uniform[1])

    def _integrated(self, affinities: Tensor, uniform: Tensor) -> Tensor:
        """Return edge weights [n] from affinities [n, modalities]; ``uniform`` [n] where no modality is known."""
        known = torch.stack(list(self.known.values()), dim=1)
        if self.settings.integration == "mean":
            weights = affinities.sum(dim=1) / known.sum(dim=1).clamp(min=1)
        else:
            weights = affinities.masked_fill(~known, -torch.inf).amax(dim=1)
        if self.settings.pruning == "hard":
            weights = weights.relu()
        return torch.where(known.any(dim=1), weights, uniform)

    def _propagated(self, to_users: Tensor, to_items: Tensor) -> tuple[Tensor, Tensor]:
        users, items = normalize(self.users, dim=1), normalize(self.items, dim=1)
        user_sum, item_sum = users, items
        for _ in range(self.settings.layers):
            users, items = self.edges.users_from(to_users, items), self.edges.items_from(to_items, users)
            user_sum, item_sum = user_sum + users, item_sum + items
        return user_sum, item_sum

    def _fused(self, parts: list[Tensor]) -> Tensor:
        if self.settings.fusion == "concat":
            return torch.cat(parts, dim=1)
        return parts[0] if self.settings.fusion == "id" else torch.stack(parts).mean(dim=0)
