"""Eq. 8 to 12, from the modality-aware views to the final embeddings, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.data.graph import BipartiteGraph
from mmssl_cli.models.mmssl.contrastive import cross_modal_contrast
from mmssl_cli.models.mmssl.encoder import ModalityAttention, fused_layer0, modality_graph
from mmssl_cli.models.mmssl.model import MMSSL
from tests.helpers.model_cases import MODALITIES, array, dense, features_of, toy_data, toy_model, unit, weighted

ADJACENCIES = pytest.mark.parametrize("adjacency", ["sym", "left"])


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values)
    return powers / powers.sum()


def _views(model: MMSSL) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Eq. 8 from ``neighbours``."""
    of_users, of_items = [], []
    for chosen in model.neighbours.numpy():
        matrix = np.zeros((model.num_users, model.num_items))
        for user, items in enumerate(chosen):
            matrix[user, items[items >= 0]] = 1
        to_users, to_items = weighted(matrix, model.settings.adjacency)
        of_users.append(to_users @ array(model.items))
        of_items.append(to_items @ array(model.users))
    return of_users, of_items


def _attended(layer: ModalityAttention, views: list[np.ndarray]) -> np.ndarray:
    """Eq. 9 and the mean over the modalities, a node, a modality and a head at a time."""
    query, key = array(layer.query), array(layer.key)
    nodes, dim = views[0].shape
    width = dim // layer.heads
    fused = np.zeros((nodes, dim))
    for node in range(nodes):
        for view in views:
            for head in range(layer.heads):
                part = slice(head * width, (head + 1) * width)
                asked = (view[node] @ query)[part]
                scores = np.array([asked @ (other[node] @ key)[part] / np.sqrt(width) for other in views])
                weights = _softmax(scores)
                fused[node, part] += sum(w * other[node, part] for w, other in zip(weights, views, strict=True))
    return fused / len(views)


def _propagated(model: MMSSL, matrix: np.ndarray, users: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, ...]:
    """Eq. 10, a layer at a time."""
    to_users, to_items = weighted(matrix, model.settings.adjacency)
    user_layers, item_layers = [users], [items]
    for _ in range(model.settings.layers):
        user_layers.append(to_users @ item_layers[-1])
        item_layers.append(to_items @ user_layers[-2])
    return np.mean(user_layers, axis=0), np.mean(item_layers, axis=0)


@ADJACENCIES
def test_eq8_views_gather_the_embeddings_of_the_modality_aware_neighbours(adjacency: str) -> None:
    model = toy_model(toy_data(), adjacency=adjacency)
    model.begin_epoch(1)
    found = model.views()
    for tensors, expected in zip(found, _views(model), strict=True):
        for tensor, rows in zip(tensors, expected, strict=True):
            np.testing.assert_allclose(array(tensor), rows, atol=1e-6)


def test_eq8_as_printed() -> None:
    neighbours = torch.tensor([[[0, 2], [2, 3], [0, 2]]])
    graph = modality_graph(neighbours[0], num_items=5, adjacency="left")
    users, items = torch.randn(3, 4), torch.randn(5, 4)
    torch.testing.assert_close(graph.users_from(items)[1], (items[2] + items[3]) / 2**0.5)
    torch.testing.assert_close(graph.items_from(users)[0], (users[0] + users[2]) / 2**0.5)
    torch.testing.assert_close(graph.items_from(users)[2], users.sum(dim=0) / 3**0.5)
    assert not graph.items_from(users)[[1, 4]].any()


@ADJACENCIES
def test_eq8_users_and_items_without_content_share_no_forced_neighbours(adjacency: str) -> None:
    half = {name: list(range(number, 40, 2)) for number, name in enumerate(MODALITIES)}
    data = toy_data(users=60, items=40, absent=half)
    model = toy_model(data, adjacency=adjacency)
    model.begin_epoch(1)
    found = model.views()
    for tensors, expected in zip(found, _views(model), strict=True):
        for tensor, rows in zip(tensors, expected, strict=True):
            np.testing.assert_allclose(array(tensor), rows, atol=1e-6)
    features = features_of(model, dense(data.train, 40))
    for modality, (users, items) in enumerate(features):
        empty_users, empty_items = (~np.asarray(rows).any(axis=1) for rows in (users, items))
        assert empty_users.sum() > 5 and empty_items.any()
        neighbours = model.neighbours[modality].numpy()
        assert (neighbours[empty_users] == -1).all()
        assert not np.isin(neighbours, np.flatnonzero(empty_items)).any()
        for user, row in enumerate(unit(users) @ unit(items).T):
            largest = np.argsort(-row)[:3]
            assert set(neighbours[user]) - {-1} == set(largest[row[largest] > 1e-6].tolist())
        assert not found[0][modality][empty_users].any() and not found[1][modality][empty_items].any()


def test_a_graph_with_fewer_neighbours_takes_the_place_of_another() -> None:
    graph = modality_graph(torch.tensor([[0, 2], [2, 3], [0, 2]]), num_items=5, adjacency="sym")
    fewer = modality_graph(torch.tensor([[4, -1], [-1, -1], [0, 4]]), num_items=5, adjacency="sym")
    graph.copy_(fewer)
    items = torch.randn(5, 4)
    torch.testing.assert_close(graph.users_from(items), fewer.users_from(items))
    torch.testing.assert_close(graph.users_from(items)[0], items[4] / 2**0.5)
    assert not graph.users_from(items)[1].any()


@pytest.mark.parametrize("modalities", [1, 2, 3])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_eq9_attention_over_the_modalities_for_each_head(modalities: int, heads: int) -> None:
    torch.manual_seed(0)
    layer = ModalityAttention(8, heads)
    with torch.no_grad():
        layer.query.mul_(3)
    views = torch.randn(modalities, 5, 8)

    np.testing.assert_allclose(array(layer(views)), _attended(layer, list(array(views))), atol=1e-5)


