"""Sparse propagation and nearest neighbours against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.data import graph
from mmssl_cli.data.graph import BipartiteGraph, cosine_topk, mean_and_layer
from mmssl_cli.sparse.products import sparse_csr
from tests.helpers.model_cases import array, toy_pairs, unit, weighted

USERS, ITEMS = 12, 9


def _graph(adjacency: str) -> tuple[BipartiteGraph, torch.Tensor, torch.Tensor]:
    """A graph and its dense weights, float32 [U, I] and [I, U]."""
    pairs = toy_pairs()
    matrix = np.zeros((USERS, ITEMS))
    matrix[pairs[:, 0], pairs[:, 1]] = 1
    shuffled = torch.from_numpy(np.random.default_rng(0).permutation(pairs))
    graph = BipartiteGraph.from_edges(shuffled[:, 0], shuffled[:, 1], USERS, ITEMS, adjacency)
    to_users, to_items = weighted(matrix, adjacency)
    return graph, torch.from_numpy(to_users).float(), torch.from_numpy(to_items).float()


@pytest.mark.parametrize("adjacency", ["sym", "left"])
def test_products_and_gradients_are_those_of_dense_matrices(adjacency: str) -> None:
    graph, to_users, to_items = _graph(adjacency)
    for product, matrix, size in ((graph.users_from, to_users, ITEMS), (graph.items_from, to_items, USERS)):
        given = torch.randn(size, 5, requires_grad=True)
        upstream = torch.randn(len(matrix), 5)
        found, expected = product(given), matrix @ given
        torch.testing.assert_close(found, expected)
        (gradient,) = torch.autograd.grad(found, given, upstream)
        (right,) = torch.autograd.grad(expected, given, upstream)
        torch.testing.assert_close(gradient, right)


@pytest.mark.parametrize("adjacency", ["sym", "left"])
def test_gradient_through_several_layers(adjacency: str) -> None:
    graph, to_users, to_items = _graph(adjacency)
    users, items = torch.randn(USERS, 4, requires_grad=True), torch.randn(ITEMS, 4, requires_grad=True)
    target = torch.randn(USERS, ITEMS)
    h_u, h_i = graph.propagate(users, items, 2)
    first = (to_users @ items, to_items @ users)
    second = (to_users @ first[1], to_items @ first[0])
    g_u, g_i = (users + first[0] + second[0]) / 3, (items + first[1] + second[1]) / 3
    torch.testing.assert_close((h_u, h_i), (g_u, g_i))
    found = torch.autograd.grad((target * (h_u @ h_i.T)).sum(), (users, items))
    right = torch.autograd.grad((target * (g_u @ g_i.T)).sum(), (users, items))
    torch.testing.assert_close(found, right)


@pytest.mark.parametrize(("layers", "layer"), [(0, 1), (1, 1), (2, 1), (2, 2), (1, 3), (3, 2), (0, 2)])
def test_a_layer_beside_the_mean_of_others(layers: int, layer: int) -> None:
    graph, to_users, to_items = _graph("left")
    users, items = torch.randn(USERS, 4, requires_grad=True), torch.randn(ITEMS, 4, requires_grad=True)
    given = users.detach().clone(), items.detach().clone()
    every = [(users, items)]
    for _ in range(max(layers, layer)):
        every.append((to_users @ every[-1][1], to_items @ every[-1][0]))
    means = tuple(torch.stack(side[: layers + 1]).mean(dim=0) for side in zip(*every, strict=True))
    found = mean_and_layer(graph, users, items, layers, layer)
    torch.testing.assert_close(found, (means, every[layer]))
    upstream = [torch.randn_like(one) for one in (*means, *every[layer])]
    gradients = torch.autograd.grad([*found[0], *found[1]], (users, items), upstream)
    right = torch.autograd.grad([*means, *every[layer]], (users, items), upstream)
    torch.testing.assert_close(gradients, right)
    assert torch.equal(users, given[0]) and torch.equal(items, given[1])  # nothing is written in place there


def test_gradients_that_are_no_contiguous_block_are_taken() -> None:
    graph, to_users, _ = _graph("sym")
    given = torch.randn(ITEMS, 4, requires_grad=True)
    graph.users_from(given).T.contiguous().sum().backward()
    expected = to_users.sum(dim=0).unsqueeze(1).expand(-1, 4)
    torch.testing.assert_close(given.grad, expected.contiguous())


def test_symmetric_weights_are_those_of_lightgcn_and_one_sided_ones_the_papers() -> None:
    users, items = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    sym = BipartiteGraph.from_edges(users, items, 2, 2, "sym")
    left = BipartiteGraph.from_edges(users, items, 2, 2, "left")
    root = 1 / np.sqrt(2)
    np.testing.assert_allclose(array(sym.to_users.matrix.to_dense()), [[root, 0.5], [0, root]], atol=1e-6)
    np.testing.assert_allclose(array(sym.to_items.matrix.to_dense()), [[root, 0], [0.5, root]], atol=1e-6)
    np.testing.assert_allclose(array(left.to_users.matrix.to_dense()), [[root, root], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(array(left.to_items.matrix.to_dense()), [[1, 0], [root, root]], atol=1e-6)


def test_sparse_matrix_from_entries_in_any_order() -> None:
    rows, columns, values = torch.tensor([2, 0, 2]), torch.tensor([3, 1, 0]), torch.tensor([1.0, 2.0, 3.0])
    assert sparse_csr(rows, columns, values, (4, 5)).to_dense().tolist() == [
        [0, 2, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [3, 0, 0, 1, 0],
        [0, 0, 0, 0, 0],
    ]


def test_under_autocast_products_stay_in_float32() -> None:
    graph, to_users, _ = _graph("left")
    given = torch.randn(ITEMS, 4).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = graph.users_from(given)
        found.sum().backward()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, to_users @ given.float())
    assert given.grad is not None and given.grad.dtype == torch.bfloat16
    torch.testing.assert_close(given.grad.float()[:, 0], to_users.sum(dim=0), atol=0.02, rtol=0.01)


@pytest.mark.parametrize("block", [1, 4, 100])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_cosine_topk_are_the_keys_of_largest_cosine(block: int, k: int) -> None:
    generator = torch.Generator().manual_seed(1)
    queries, keys = torch.randn(10, 4, generator=generator), torch.randn(7, 4, generator=generator)
    # Unequal lengths tell cosines from inner products.
    queries, keys = queries * torch.rand(10, 1, generator=generator), keys * 10 * torch.rand(7, 1, generator=generator)
    cosines = unit(array(queries)) @ unit(array(keys)).T

    found = cosine_topk(queries, keys, k, block_rows=block)

    assert found.shape == (10, k) and found.dtype == torch.int64
    for chosen, row in zip(found.tolist(), cosines, strict=True):
        largest = [item for item in np.argsort(-row)[:k].tolist() if row[item] > 0]
        assert sorted(chosen) == sorted([*largest, *[-1] * (k - len(largest))])


@pytest.mark.parametrize("equal", [False, True])
def test_among_many_keys_the_neighbours_are_those_of_a_whole_search_equal_ones_included(
    equal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "BLOCK_KEYS", 2500)
    monkeypatch.setattr("mmssl_cli.evaluation.topk.CHUNK", 4)
    generator = torch.Generator().manual_seed(2)
    queries, keys = torch.randn(30, 3, generator=generator), torch.randn(3000, 3, generator=generator)
    if equal:  # few directions: many cosines are equal
        queries, keys = (torch.randint(-2, 3, rows.shape, generator=generator).float() for rows in (queries, keys))
    found = cosine_topk(queries, keys, 7, block_rows=8)
    directions = torch.nn.functional.normalize(keys, dim=1).T.contiguous()
    cosines = torch.cat([block @ directions for block in queries.split(8)])
    values, indices = torch.topk(cosines, 7, dim=1, sorted=False)
    expected = torch.where(values > 0, indices, -1)
    assert torch.equal(found.sort(1).values, expected.sort(1).values)


def test_a_key_without_a_positive_cosine_is_no_neighbour() -> None:
    keys = torch.tensor([[-1.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    assert sorted(cosine_topk(torch.tensor([[5.0, 0.0]]), keys, 3)[0].tolist()) == [-1, -1, 2]
    assert cosine_topk(torch.zeros(1, 2), keys, 2).tolist() == [[-1, -1]]
    assert cosine_topk(torch.zeros(0, 2), keys, 2).shape == (0, 2)


@pytest.mark.parametrize("adjacency", ["sym", "left", "mean"])
def test_entries_that_pad_a_graph_have_no_effect(adjacency: str) -> None:
    users, items = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 3, 1, 0])
    graph = BipartiteGraph.from_edges(users, items, 4, 5, adjacency)
    more = torch.tensor([0, 1, 3, 3]), torch.tensor([1, 4, 2, 2])  # an edge again, nodes with edges, nodes without
    mask = torch.tensor([True] * 4 + [False] * 4)
    padded = BipartiteGraph.from_edges(torch.cat([users, more[0]]), torch.cat([items, more[1]]), 4, 5, adjacency, mask)
    of_users, of_items = torch.randn(4, 3), torch.randn(5, 3)
    torch.testing.assert_close(padded.users_from(of_items), graph.users_from(of_items))
    torch.testing.assert_close(padded.items_from(of_users), graph.items_from(of_users))
    assert len(padded.to_users.matrix.values()) == len(padded.to_items.matrix.values()) == 8


def test_each_item_is_joined_to_its_nearest_and_absent_ones_to_none() -> None:
    from mmssl_cli.data.graph import ItemGraph, nearest_items, symmetric_weights

    random = np.random.default_rng(5)
    features = random.normal(size=(8, 4))
    present = np.array([True] * 7 + [False])
    unit = features / np.linalg.norm(features, axis=1, keepdims=True) * present[:, None]
    adjacency = np.zeros((8, 8))
    for item in range(8):
        cosines = unit @ unit[item]
        for other in np.argsort(-cosines)[:3]:
            if cosines[other] > 0:
                adjacency[item, other] = cosines[other]
    rows, columns, cosines = nearest_items(torch.from_numpy(features), 3, torch.from_numpy(present))
    found = np.zeros((8, 8))
    found[rows, columns] = cosines
    np.testing.assert_allclose(found, adjacency, atol=1e-9)

    sums = adjacency.sum(axis=1)
    scale = np.where(sums > 0, 1 / np.sqrt(np.where(sums > 0, sums, 1)), 1)
    weights = symmetric_weights(rows, columns, cosines, 8)
    graph = ItemGraph.from_edges(rows, columns, weights.float(), 8)
    items = random.normal(size=(8, 2)).astype(np.float32)
    expected = scale[:, None] * adjacency * scale
    propagated = graph.propagate(torch.from_numpy(items), 2)
    np.testing.assert_allclose(propagated.numpy(), expected @ (expected @ items), atol=1e-5)
