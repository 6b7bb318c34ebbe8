"""LGMRec (Guo et al., LGMRec: Local and Global Graph Learning for Multimodal Recommendation, AAAI 2024)."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmssl_cli.config.content import LGMRecSettings
from mmssl_cli.data.graph import BipartiteGraph, Sides
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import ranking_terms
from mmssl_cli.models.content import ContentProjections
from mmssl_cli.models.dropout import dropout
from mmssl_cli.models.losses import contrast_nodes
from mmssl_cli.models.plugins import PluggableRecommender
from mmssl_cli.models.rows import some_rows


class LGMRec(PluggableRecommender):
    """LightGCN plus propagated content, of unit norm, plus items gathered and spread by hyperedges of each modality.

    The whole of the paper. An item's shares in the hyperedges come from its content, a user's from the sum over their
    items, by a Gumbel softmax; the global views of the modalities are contrasted. As in the authors' program (MMRec),
    a user's content is the mean of their items', and content has one layer's embeddings and no mean over layers. Other
    than there, validation and ranking draw no Gumbel noise, projections have a bias, the L2 term is of squared final
    embeddings, and a step draws ``contrast_anchors`` of the batch's triples.
    """

    cold_items = "content"
    static_shapes = True
    settings: LGMRecSettings

    def __init__(self, data: InteractionData, settings: LGMRecSettings) -> None:
        super().__init__(data, settings)
        self.content = ContentProjections(data, settings.embedding_dim)
        self.shares = ContentProjections(data, settings.hyperedges)
        edges = data.train.entries()
        self.mean_graph = BipartiteGraph.from_edges(*edges, data.num_users, data.num_items, "mean")
        self.degrees = data.train.degrees().unsqueeze(1)

    def embeddings(self) -> Sides:
        """Return final embeddings, [U, d] and [I, d]."""
        final, _ = self._propagated()
        return final

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking loss, the contrast of the modalities' global views, and what is plugged in."""
        settings, count = self.settings, len(batch.users)
        final, views = self._propagated()
        terms = ranking_terms(settings, *final, batch, final)
        if settings.contrast_weight and len(views) > 1:
            drawn = some_rows(count, settings.contrast_anchors, batch.users.device)
            nodes = batch.users[drawn], batch.positives[drawn]
            losses = [
                contrast_nodes(a, b, of, settings.contrast_temperature, "all")
                for one, other in combinations(views, 2)
                for a, b, of in zip(one, other, nodes, strict=True)
            ]
            terms["contrast"] = settings.contrast_weight * count * torch.stack(losses).sum()
        return terms | self.plugged(batch)

    def _propagated(self) -> tuple[Sides, list[Sides]]:
        """Return final users and items, and the global ones of each modality."""
        settings = self.settings
        users, items = of_ids = self.graph.propagate(self.users, self.items, settings.layers)
        for content in self.content().values():
            of_content = self.mean_graph.users_from(content), content
            for _ in range(settings.content_layers):
                of_content = self.graph.users_from(of_content[1]), self.graph.items_from(of_content[0])
            users, items = users + normalize(of_content[0], dim=1), items + normalize(of_content[1], dim=1)
        views = [self._global(logits, of_ids[1]) for logits in self.shares().values()]
        of_users, of_items = (torch.stack(side).sum(dim=0) for side in zip(*views, strict=True))
        users = users + settings.global_weight * normalize(of_users, dim=1)
        items = items + settings.global_weight * normalize(of_items, dim=1)
        return (users, items), views

    def _global(self, logits: Tensor, items: Tensor) -> Sides:
        """Return users and items gathered from items [I, d] by hyperedges, which have items by ``logits`` [I, K]."""
        of_users = self._members(self.degrees * self.mean_graph.users_from(logits))
        of_items = self._members(logits)
        for _ in range(self.settings.hyper_layers):
            gathered = of_items.T @ items
            items = of_items @ gathered
        return of_users @ gathered, items

    def _members(self, logits: Tensor) -> Tensor:
        """Return shares [n, K] in the hyperedges: a softmax, in training with Gumbel noise and dropout."""
        if self.training:
            logits = logits - torch.empty_like(logits).exponential_().log()
        shares = (logits / self.settings.hyper_temperature).softmax(dim=1)
        return dropout(shares, self.settings.hyper_dropout, self.training)
