"""Graphs between users and items and among items: normalised sparse matrices and propagation over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from mmssl_cli.evaluation.topk import topk
from mmssl_cli.sparse.products import SparseMatrix, product_in_float32, transpose_order, with_values

#: Rows, columns (int64 [n] each) and weights (float [n]) of a graph's edges.
Edges = tuple[Tensor, Tensor, Tensor]
#: Values of users [U, n] and of items [I, n].
Sides = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class BipartiteGraph:
    """A weighted graph between users and items.

    Attributes:
        to_users: [U, I], weights of messages from items to users.
        to_items: [I, U], weights of messages from users to items.
    """

    to_users: SparseMatrix
    to_items: SparseMatrix

    @classmethod
    def from_edges(
        cls,
        users: Tensor,
        items: Tensor,
        num_users: int,
        num_items: int,
        adjacency: str,
        mask: Tensor | None = None,
    ) -> BipartiteGraph:
        """Build from edges (int64 [n] each, every edge once).

        ``adjacency`` is ``left`` (Eq. 2, 8, 10 as printed: 1/sqrt(N) of the receiving node), ``mean`` or ``mean-self``
        (1/N of it; the model adds the loops) or ``sym`` (1/sqrt(N_u N_i), LightGCN's). A node without edges receives
        zeros. Where ``mask`` (bool [n]) is False an entry only pads the matrices: it counts in no degree, has weight
        0, and may repeat an edge.
        """
        shape = (num_users, num_items)

        def scale(ends: Tensor, count: int) -> Tensor:
            degrees = torch.bincount(ends if mask is None else ends[mask], minlength=count)
            scales = degrees.clamp(min=1).to(torch.float32).rsqrt()[ends]
            return scales if mask is None else scales * mask

        by_user, by_item = scale(users, num_users), scale(items, num_items)
        if adjacency == "sym":
            to_users = SparseMatrix.from_entries(users, items, by_user * by_item, shape)
            return cls(to_users, SparseMatrix(to_users.transpose, to_users.matrix))
        if adjacency in ("mean", "mean-self"):
            by_user, by_item = by_user.square(), by_item.square()
        return cls(
            SparseMatrix.from_entries(users, items, by_user, shape),
            SparseMatrix.from_entries(items, users, by_item, shape[::-1]),
        )

    def copy_(self, other: BipartiteGraph) -> None:
        """Copy the edges and weights of another graph of as many edges into this one's storage."""
        self.to_users.copy_(other.to_users)
        self.to_items.copy_(other.to_items)

    def users_from(self, items: Tensor) -> Tensor:
        """Return messages [U, d] from items [I, d] to users."""
        return self.to_users @ items

    def items_from(self, users: Tensor) -> Tensor:
        """Return messages [I, d] from users [U, d] to items."""
        return self.to_items @ users

    def propagate(self, users: Tensor, items: Tensor, layers: int) -> tuple[Tensor, Tensor]:
        """Eq. 10: ``layers`` layers of propagation; the mean over the layers + 1 embeddings, [U, d] and [I, d]."""
        return mean_propagation([self] * layers, users, items)


class _MeanPropagation(torch.autograd.Function):
    """Mean over layers of linear propagation, and one layer. Being linear it keeps no other, and adds up in place."""

    @staticmethod
    def forward(
        ctx: Any, graphs: Sequence[BipartiteGraph], last: int, kept: int, users: Tensor, items: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.graphs, ctx.last, ctx.kept = graphs, last, kept
        sums = _Sides(users.float(), items.float())
        now, layer = sums, None
        for number, graph in enumerate(graphs, 1):
            after = _Sides(
                product_in_float32(graph.to_users.matrix, now.items),
                product_in_float32(graph.to_items.matrix, now.users),
                owned=number != kept,
            )
            if 1 < number <= last + 1:
                sums = sums.plus(now)
            now, layer = after, after if number == kept else layer
        if 1 <= len(graphs) <= last:
            sums = sums.plus(now)
        mean = sums.divided_by(last + 1)
        return mean.users, mean.items, *((layer.users, layer.items) if layer is not None else ())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None, Tensor, Tensor]:
        of_mean = _Sides(gradients[0], gradients[1])
        of_layer = _Sides(gradients[2], gradients[3]) if ctx.kept else None
        at: _Sides | None = None
        for number in range(len(ctx.graphs), -1, -1):
            if number <= ctx.last:
                at = of_mean if at is None else at.plus(of_mean)
            if of_layer is not None and number == ctx.kept:  # what follows is divided in the end
                at = of_layer.times(ctx.last + 1) if at is None else at.plus(of_layer, ctx.last + 1)
            if number and at is not None:
                graph = ctx.graphs[number - 1]
                to_items = product_in_float32(graph.to_users.transpose, at.users)
                to_users = product_in_float32(graph.to_items.transpose, at.items)
                at = _Sides(to_users, to_items, owned=True)
        assert at is not None  # layer 0 is in the mean
        at = at.divided_by(ctx.last + 1)
        return None, None, None, at.users, at.items


@dataclass(frozen=True)
class _Sides:
    """Users [U, d] and items [I, d]; written in place where they are ``owned``, as nothing else reads them."""

    users: Tensor
    items: Tensor
    owned: bool = False

    def plus(self, other: _Sides, factor: float = 1) -> _Sides:
        """Return this one plus another one times a factor."""
        if self.owned:
            return _Sides(self.users.add_(other.users, alpha=factor), self.items.add_(other.items, alpha=factor), True)
        if other.owned and factor == 1:
            return other.plus(self)
        users = torch.add(self.users, other.users, alpha=factor)
        return _Sides(users, torch.add(self.items, other.items, alpha=factor), True)

    def times(self, factor: float) -> _Sides:
        return _Sides(self.users * factor, self.items * factor, True)

    def divided_by(self, count: int) -> _Sides:
        if self.owned:
            return _Sides(self.users.div_(count), self.items.div_(count), True)
        return _Sides(self.users / count, self.items / count, True)


def mean_propagation(graphs: Sequence[BipartiteGraph], users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over layer 0 and one layer of linear propagation a graph, float32 [U, d] and [I, d]."""
    mean: tuple[Tensor, Tensor] = _MeanPropagation.apply(graphs, len(graphs), 0, users, items)
    return mean


def mean_and_layer(
    graph: BipartiteGraph, users: Tensor, items: Tensor, layers: int, layer: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the mean over layers 0 to ``layers`` of linear propagation, and one ``layer`` from 1 on."""
    found = _MeanPropagation.apply([graph] * max(layers, layer), layers, layer, users, items)
    return found[:2], found[2:]


def mean_of_layers(layers: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the mean over layers of users [U, d] and items [I, d]."""
    users, items = (reduce(torch.add, embeddings) for embeddings in zip(*layers, strict=True))
    return users / len(layers), items / len(layers)


class EdgeDropout:
    """Random copies of a graph without a share of its edges, in both directions independently.

    The weights that stay grow by 1 / (1 - share), so that what a node receives keeps its mean; nodes are not
    normalised anew. A copy costs little, for no edge is sorted again.
    """

    def __init__(self, graph: BipartiteGraph) -> None:
        self.graph = graph
        self.orders = [transpose_order(sparse.matrix) for sparse in (graph.to_users, graph.to_items)]

    def draw(self, share: float) -> BipartiteGraph:
        """Return the graph without each edge with probability ``share``; the graph itself if that is 0."""
        if not share:
            return self.graph
        drawn = []
        for sparse, order in zip((self.graph.to_users, self.graph.to_items), self.orders, strict=True):
            values = torch.nn.functional.dropout(sparse.matrix.values(), share)
            drawn.append(SparseMatrix(with_values(sparse.matrix, values), with_values(sparse.transpose, values[order])))
        return BipartiteGraph(*drawn)


class ItemGraph(SparseMatrix):
    """A weighted graph among items: [I, I], weights of messages to the row from the columns."""

    @classmethod
    def from_edges(cls, rows: Tensor, columns: Tensor, weights: Tensor, num_items: int) -> ItemGraph:
        """Build from edges (int64 [n] each, every edge once) and their weights [n]."""
        return cls.from_entries(rows, columns, weights, (num_items, num_items))

    @classmethod
    def mixed(cls, parts: Sequence[Edges], shares: Sequence[float], num_items: int) -> ItemGraph:
        """Build the sum of graphs given by their edges, each times its share."""
        rows = torch.cat([part[0] for part in parts])
        columns = torch.cat([part[1] for part in parts])
        weights = torch.cat([part[2] * share for part, share in zip(parts, shares, strict=True)])
        return cls.from_edges(*merged_edges(rows, columns, weights, num_items), num_items)

    def propagate(self, items: Tensor, layers: int = 1) -> Tensor:
        """Return items [I, d] after ``layers`` layers of linear propagation."""
        for _ in range(layers):
            items = self @ items
        return items


def nearest_items(features: Tensor, k: int, present: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Find the edges from each item to the ``k`` items of largest cosine, itself included, block by block.

    Args:
        features: [I, dim].
        k: neighbours an item.
        present: bool [I]; items without content neither have neighbours nor are any.

    Returns:
        Rows, columns (int64 [n] each) and cosines (float [n]) of the edges, without those of cosine 0 or below.
    """
    rows = torch.nn.functional.normalize(features, dim=1)
    if present is not None:
        rows = rows * present.unsqueeze(1)
    columns = cosine_topk(rows, rows, min(k, len(rows)))
    anchors = torch.arange(len(rows), device=rows.device).unsqueeze(1).expand_as(columns)
    size = max(1, BLOCK_ELEMENTS // (columns.shape[1] * rows.shape[1]))
    blocks = zip(rows.split(size), columns.split(size), strict=True)
    cosines = torch.cat([(rows[nearest] * block.unsqueeze(1)).sum(2) for block, nearest in blocks])
    kept = (columns >= 0) & (cosines > 0)
    return anchors[kept], columns[kept], cosines[kept]


def merged_edges(rows: Tensor, columns: Tensor, weights: Tensor, num_items: int) -> Edges:
    """Merge edges [n] that occur more than once into one edge of summed weight."""
    keys, inverse = torch.unique(rows * num_items + columns, return_inverse=True)
    return keys // num_items, keys % num_items, weights.new_zeros(len(keys)).index_add(0, inverse, weights)


def symmetric_weights(rows: Tensor, columns: Tensor, weights: Tensor, num_items: int) -> Tensor:
    """Return the weights of edges [n] in D^-1/2 A D^-1/2, D the row sums of A."""
    sums = weights.new_zeros(num_items).index_add(0, rows, weights)
    scale = torch.where(sums > 0, sums, torch.ones_like(sums)).rsqrt()
    return weights * scale[rows] * scale[columns]


#: Elements of a block of cosines that is searched for the nearest, and the most keys in one.
BLOCK_ELEMENTS, BLOCK_KEYS = 2**24, 2**16


@torch.no_grad()
def cosine_topk(queries: Tensor, keys: Tensor, k: int, block_rows: int | None = None) -> Tensor:
    """Eq. 3 and the neighbours of Eq. 8: each query's ``k`` keys of largest positive cosine, block by block.

    Args:
        queries: [n, d]; keys: [m, d]; a zero row has cosine 0 with everything, and is no neighbour of anything.
        k: neighbours a query, at most m.
        block_rows: queries compared at once; by default 2048, or fewer that keep a block to ``BLOCK_ELEMENTS``.

    Returns:
        int64 [n, k], -1 in the places of a query with fewer than ``k`` positive cosines; the n x m matrix never exists
        whole.
    """
    width = min(BLOCK_KEYS, len(keys))
    block_rows = min(block_rows or min(2048, max(1, BLOCK_ELEMENTS // width)), len(queries))
    keys = torch.nn.functional.normalize(keys, dim=1).T.contiguous()
    memory = queries.new_empty(block_rows * width)  # one for all blocks: new pages cost as much as half of a product
    # A positive factor a row does not change its order, so that queries need no normalisation.
    return torch.cat([_nearest(block, keys, k, memory) for block in queries.split(max(1, block_rows))])


def _nearest(queries: Tensor, keys: Tensor, k: int, memory: Tensor) -> Tensor:
    """Columns of ``keys`` [d, m] of the ``k`` largest positive products with each query [b, d], int64 [b, k] or -1."""
    most = min(k + 1, keys.shape[1])  # one more tells whether the last ties with one that is left out
    parts = []
    for start in range(0, keys.shape[1], BLOCK_KEYS):
        block = keys[:, start : start + BLOCK_KEYS]
        products = memory[: len(queries) * block.shape[1]].view(len(queries), block.shape[1])
        values, columns = topk(torch.mm(queries, block, out=products), min(most, block.shape[1]))
        parts.append((values, columns + start))
    values, columns = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
    if len(parts) > 1:
        values, at = torch.topk(values, most, dim=1)
        columns = columns.gather(1, at)
    if most > k:
        tied = ((values[:, k - 1] == values[:, k]) & (values[:, k] > 0)).nonzero().squeeze(1)
        for rows in tied.split(max(1, BLOCK_ELEMENTS // keys.shape[1])):  # of equal ones, those of a search of all
            columns[rows, :k] = torch.topk(queries[rows] @ keys, k, dim=1, sorted=False).indices
    return torch.where(values[:, :k] > 0, columns[:, :k], -1)
