"""A bipartite graph whose edge weights are given at each use, with gradients to weights and nodes.

No array of edges x columns is made: products along edges and sums over them are those of sparse CSR matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmssl_cli.sparse.csr import CSR, row_starts
from mmssl_cli.sparse.products import product_in_float32


@dataclass(frozen=True)
class EdgeGraph:
    """Edges between users and items, in the order of a CSR matrix; a value an edge is a tensor [n] in that order.

    Attributes:
        users, items: int64 [n], the ends of each edge, by user and then by item.
        user_starts: int64 [U + 1], where each user's edges start.
        item_starts: int64 [I + 1], where each item's edges start in the order ``by_item``.
        by_item: int64 [n], the edges by item and then by user.
        users_by_item: int64 [n], the users of the edges in the order ``by_item``.
        pattern: float32 CSR [U, I], 0 at each edge.
    """

    users: Tensor
    items: Tensor
    user_starts: Tensor
    item_starts: Tensor
    by_item: Tensor
    users_by_item: Tensor
    pattern: Tensor

    @classmethod
    def from_csr(cls, matrix: CSR, num_items: int) -> EdgeGraph:
        """Build from a 0/1 matrix between users (rows) and items."""
        item_starts = row_starts(torch.bincount(matrix.indices, minlength=num_items))
        by_item = torch.argsort(matrix.indices, stable=True)
        users, zeros = matrix.row_of_each(), torch.zeros(len(matrix), device=matrix.indices.device)
        shape = (matrix.num_rows, num_items)
        pattern = torch.sparse_csr_tensor(matrix.indptr, matrix.indices, zeros, shape, check_invariants=False)
        return cls(users, matrix.indices, matrix.indptr, item_starts, by_item, users[by_item], pattern)

    def products(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the inner product of both ends of each edge, float32 [n], from users [U, d] and items [I, d]."""
        product: Tensor = _EdgeProducts.apply(self, users.float(), items.float())
        return product

    def users_from(self, weights: Tensor, items: Tensor) -> Tensor:
        """Return messages [U, d] from items [I, d] to users over edges of these weights [n]."""
        received: Tensor = _WeightedSum.apply(self, weights.float(), items.float(), True)
        return received

    def items_from(self, weights: Tensor, users: Tensor) -> Tensor:
        """Return messages [I, d] from users [U, d] to items over edges of these weights [n]."""
        received: Tensor = _WeightedSum.apply(self, weights.float(), users.float(), False)
        return received

    def softmax_by_user(self, scores: Tensor, kept: Tensor) -> Tensor:
        """Return the softmax of scores [n] over each user's edges; 0 at edges that are not ``kept`` (bool [n])."""
        return edge_softmax(scores, self.users, self.pattern.shape[0], kept)

    def softmax_by_item(self, scores: Tensor, kept: Tensor) -> Tensor:
        """Return the softmax of scores [n] over each item's edges; 0 at edges that are not ``kept`` (bool [n])."""
        return edge_softmax(scores, self.items, self.pattern.shape[1], kept)

    def to_users(self, values: Tensor) -> Tensor:
        """Return values of edges [n] as a sparse CSR matrix [U, I]."""
        return torch.sparse_csr_tensor(self.user_starts, self.items, values, self.pattern.shape, check_invariants=False)

    def to_items(self, values: Tensor) -> Tensor:
        """Return values of edges [n] as a sparse CSR matrix [I, U]."""
        starts, users, shape = self.item_starts, self.users_by_item, self.pattern.shape[::-1]
        return torch.sparse_csr_tensor(starts, users, values[self.by_item], shape, check_invariants=False)


def edge_softmax(scores: Tensor, ends: Tensor, num_ends: int, kept: Tensor) -> Tensor:
    """Return the softmax of scores [n] over the edges that share an end (int64 [n]); 0 where ``kept`` is False."""
    scores = scores.masked_fill(~kept, -torch.inf)
    largest = scores.new_full((num_ends,), -torch.inf).scatter_reduce(0, ends, scores.detach(), "amax")
    largest = torch.where(largest.isfinite(), largest, torch.zeros_like(largest))
    powers = (scores - largest[ends]).exp()
    sums = powers.new_zeros(num_ends).index_add(0, ends, powers)
    return powers / torch.where(sums > 0, sums, torch.ones_like(sums))[ends]


def _products(graph: EdgeGraph, users: Tensor, items: Tensor) -> Tensor:
    return torch.sparse.sampled_addmm(graph.pattern, users.contiguous(), items.contiguous().T, beta=0.0).values()


class _EdgeProducts(torch.autograd.Function):
    """The entries of users @ items.T at the edges."""

    @staticmethod
    def forward(ctx: Any, graph: EdgeGraph, users: Tensor, items: Tensor) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(users, items)
        return _products(graph, users, items)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:
        users, items = ctx.saved_tensors
        (gradient,) = gradients
        of_users = product_in_float32(ctx.graph.to_users(gradient), items)
        return None, of_users, product_in_float32(ctx.graph.to_items(gradient), users)


class _WeightedSum(torch.autograd.Function):
    """The sum over a node's edges of weight x the other end."""

    @staticmethod
    def forward(ctx: Any, graph: EdgeGraph, weights: Tensor, given: Tensor, to_users: bool) -> Tensor:
        ctx.graph, ctx.to_users = graph, to_users
        ctx.save_for_backward(weights, given)
        return product_in_float32(graph.to_users(weights) if to_users else graph.to_items(weights), given)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor, None]:
        weights, given = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        if ctx.to_users:
            of_given = product_in_float32(ctx.graph.to_items(weights), gradient)
            return None, _products(ctx.graph, gradient, given), of_given, None
        of_given = product_in_float32(ctx.graph.to_users(weights), gradient)
        return None, _products(ctx.graph, given, gradient), of_given, None
