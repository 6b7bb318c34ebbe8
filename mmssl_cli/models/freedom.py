"""FREEDOM (Zhou and Shen, A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal
Recommendation, MM 2023)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmssl_cli.config.structure import FREEDOMSettings
from mmssl_cli.data.graph import BipartiteGraph, ItemGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.distributed.collectives import local_rows, sharded_mean
from mmssl_cli.models.base import GraphRecommender, ranking_terms
from mmssl_cli.models.content import ContentProjections, content_graphs
from mmssl_cli.models.plugins import PluggableRecommender
from mmssl_cli.models.rows import take


class FREEDOM(PluggableRecommender):
    """LightGCN on a graph pruned anew each epoch, plus items propagated over a frozen graph of nearest content.

    The whole of the paper. As in the authors' program (MMRec), raw features are trained (``train_features``), and
    projections begin as PyTorch initialises them. A triple with an item that lacks a modality has no gradient through
    that modality's content.
    """

    cold_items = "content"
    settings: FREEDOMSettings

    def __init__(self, data: InteractionData, settings: FREEDOMSettings) -> None:
        super().__init__(data, settings)
        self.content = ContentProjections(data, settings.embedding_dim, None, settings.train_features)
        graphs = content_graphs(data, settings.graph_topk, weighted=False)
        shares = shares_of(list(graphs), settings.visual_weight)
        self.item_graph = ItemGraph.mixed(list(graphs.values()), shares, data.num_items)
        self.edges = data.train.entries()
        self.pruned = self.graph

    def begin_epoch(self, epoch: int) -> None:
        """Draw the interactions that the epoch trains on."""
        self.pruned = pruned_graph(self, self.edges, self.settings.edge_dropout)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return final embeddings over all interactions, [U, d] and [I, d]."""
        return self._propagated(self.graph)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking loss on the final embeddings, and on each modality's projected content."""
        users, items = self._propagated(self.pruned)
        distinct, of = take(users, batch.distinct_users), torch.searchsorted(batch.distinct_users, batch.users)
        terms = ranking_terms(self.settings, users, items, batch, self.ego_embeddings(), take(distinct, of))
        if self.settings.feature_weight:
            losses = [self._content_loss(distinct, of, name, batch) for name in self.content.layers]
            terms["content"] = self.settings.feature_weight * torch.stack(losses).sum()
        return terms | self.plugged(batch)

    def _propagated(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        users, items = graph.propagate(self.users, self.items, self.settings.layers)
        return users, items + self.item_graph.propagate(self.items, self.settings.item_layers)

    def _content_loss(self, users: Tensor, of: Tensor, modality: str, batch: Batch) -> Tensor:
        """BPR of users with projected content; a constant where an item has none.

        Args:
            users: the distinct users of the batch [n, d]; of: the row of each triple's, int64 [B].
        """
        pairs = (local_rows(rows) for rows in (of, batch.positives, batch.negatives))
        return sharded_mean(softplus(-self.content.differences(modality, users, *pairs)), len(of))


def pruned_graph(model: GraphRecommender, edges: tuple[Tensor, Tensor], edge_dropout: float) -> BipartiteGraph:
    """Return the graph of a draw of a model's interactions that favours unpopular nodes.

    Args:
        edges: users and items of all interactions, int64 [n] each.
        edge_dropout: share of the interactions to leave out.
    """
    users, items = edges
    kept = max(1, round(len(users) * (1 - edge_dropout)))
    if kept == len(users):
        return model.graph
    chosen = drawn(degree_weights(users, items), kept)
    shape = model.num_users, model.num_items
    return BipartiteGraph.from_edges(users[chosen], items[chosen], *shape, model.settings.adjacency)


def shares_of(modalities: list[str], visual: float) -> list[float]:
    """Return the shares of the modalities in the item graph, which sum to 1: ``visual`` for the one of that name."""
    others = len(modalities) - ("visual" in modalities)
    if not others or others == len(modalities):
        return [1 / len(modalities)] * len(modalities)
    return [visual if name == "visual" else (1 - visual) / others for name in modalities]


def degree_weights(users: Tensor, items: Tensor) -> Tensor:
    """Return weights [n] to draw edges by, 1/sqrt(N_u N_i): those between popular nodes are left out first."""
    return (torch.bincount(users)[users] * torch.bincount(items)[items]).to(torch.float32).rsqrt()


def drawn(weights: Tensor, count: int) -> Tensor:
    """Draw ``count`` of the edges, int64, without replacement by their weights [n].

    The order of exponential times of these rates is the order of such a draw (Efraimidis and Spirakis, 2006).
    """
    times = torch.empty_like(weights).exponential_() / weights
    return torch.topk(times, count, largest=False, sorted=False).indices
