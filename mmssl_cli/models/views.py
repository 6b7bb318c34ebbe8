"""A view of the ids and one of each modality, propagated beside each other and joined: the base of several models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmssl_cli.config.structure import ModalityViewsSettings
from mmssl_cli.data.graph import BipartiteGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import GraphRecommender
from mmssl_cli.models.content import ContentProjections, need_modalities


@dataclass(frozen=True)
class Views:
    """V views of users and items, the ids' first, in two parts that add up.

    Attributes:
        shared: what layer 0 of the users, the same in every view, became at users [U, d] and items [I, d].
        own: what layer 0 of a view's items became at users [U, V d] and items [I, V d].
    """

    shared: tuple[Tensor, Tensor]
    own: tuple[Tensor, Tensor]

    def of(self, users: Tensor | slice, items: Tensor | slice) -> tuple[Tensor, Tensor]:
        """The views [n, V d] of some users and of some items (int64 [n] each)."""
        count = self.own[0].shape[1] // self.shared[0].shape[1]
        of_users, of_items = (
            shared[rows].repeat(1, count) + own[rows]
            for rows, shared, own in zip((users, items), self.shared, self.own, strict=True)
        )
        return of_users, of_items

    def without(self, view: int) -> Views:
        """The same with nothing at layer 0 of the items in one view."""
        of_users, of_items = (without_view(own, view, self.shared[0].shape[1]) for own in self.own)
        return Views(self.shared, (of_users, of_items))


def without_view(rows: Tensor, view: int, dim: int) -> Tensor:
    """Rows [n, V d] with zeros in one of the V views of ``dim`` columns."""
    kept = torch.ones(rows.shape[1], device=rows.device)
    kept[view * dim : (view + 1) * dim] = 0
    return rows * kept


class ModalityViews(GraphRecommender):
    """Ids and each modality's projected content by LightGCN, with the same users, joined by a linear layer a side."""

    settings: ModalityViewsSettings

    def __init__(self, data: InteractionData, settings: ModalityViewsSettings) -> None:
        super().__init__(data, settings)
        need_modalities(data, settings.model)
        self.content = ContentProjections(data, settings.embedding_dim)
        self.num_views = 1 + len(data.features)
        self.join_users = self._joining_layer()
        self.join_items = self._joining_layer()

    def represent(self) -> tuple[Tensor, Tensor]:
        """Joined embeddings [U, d] and [I, d]; wider where a low-pass filter is added."""
        return self.filtered(*self.joined(*self.views(self.layer0()).of(slice(None), slice(None))))

    def layer0(self) -> Tensor:
        """Items before propagation in all views, the ids' first, [I, V d]."""
        return torch.cat([self.items, *self.content().values()], dim=1)

    def views(self, items: Tensor, graph: BipartiteGraph | None = None) -> Views:
        """The views of ``items`` [I, V d] at layer 0, propagated over a ``graph``, by default that of all interactions.

        Propagation is linear: the users' layer 0, the same in all views, goes its way once.
        """
        graph, layers = graph or self.graph, self.settings.layers
        at_users, at_items = _one_sided(self.users, graph.items_from, graph.users_from, layers)
        own_at_items, own_at_users = _one_sided(items, graph.users_from, graph.items_from, layers)
        return Views((at_users, at_items), (own_at_users, own_at_items))

    def joined(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [n, d] from views [n, V d], of users and of items."""
        return self.join_users(users), self.join_items(items)

    def _joining_layer(self) -> nn.Linear:
        d = self.settings.embedding_dim
        layer = nn.Linear(self.num_views * d, d)
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer


def _one_sided(
    rows: Tensor, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], layers: int
) -> tuple[Tensor, Tensor]:
    """What layer 0 of one side alone adds to the mean over layers: to its own side, and to the other."""
    own, other, now = [rows], list[Tensor](), rows
    for layer in range(layers):
        now = back(now) if layer % 2 else there(now)
        (own if layer % 2 else other).append(now)
    if not other:
        other.append(torch.zeros_like(there(rows)))
    return torch.stack(own).sum(dim=0) / (layers + 1), torch.stack(other).sum(dim=0) / (layers + 1)
