"""Embeddings without some of their elements, and graphs without some of their edges, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.data.graph import BipartiteGraph, EdgeDropout, mean_of_layers, mean_propagation
from mmssl_cli.models.dropout import dropout, dropout_mask
from tests.helpers.model_cases import array, toy_pairs

USERS, ITEMS = 12, 9


def _graph(adjacency: str) -> BipartiteGraph:
    pairs = torch.from_numpy(toy_pairs())
    return BipartiteGraph.from_edges(pairs[:, 0], pairs[:, 1], USERS, ITEMS, adjacency)


@pytest.mark.parametrize("adjacency", ["sym", "left"])
def test_edges_are_left_out_and_the_others_grow(adjacency: str) -> None:
    graph = _graph(adjacency)
    whole = [array(matrix.to_dense()) for matrix in (graph.to_users.matrix, graph.to_items.matrix)]
    dropout = EdgeDropout(graph)
    kept = np.zeros(2)
    for _ in range(50):
        drawn = dropout.draw(0.25)
        matrices = [array(matrix.to_dense()) for matrix in (drawn.to_users.matrix, drawn.to_items.matrix)]
        for side, (matrix, full) in enumerate(zip(matrices, whole, strict=True)):
            np.testing.assert_allclose(matrix, np.where(matrix > 0, full / 0.75, 0), rtol=1e-6)
            kept[side] += (matrix > 0).sum() / (full > 0).sum() / 50
        transposes = [array(matrix.to_dense()) for matrix in (drawn.to_users.transpose, drawn.to_items.transpose)]
        assert all(np.array_equal(t, matrix.T) for t, matrix in zip(transposes, matrices, strict=True))
        assert not np.array_equal(matrices[0] > 0, matrices[1].T > 0)
    np.testing.assert_allclose(kept, 0.75, atol=0.06)


def test_gradients_go_through_the_edges_that_are_left() -> None:
    drawn = EdgeDropout(_graph("left")).draw(0.5)
    given, upstream = torch.randn(ITEMS, 3, requires_grad=True), torch.randn(USERS, 3)
    (gradient,) = torch.autograd.grad(drawn.users_from(given), given, upstream)
    torch.testing.assert_close(gradient, drawn.to_users.matrix.to_dense().T @ upstream)


def test_nothing_is_left_out_of_a_share_of_nothing() -> None:
    graph = _graph("sym")
    assert EdgeDropout(graph).draw(0.0) is graph


def test_each_layer_has_its_own_graph() -> None:
    graphs = [EdgeDropout(_graph("sym")).draw(0.4) for _ in range(2)]
    users, items = torch.randn(USERS, 3), torch.randn(ITEMS, 3)
    first = graphs[0].to_users.matrix.to_dense() @ items, graphs[0].to_items.matrix.to_dense() @ users
    second = graphs[1].to_users.matrix.to_dense() @ first[1], graphs[1].to_items.matrix.to_dense() @ first[0]
    expected = (users + first[0] + second[0]) / 3, (items + first[1] + second[1]) / 3
    torch.testing.assert_close(mean_propagation(graphs, users, items), expected)
    torch.testing.assert_close(mean_of_layers([(users, items), first, second]), expected)


@pytest.mark.parametrize("share", [0.1, 0.75])
def test_dropout_of_elements(share: float) -> None:
    values = torch.randn(200, 40, requires_grad=True)
    left = dropout(values, share)
    kept = left != 0
    torch.testing.assert_close(left, torch.where(kept, values / (1 - share), 0))
    assert kept.double().mean().item() == pytest.approx(1 - share, abs=0.03)
    (gradient,) = torch.autograd.grad(left.sum(), values)
    torch.testing.assert_close(gradient, kept / (1 - share))
    assert dropout(values.bfloat16(), share).dtype == torch.bfloat16
    assert dropout(values, share, False) is values and dropout(values, 0.0) is values


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999999])
def test_a_mask_leaves_out_its_share_in_every_column(share: float) -> None:
    kept = dropout_mask(20001, 7, share, torch.device("cpu"))
    assert kept.shape == (20001, 7) and kept.dtype == torch.bool
    np.testing.assert_allclose(kept.double().mean(dim=0), 1 - share, atol=0.02)
    pairs = (kept[:, :-1] & kept[:, 1:]).double().mean(dim=0)  # elements of one draw are independent
    np.testing.assert_allclose(pairs, (1 - share) ** 2, atol=0.02)
