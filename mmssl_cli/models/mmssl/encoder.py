"""Modality-aware views and their fusion: Eq. 8 and 9, and layer 0 of Eq. 10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from mmssl_cli.data.edges import EdgeGraph
from mmssl_cli.data.graph import BipartiteGraph
from mmssl_cli.sparse.csr import CSR

#: Nodes whose attention is worked out at once: it takes eight times the room of what it returns.
BLOCK_NODES = 2**17


def modality_graph(neighbours: Tensor, num_items: int, adjacency: str) -> BipartiteGraph:
    """Eq. 8: the graph of one modality from each user's nearest items, int64 [U, k]; -1 is none."""
    num_users, k = neighbours.shape
    users = torch.arange(num_users, device=neighbours.device).repeat_interleave(k)
    items = neighbours.reshape(-1)
    mask = items >= 0
    # As many entries in each graph, so that one can take the place of another; those of no edge are spread evenly.
    padded = torch.where(mask, items, torch.arange(len(items), device=items.device) % num_items)
    return BipartiteGraph.from_edges(users, padded, num_users, num_items, adjacency, mask)


@dataclass(frozen=True)
class WeightedGraph:
    """The graph of one modality (Eq. 8) whose edges also have the weight of their generated relation (Eq. 3).

    Attributes:
        edges: each user's nearest items.
        to_users, to_items: the adjacency's weights of the edges, [n] each.
    """

    edges: EdgeGraph
    to_users: Tensor
    to_items: Tensor

    @classmethod
    def from_neighbours(cls, neighbours: Tensor, num_items: int, adjacency: str) -> WeightedGraph:
        """Build from each user's nearest items, int64 [U, k]; -1 is none."""
        users, places = torch.nonzero(neighbours >= 0, as_tuple=True)
        items = neighbours[users, places]
        graph = BipartiteGraph.from_edges(users, items, len(neighbours), num_items, adjacency)
        to_users, to_items = graph.to_users.matrix, graph.to_items.transpose  # both by user, then by item
        edges = EdgeGraph.from_csr(CSR(to_users.crow_indices(), to_users.col_indices()), num_items)
        return cls(edges, to_users.values(), to_items.values())

    def relations(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the cosine of the features f_u [U, d] and f_i [I, d] at each edge, [n], with gradient."""
        return self.edges.products(normalize(users, dim=1), normalize(items, dim=1))

    def users_from(self, relations: Tensor, items: Tensor) -> Tensor:
        """Return messages [U, d] from items [I, d] to users over edges of these relations [n]."""
        return self.edges.users_from(relations * self.to_users, items)

    def items_from(self, relations: Tensor, users: Tensor) -> Tensor:
        """Return messages [I, d] from users [U, d] to items over edges of these relations [n]."""
        return self.edges.items_from(relations * self.to_items, users)


class ModalityAttention(nn.Module):
    """Multi-head attention across the modalities of one node, then their mean (Eq. 9).

    The softmax runs over the other modality m' for each head; a head weighs its own d/H columns of the values, which
    are not projected; the heads are concatenated.
    """

    def __init__(self, embedding_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(nn.init.xavier_uniform_(torch.empty(embedding_dim, embedding_dim)))
        self.key = nn.Parameter(nn.init.xavier_uniform_(torch.empty(embedding_dim, embedding_dim)))

    def forward(self, views: Tensor) -> Tensor:
        """Fuse views [M, N, d] into [N, d]; many nodes in blocks, which are recomputed in the backward pass."""
        if views.shape[1] <= BLOCK_NODES:
            return self._fused(views)
        blocks = views.split(BLOCK_NODES, dim=1)
        # Nothing in it is random.
        kept: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
        return torch.cat([checkpoint(self._fused, block, **kept) for block in blocks])

    def _fused(self, views: Tensor) -> Tensor:
        m, n, d = views.shape
        split = (m, n, self.heads, d // self.heads)
        queries, keys = (views @ self.query).view(split), (views @ self.key).view(split)
        # M is two or three: sums of elementwise products beat many tiny matrix products.
        scores = torch.stack([(query * keys).sum(dim=3) for query in queries]) / split[3] ** 0.5
        # The mean over m of the attended values is the values under the mean of the weights.
        weights = scores.softmax(dim=1).mean(dim=0)
        return (weights.unsqueeze(3) * views.view(split)).sum(dim=0).reshape(n, d)


def fused_layer0(embeddings: Tensor, fused: Tensor, eta: float) -> Tensor:
    """Eq. 10: E + eta x the row-normalised modality-aware embeddings, [N, d]."""
    return embeddings + eta * normalize(fused, dim=1)
