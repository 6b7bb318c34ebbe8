"""A view of the ids and one of each modality, propagated beside each other and joined: the base of several models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mmssl_cli.config.structure import ModalityViewsSettings
from mmssl_cli.data.graph import BipartiteGraph, Sides
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.content import ContentProjections, projected, xavier_weights
from mmssl_cli.models.plugins import PluggableRecommender

#: Raw content is propagated ahead of training up to this size a modality; what is larger is projected first.
SPREAD_BYTES = 2**28


@dataclass(frozen=True)
class Part:
    """Layer 0 of the items in one view after propagation, [U, d] and [I, d], or [U, n] and [I, n] before ``weight``."""

    tables: Sides
    weight: Tensor | None = None

    def at(self, side: int, rows: Tensor | slice) -> Tensor:
        """Return [n, d] at some users (side 0) or items (side 1)."""
        chosen = self.tables[side][rows]
        return chosen if self.weight is None else chosen @ self.weight.T


@dataclass(frozen=True)
class Views:
    """V views of users and items, the ids' first, in two parts that add up.

    Attributes:
        shared: layer 0 of the users, the same in every view, after propagation: [U, d] and [I, d].
        own: layer 0 of the items in each view after propagation; None for zeros.
    """

    shared: Sides
    own: tuple[Part | None, ...]

    def at(self, side: int, rows: Tensor | slice) -> Tensor:
        """Return the views [n, V d] of some users (side 0) or items (side 1), int64 [n]."""
        shared = self.shared[side][rows]
        return torch.cat([shared if part is None else shared + part.at(side, rows) for part in self.own], dim=1)

    def of(self, users: Tensor | slice, items: Tensor | slice) -> Sides:
        """Return the views [n, V d] of some users and of some items."""
        return self.at(0, users), self.at(1, items)

    def with_part(self, view: int, part: Part | None) -> Views:
        """Return the same with another layer 0 of the items in one view, None for zeros."""
        return replace(self, own=(*self.own[:view], part, *self.own[view + 1 :]))


class ModalityViews(PluggableRecommender):
    """Ids and each modality's projected content by LightGCN, with the same users, joined by a linear layer a side.

    Propagation is linear, and so is a projection: the users' layer 0, the same in all views, goes its way once, and
    raw content goes it ahead of training, so that a step projects only the rows of its batch. As in the public
    programs, linear layers begin with Xavier's uniform weights and PyTorch's biases.
    """

    cold_items = "content"
    settings: ModalityViewsSettings

    def __init__(self, data: InteractionData, settings: ModalityViewsSettings) -> None:
        super().__init__(data, settings)
        d = settings.embedding_dim
        self.content = ContentProjections(data, d, None)
        self.num_views = 1 + len(data.features)
        self.join_users = nn.Linear(self.num_views * d, d)
        self.join_items = nn.Linear(self.num_views * d, d)
        xavier_weights([*self.content.layers.values(), self.join_users, self.join_items])
        self.raw_spread = self.spread_raw(self.graph)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return joined embeddings, [U, d] and [I, d]."""
        return self.joined(*self.views().of(slice(None), slice(None)))

    def views(self, graph: BipartiteGraph | None = None, raw_spread: Mapping[str, Sides] | None = None) -> Views:
        """Return the views over a ``graph`` and its ``spread_raw``, by default those of all interactions."""
        if graph is None or raw_spread is None:
            graph, raw_spread = self.graph, self.raw_spread
        shared = _one_sided(self.users, graph.items_from, graph.users_from, self.settings.layers)
        parts = [Part(self.spread_items(self.items, graph))]
        for name, layer in self.content.layers.items():
            if name in raw_spread:
                parts.append(Part(raw_spread[name], _with_bias(layer)))
            else:
                of_items = projected(layer, self.content.raw[name]) * self.content.present[name]
                parts.append(Part(self.spread_items(of_items, graph)))
        return Views(shared, tuple(parts))

    def modality_users(self, users: Tensor) -> list[Tensor]:
        """Return the views of the modalities at some users, [n, d] each."""
        return list(self.views().at(0, users).chunk(self.num_views, dim=1))[1:]

    def spread_items(self, items: Tensor, graph: BipartiteGraph) -> Sides:
        """Return the part of the layers' mean at users and items that comes from layer 0 of the items [I, n] alone."""
        at_items, at_users = _one_sided(items, graph.users_from, graph.items_from, self.settings.layers)
        return at_users, at_items

    @torch.no_grad()
    def spread_raw(self, graph: BipartiteGraph) -> dict[str, Sides]:
        """Propagate the raw content of each modality with a column of ones for the bias.

        [U, dim + 1] and [I, dim + 1]; without modalities of tokens, and without very large ones.
        """
        spread = {}
        for name, raw in self.content.raw.items():
            size = (self.num_users + self.num_items) * raw.shape[1] * 4
            if raw.is_floating_point() and size <= SPREAD_BYTES:
                present = self.content.present[name]
                raw = raw.to(present.device).float()
                spread[name] = self.spread_items(torch.cat([raw, torch.ones_like(raw[:, :1])], dim=1) * present, graph)
        return spread

    def joined(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Join views [n, V d] of users and of items into embeddings [n, d]."""
        return self.join_users(users), self.join_items(items)


def _with_bias(layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return torch.cat([layer.weight, layer.bias.unsqueeze(1)], dim=1)


def _one_sided(
    rows: Tensor, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], layers: int
) -> tuple[Tensor, Tensor]:
    """Return the part of the layers' mean that comes from layer 0 of one side: at that side, and at the other."""
    own, other, now = [rows], list[Tensor](), rows
    for layer in range(layers):
        now = back(now) if layer % 2 else there(now)
        (own if layer % 2 else other).append(now)
    if not other:
        other.append(torch.zeros_like(there(rows)))
    return torch.stack(own).sum(dim=0) / (layers + 1), torch.stack(other).sum(dim=0) / (layers + 1)
