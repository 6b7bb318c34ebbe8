"""LightGCN-M: LightGCN (He et al., SIGIR 2020) with content, a baseline of Wei et al., WWW 2023 (Sec. 4.1.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmssl_cli.config.content import LightGCNMSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import embedding
from mmssl_cli.models.content import ContentProjections
from mmssl_cli.models.plugins import PluggableRecommender


class LightGCNM(PluggableRecommender):
    """The mean of the layers of linear propagation, whose layer 0 holds the items' projected content.

    The paper says no more than that the features take part in the message passing. Here the projections, rows of
    unit norm, are added to the items' embeddings (``sum``), or stand beside them with embeddings of the users for
    each modality (``concat``).
    """

    cold_items = "content"
    static_shapes = True
    settings: LightGCNMSettings

    def __init__(self, data: InteractionData, settings: LightGCNMSettings) -> None:
        super().__init__(data, settings)
        self.content = ContentProjections(data, settings.embedding_dim)
        if settings.content_join == "concat":
            self.content_users = embedding(data.num_users, len(data.features) * settings.embedding_dim)

    def ego_embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the embeddings of layer 0 without the content."""
        if self.settings.content_join == "concat":
            return torch.cat([self.users, self.content_users], dim=1), self.items
        return self.users, self.items

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the mean of the layers: [U, d] and [I, d], or (1 + modalities) d columns with ``concat``."""
        content = [self.settings.feature_weight * normalize(rows, dim=1) for rows in self.content().values()]
        if self.settings.content_join == "concat":
            items = torch.cat([self.items, *content], dim=1)
        else:
            items = self.items + torch.stack(content).sum(dim=0)
        return self.graph.propagate(self.ego_embeddings()[0], items, self.settings.layers)
