"""MMGCN (Wei et al., MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation of Micro-video,
MM 2019)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize

from mmssl_cli.config.content import MMGCNSettings
from mmssl_cli.data.graph import BipartiteGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import GraphRecommender, embedding
from mmssl_cli.models.content import ContentProjections

#: Columns that the authors' program projects visual content to.
PROGRAM_WIDTH = 256


class MMGCN(GraphRecommender):
    """A stack of layers a modality, from the items' content and the users' preferences; joined at the end.

    Both combinations of the paper and its mean aggregation; its max aggregation is left out. By default the model is
    that of the authors' program, whose flags do less than they say: it concatenates whatever ``--concat`` is, has three
    layers whatever ``--num_layer`` is, and never trains ids and preferences (``train_ids``), so that their L2 term has
    no effect. Content named visual, and tokens here, are projected to 256 columns, other content enters as it is
    (``content_width``), and the final embeddings are a mean over the modalities (``fusion``). Rows of layer 0 have
    unit norm.
    """

    cold_items = "content"
    static_shapes = True
    settings: MMGCNSettings

    def __init__(self, data: InteractionData, settings: MMGCNSettings) -> None:
        super().__init__(data, settings)
        dim = settings.embedding_dim
        #: Layer 0 of the items in modalities that no layer projects, rows of unit norm, [I, columns].
        self.unprojected: dict[str, Tensor] = {}
        program = settings.content_width == "program" and settings.layers > 0  # without layers all have d columns
        if program:
            self.unprojected = {
                name: normalize(values.to(self.users.device, torch.float32), dim=1)
                for name, values in data.features.items()
                if values.is_floating_point() and name != "visual"
            }
        projected = {name: values for name, values in data.features.items() if name not in self.unprojected}
        width = PROGRAM_WIDTH if program else dim
        self.content = ContentProjections(
            replace(data, features=projected, present={name: data.present[name] for name in projected}), width
        )
        widths = {
            name: self.unprojected[name].shape[1] if name in self.unprojected else width for name in data.features
        }
        self.preferences = nn.ParameterDict({name: embedding(data.num_users, width) for name, width in widths.items()})
        if not settings.train_ids:
            for table in (self.users, self.items, *self.preferences.values()):
                table.requires_grad_(False)
        self.stacks = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    ModalityLayer(dim if layer else width, dim, settings.combination)
                    for layer in range(settings.layers)
                )
                for name, width in widths.items()
            }
        )

    def ego_embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the id embeddings and the preferences."""
        return torch.cat([self.users, *self.preferences.values()], dim=1), self.items

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the mean or the sum over modalities, [U, d] and [I, d]."""
        of_users, of_items = [], []
        projected = {name: normalize(rows, dim=1) for name, rows in self.content().items()}
        for name, items in {**projected, **self.unprojected}.items():
            users = normalize(self.preferences[name], dim=1)
            for layer in self.stacks[name].children():
                users, items = layer(self.graph, users, items, (self.users, self.items))
            of_users.append(users)
            of_items.append(items)
        users, items = torch.stack(of_users).sum(dim=0), torch.stack(of_items).sum(dim=0)
        count = len(of_users) if self.settings.fusion == "mean" else 1
        return users / count, items / count


class ModalityLayer(nn.Module):
    """One layer of one modality: LeakyReLU(W1 neighbours), joined with LeakyReLU(W2 own) + id (Eq. 2 to 7).

    ``concat`` is LeakyReLU(W3 (received || own)), ``elementwise`` LeakyReLU(W3 received + own).
    """

    def __init__(self, width: int, dim: int, combination: str) -> None:
        super().__init__()
        self.concat = combination == "concat"
        self.message = nn.Linear(width, width, bias=False)
        self.own = nn.Linear(width, dim)
        self.combine = nn.Linear(width + dim if self.concat else width, dim)
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
