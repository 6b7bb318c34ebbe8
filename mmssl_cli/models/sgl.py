"""SGL (Wu et al., Self-supervised Graph Learning for Recommendation, SIGIR 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from mmssl_cli.config.collaborative import SGLSettings
from mmssl_cli.data.graph import BipartiteGraph, mean_propagation
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import GraphRecommender
from mmssl_cli.models.losses import contrast_batch


class SGL(GraphRecommender):
    """LightGCN, and a contrast of two views of each node that propagation over damaged graphs gives.

    All three augmentations of the paper: node drop, edge drop, and random walk, which is an edge drop of its own for
    each layer. Two views are drawn at the start of an epoch; a damaged graph is normalised anew. The negatives of the
    contrast are all nodes, as in paper and program, or those of the batch (``contrast_negatives``); its terms are means
    over the batch's users and positive items, each once, the program's over every triple.
    """

    settings: SGLSettings

    def __init__(self, data: InteractionData, settings: SGLSettings) -> None:
        super().__init__(data, settings)
        self.edges = data.train.entries()
        whole = [self.graph] * settings.layers
        self.views: tuple[list[BipartiteGraph], ...] = (whole, whole)

    def begin_epoch(self, epoch: int) -> None:
        """Draw the graphs of both views, one a layer."""
        if self.settings.contrast_weight:
            self.views = (self._draw_view(), self._draw_view())

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the mean of the layers over the whole graph, [U, d] and [I, d]."""
        return self.graph.propagate(self.users, self.items, self.settings.layers)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking terms, and the contrast of the batch's users and of its positive items."""
        settings, terms = self.settings, super().training_step(batch)
        if settings.contrast_weight:
            one, other = (mean_propagation(graphs, self.users, self.items) for graphs in self.views)
            losses = contrast_batch(one, other, batch, settings.contrast_temperature, settings.contrast_negatives)
            terms["contrast"] = settings.contrast_weight * torch.stack(losses).sum()
        return terms

    def _draw_view(self) -> list[BipartiteGraph]:
        if self.settings.augmentation == "random-walk":
            return [self._damaged_graph() for _ in range(self.settings.layers)]
        return [self._damaged_graph()] * self.settings.layers

    def _damaged_graph(self) -> BipartiteGraph:
        users, items = self.edges
        if self.settings.augmentation == "node-drop":
            kept = self._survivors(self.num_users)[users] & self._survivors(self.num_items)[items]
        else:
            kept = self._survivors(len(users))
        return BipartiteGraph.from_edges(
            users[kept], items[kept], self.num_users, self.num_items, self.settings.adjacency
        )

    def _survivors(self, count: int) -> Tensor:
        return torch.rand(count, device=self.edges[0].device) >= self.settings.edge_dropout