def test_eq9_heads_see_their_own_columns() -> None:
    torch.manual_seed(0)
    layer, views = ModalityAttention(8, 2), torch.randn(2, 5, 8)
    before = layer(views)
    with torch.no_grad():
        layer.query[:, :4].normal_()
    changed = (layer(views) != before).any(dim=0)
    assert changed.tolist() == [True] * 4 + [False] * 4


def test_eq10_layer_zero_adds_rows_of_length_eta() -> None:
    embeddings, fused = torch.randn(4, 6), torch.randn(4, 6)
    fused[1] = 0
    added = array(fused_layer0(embeddings, fused, 0.7)) - array(embeddings)
    np.testing.assert_allclose(added, 0.7 * unit(array(fused)), atol=1e-6)


@ADJACENCIES
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_eq10_propagation_is_the_mean_of_the_layers(adjacency: str, layers: int) -> None:
    model = toy_model(toy_data(), adjacency=adjacency, layers=layers)
    matrix = dense(toy_data().train, model.num_items)
    found = model.graph.propagate(model.users, model.items, layers)
    expected = _propagated(model, matrix, array(model.users), array(model.items))
    for tensor, rows in zip(found, expected, strict=True):
        np.testing.assert_allclose(array(tensor), rows, atol=1e-6)


@ADJACENCIES
def test_eq12_final_embeddings_from_views_to_features(adjacency: str) -> None:
    data = toy_data()
    model = toy_model(data, adjacency=adjacency, layers=2, eta=0.8, omega=0.3).eval()
    model.begin_epoch(1)
    matrix = dense(data.train, data.num_items)
    user_views, item_views = _views(model)
    users = array(model.users) + 0.8 * unit(_attended(model.attention, user_views))
    items = array(model.items) + 0.8 * unit(_attended(model.attention, item_views))
    users, items = _propagated(model, matrix, users, items)
    for of_users, of_items in features_of(model, matrix):
        users, items = users + 0.3 * unit(of_users), items + 0.3 * unit(of_items)

    found_users, found_items = model.represent()

    np.testing.assert_allclose(array(found_users), users, atol=1e-5)
    np.testing.assert_allclose(array(found_items), items, atol=1e-5)


def _contrast(h: np.ndarray, views: list[np.ndarray], temperature: float) -> float:
    """Eq. 11, a sum at a time; the mean over the users, with the minus of a loss."""

    def s(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / (temperature * np.sqrt(one @ one) * np.sqrt(other @ other)))

    total = 0.0
    for e in views:
        for u in range(len(h)):
            below = sum(np.exp(s(h[v], e[u])) + np.exp(s(e[v], e[u])) for v in range(len(h)))
            total -= np.log(np.exp(s(h[u], e[u])) / below)
    return total / len(h)


def _random_views(seed: int, rows: int = 7) -> tuple[torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    final, *views = torch.randn(3, rows, 5, generator=generator, dtype=torch.float64)
    return final.clone().requires_grad_(), [view.clone().requires_grad_() for view in views]


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_eq11_contrast(temperature: float) -> None:
    final, views = _random_views(0)
    found = cross_modal_contrast(final, views, temperature)
    assert found.item() == pytest.approx(_contrast(array(final), [array(v) for v in views], temperature), rel=1e-9)


@pytest.mark.parametrize("block", [1, 3, 6])
def test_eq11_blocks_of_users_change_neither_value_nor_gradient(block: int) -> None:
    final, views = _random_views(1)
    whole = cross_modal_contrast(final, views, 0.5)
    expected = torch.autograd.grad(whole, [final, *views])

    parts = cross_modal_contrast(final, views, 0.5, block_rows=block)

    torch.testing.assert_close(parts, whole)
    for gradient, right in zip(torch.autograd.grad(parts, [final, *views]), expected, strict=True):
        torch.testing.assert_close(gradient, right)


def test_eq11_gradient_is_that_of_finite_differences() -> None:
    final, views = _random_views(2, rows=3)
    assert torch.autograd.gradcheck(lambda h, a, b: cross_modal_contrast(h, [a, b], 0.5, block_rows=2), [final, *views])


def test_eq11_adds_exponentials_in_float32_under_bfloat16() -> None:
    rows = torch.zeros(300, 4)
    rows[:, 0] = 1  # every cosine is 1: each user's loss is log(2 x 300)
    with torch.autocast("cpu", torch.bfloat16):
        found = cross_modal_contrast(rows, [rows], 0.5)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(np.log(600), abs=1e-4)


def test_eq11_of_all_users_is_that_of_a_batch_of_everyone() -> None:
    from tests.helpers.model_cases import toy_batch

    data = toy_data()
    batch = toy_batch(data)
    for users, rows in (("all", range(data.num_users)), ("batch", sorted(set(batch.users.tolist())))):
        model = toy_model(data, contrast_users=users, contrast_weight=0.25, contrast_temperature=0.4)
        model.begin_epoch(1)
        views = [view[list(rows)] for view in _views(model)[0]]
        expected = 0.25 * _contrast(array(model.represent()[0])[list(rows)], views, 0.4)
        assert model.training_step(batch)["contrast"].item() == pytest.approx(expected, rel=1e-5)


def test_the_graph_of_a_node_without_edges_gives_zeros() -> None:
    graph = BipartiteGraph.from_edges(torch.tensor([0]), torch.tensor([1]), 2, 3, "left")
    assert graph.users_from(torch.ones(3, 2)).tolist() == [[1, 1], [0, 0]]
    assert graph.items_from(torch.ones(2, 2)).tolist() == [[0, 0], [1, 1], [0, 0]]
