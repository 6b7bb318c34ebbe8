"""VBPR (He and McAuley, VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback, AAAI 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmssl_cli.config.content import VBPRSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import EmbeddingRecommender, embedding
from mmssl_cli.models.content import dense_content


class VBPR(EmbeddingRecommender):
    """The score is gamma_u . gamma_i + theta_u . (E f_i) + beta_i + beta' . f_i (the paper's Eq. 4).

    The whole of the paper; f_i are the raw features of all modalities beside each other, and gamma and theta have
    ``embedding_dim`` columns each. What is the same for all of a user's items (alpha, beta_u) is left out, for it
    changes no order. The L2 term covers gamma, theta and beta; E has none, as in the paper's experiments, and
    beta' none here. ``feature_weight`` is not of the paper: Adam moves every entry of E by about the learning rate, so
    that long rows of content outrun the free factors, and a modality of long rows any other. MMRec's program has no
    biases, and norms that are not squared, of final embeddings.
    """

    cold_items = "content"
    static_shapes = True

    def __init__(self, data: InteractionData, settings: VBPRSettings) -> None:
        super().__init__(data, settings)
        content = list(dense_content(data).values())
        if settings.feature_rows == "joined":
            content = [torch.cat(content, dim=1)]
        if settings.feature_weight is not None:
            content = [settings.feature_weight * normalize(rows, dim=1) for rows in content]
        self.content = torch.cat(content, dim=1)
        self.content_users = embedding(data.num_users, settings.embedding_dim)
        self.projection = embedding(self.content.shape[1], settings.embedding_dim)
        self.item_bias = nn.Parameter(torch.zeros(data.num_items, 1))
        self.content_bias = nn.Parameter(torch.zeros(self.content.shape[1], 1))

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Factors, content factors and a column for the biases, [U, 2d + 1] and [I, 2d + 1]."""
        users = torch.cat([self.users, self.content_users, self.users.new_ones(self.num_users, 1)], dim=1)
        bias = self.item_bias + self.content @ self.content_bias
        return users, torch.cat([self.items, self.content @ self.projection, bias], dim=1)

    def ego_embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the factors and biases."""
        return torch.cat([self.users, self.content_users], dim=1), torch.cat([self.items, self.item_bias], dim=1)
