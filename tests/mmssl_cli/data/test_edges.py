"""Products and sums over weighted edges against dense matrices, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.data.edges import EdgeGraph, edge_softmax
from tests.helpers.model_cases import array, dense, toy_data

DATA = toy_data()
GRAPH = EdgeGraph.from_csr(DATA.train, DATA.num_items)
MASK = torch.from_numpy(dense(DATA.train, DATA.num_items)).bool()


def _given() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Users, items and weights of edges, random, with gradients wanted."""
    generator = torch.Generator().manual_seed(3)
    sizes = ((DATA.num_users, 5), (DATA.num_items, 5), (len(GRAPH.users),))
    users, items, weights = (torch.randn(size, generator=generator, requires_grad=True) for size in sizes)
    return users, items, weights


def _spread(weights: torch.Tensor) -> torch.Tensor:
    """Weights of edges as a dense matrix [U, I]."""
    return torch.zeros(MASK.shape).masked_scatter(MASK, weights)


def test_products_along_edges_are_entries_of_the_dense_product() -> None:
    users, items, weights = _given()
    found, expected = GRAPH.products(users, items), (users @ items.T)[MASK]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad((found * weights).sum(), (users, items)),
        torch.autograd.grad((expected * weights).sum(), (users, items)),
    )


@pytest.mark.parametrize("to_users", [True, False])
def test_weighted_sums_are_dense_products(to_users: bool) -> None:
    users, items, weights = _given()
    given, upstream = (items, users.detach()) if to_users else (users, items.detach())
    found = GRAPH.users_from(weights, items) if to_users else GRAPH.items_from(weights, users)
    expected = _spread(weights) @ items if to_users else _spread(weights).T @ users
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad((found * upstream).sum(), (given, weights)),
        torch.autograd.grad((expected * upstream).sum(), (given, weights)),
    )


@pytest.mark.parametrize("by_user", [True, False])
def test_the_softmax_runs_over_the_kept_edges_of_a_node(by_user: bool) -> None:
    scores = 5 * _given()[2].detach()
    kept = torch.arange(len(scores)) % 3 > 0
    kept[GRAPH.users == 1] = False
    kept[GRAPH.items == 2] = False
    found = GRAPH.softmax_by_user(scores, kept) if by_user else GRAPH.softmax_by_item(scores, kept)
    ends = (GRAPH.users if by_user else GRAPH.items).numpy()
    expected = np.zeros(len(scores))
    for edge in range(len(scores)):
        if kept[edge]:
            others = np.exp(array(scores)[(ends == ends[edge]) & kept.numpy()])
            expected[edge] = np.exp(array(scores)[edge]) / others.sum()
    np.testing.assert_allclose(array(found), expected, atol=1e-6)


def test_the_softmax_keeps_large_scores_and_the_gradients_of_nodes_without_edges_finite() -> None:
    scores = torch.tensor([1000.0, 999.0, -3.0], requires_grad=True)
    shares = edge_softmax(scores, torch.tensor([0, 0, 1]), 3, torch.tensor([True, True, False]))
    assert shares.tolist() == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0])
    (gradient,) = torch.autograd.grad(shares[0], scores)
    product = shares[0].item() * shares[1].item()
    assert gradient.tolist() == pytest.approx([product, -product, 0], rel=1e-4)


def test_under_autocast_sums_stay_in_float32() -> None:
    users, items, weights = _given()
    with torch.autocast("cpu", torch.bfloat16):
        found = GRAPH.users_from(weights, items.bfloat16())
        products = GRAPH.products(users, items)
    assert found.dtype == products.dtype == torch.float32
    torch.testing.assert_close(found, _spread(weights) @ items.bfloat16().float())
