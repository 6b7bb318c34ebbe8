"""MMGCN (Wei et al., MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation of Micro-video,
MM 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize

from mmssl_cli.config.content import MMGCNSettings
from mmssl_cli.data.graph import BipartiteGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import GraphRecommender, embedding
from mmssl_cli.models.content import ContentProjections


class MMGCN(GraphRecommender):
    """A stack of layers a modality, from the items' content and the users' learnt preferences; the sum of them all.

    Both combinations of the paper and its mean aggregation; its max aggregation is left out. The combination is by
    default that of the authors' published commands. As in the authors'
    code, raw features are first projected to d columns, and rows of layer 0 have length 1. With no layers the
    modalities' layer 0 is summed, as the paper's equations have it.
    """

    cold_items = "content"
    static_shapes = True
    settings: MMGCNSettings

    def __init__(self, data: InteractionData, settings: MMGCNSettings) -> None:
        super().__init__(data, settings)
        dim = settings.embedding_dim
        self.content = ContentProjections(data, dim)
        self.preferences = nn.ParameterDict({name: embedding(data.num_users, dim) for name in data.features})
        layers, combination = range(settings.layers), settings.combination
        self.stacks = nn.ModuleDict(
            {name: nn.ModuleList(ModalityLayer(dim, combination) for _ in layers) for name in data.features}
        )

    def layer0(self) -> tuple[Tensor, Tensor]:
        """Return the id embeddings and the preferences."""
        return torch.cat([self.users, *self.preferences.values()], dim=1), self.items

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the sum over modalities, [U, d] and [I, d]."""
        of_users, of_items = [], []
        for name, content in self.content().items():
            users, items = normalize(self.preferences[name], dim=1), normalize(content, dim=1)
            for layer in self.stacks[name].children():
                users, items = layer(self.graph, users, items, (self.users, self.items))
            of_users.append(users)
            of_items.append(items)
        return torch.stack(of_users).sum(dim=0), torch.stack(of_items).sum(dim=0)


class ModalityLayer(nn.Module):
    """One layer of one modality: LeakyReLU(W1 neighbours), joined with LeakyReLU(W2 own) + id (Eq. 2 to 7).

    ``concat`` is LeakyReLU(W3 (received || own)), ``elementwise`` LeakyReLU(W3 received + own).
    """

    def __init__(self, dim: int, combination: str) -> None:
        super().__init__()
        self.concat = combination == "concat"
        self.message = nn.Linear(dim, dim, bias=False)
        self.own = nn.Linear(dim, dim)
        self.combine = nn.Linear(2 * dim if self.concat else dim, dim)
        for linear in (self.message, self.own, self.combine):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self, graph: BipartiteGraph, users: Tensor, items: Tensor, ids: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Users [U, d] and items [I, d] of the next layer; ``ids`` are the id embeddings of both."""
        received = graph.users_from(self.message(items)), graph.items_from(self.message(users))
        return self._combined(received[0], users, ids[0]), self._combined(received[1], items, ids[1])

    def _combined(self, received: Tensor, rows: Tensor, ids: Tensor) -> Tensor:
        received = leaky_relu(received)
        own = leaky_relu(self.own(rows)) + ids
        joined = self.combine(torch.cat([received, own], dim=1)) if self.concat else self.combine(received) + own
        return leaky_relu(joined)
