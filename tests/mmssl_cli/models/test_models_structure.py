"""Models that learn from graphs among items or contrast views of their content, against slow NumPy forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.data.graph import ItemGraph, merged_edges
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.content import content_graphs
from mmssl_cli.models.freedom import degree_weights, drawn, shares_of
from tests.helpers.model_cases import array, dense, toy_batch, toy_data, unit, weighted
from tests.helpers.structure_cases import (
    bpr,
    built,
    content,
    info_nce,
    l2_of_batch,
    lightgcn,
    nearest,
    normalised,
    sigmoid_of,
)

# The pieces


def test_a_batch_renumbered_is_the_same_triples() -> None:
    batch = toy_batch(toy_data())
    rows, users, items = batch.renumbered()
    assert users[rows.users].tolist() == batch.users.tolist()
    assert items[rows.positives].tolist() == batch.positives.tolist()
    assert items[rows.negatives].tolist() == batch.negatives.tolist()
    assert users[rows.distinct_users].tolist() == batch.distinct_users.tolist()
    assert len(set(items.tolist())) == len(items) == len({*batch.positives.tolist(), *batch.negatives.tolist()})


def test_edges_given_twice_are_summed() -> None:
    rows, columns = torch.tensor([2, 0, 2, 1]), torch.tensor([1, 2, 1, 1])
    found = merged_edges(rows, columns, torch.tensor([1.0, 2.0, 3.0, 4.0]), 3)
    assert [part.tolist() for part in found] == [[0, 1, 2], [2, 1, 1], [2.0, 4.0, 4.0]]


@pytest.mark.parametrize("binary", [False, True])
def test_content_graphs_and_their_mixture(binary: bool) -> None:
    data = toy_data()
    graphs = content_graphs(data, 3, weighted=not binary)
    expected = {name: nearest(array(rows), 3, binary) for name, rows in data.features.items()}
    assert not expected["visual"][[2, 5]].any() and not expected["visual"][:, [2, 5]].any()
    mixed = ItemGraph.mixed(list(graphs.values()), [0.3, 0.7], 9)
    both = 0.3 * expected["visual"] + 0.7 * expected["text"]
    np.testing.assert_allclose(mixed.matrix.to_dense(), both, atol=1e-6)
    np.testing.assert_allclose(mixed.transpose.to_dense(), both.T, atol=1e-6)


# FREEDOM


def test_freedom_represents_by_both_graphs() -> None:
    data = toy_data()
    model = built("freedom", data, layers=3, item_layers=2)
    users, items = lightgcn(array(model.users), array(model.items), dense(data.train, 9), 3)
    graphs = [nearest(array(data.features[name]), 3, binary=True) for name in ("visual", "text")]
    graph = 0.1 * graphs[0] + 0.9 * graphs[1]
    items = items + graph @ graph @ array(model.items)
    model.begin_epoch(1)  # what an epoch leaves out has no part in ranking
    found = model.represent()
    np.testing.assert_allclose(array(found[0]), users, atol=1e-6)
    np.testing.assert_allclose(array(found[1]), items, atol=1e-6)


def test_freedom_learns_on_the_pruned_graph_and_from_content(monkeypatch: pytest.MonkeyPatch) -> None:
    data, kept = toy_data(), torch.tensor([1, 4, 7, 9, 10])
    monkeypatch.setattr("mmssl_cli.models.freedom.drawn", lambda weights, count: kept[:count])
    total = len(data.train)
    model = built("freedom", data, edge_dropout=1 - 5 / total, feature_weight=0.3, l2_weight=0.2)
    model.begin_epoch(1)
    pruned = np.zeros((12, 9))
    pruned[data.train.row_of_each()[kept], data.train.indices[kept]] = 1
    users, items = lightgcn(array(model.users), array(model.items), pruned, 2)
    graphs = [nearest(array(data.features[name]), 3, binary=True) for name in ("visual", "text")]
    items = items + (0.1 * graphs[0] + 0.9 * graphs[1]) @ array(model.items)
    batch = toy_batch(data)
    of_content = 0.0
    for name, rows in content(model).items():
        losses = bpr(users, rows, batch)
        present = data.present[name].numpy()
        both = present[batch.positives] & present[batch.negatives]
        assert both.all() == (name == "text")
        of_content += np.where(both, losses, np.log(2)).mean()

    terms = model.training_step(batch)

    assert terms.keys() == {"bpr", "l2", "content"}
    assert terms["bpr"].item() == pytest.approx(bpr(users, items, batch).mean(), rel=1e-5)
    assert terms["content"].item() == pytest.approx(0.3 * of_content, rel=1e-5)
    assert built("freedom", data, feature_weight=0).training_step(batch).keys() == {"bpr"}


def test_freedom_leaves_out_edges_between_popular_nodes_first() -> None:
    users, items = torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 1, 2, 0, 0])
    weights = degree_weights(users, items)
    np.testing.assert_allclose(weights, 1 / np.sqrt([9, 3, 3, 3, 3]), rtol=1e-6)
    torch.manual_seed(0)
    first = torch.cat([drawn(weights, 1) for _ in range(4000)]).bincount(minlength=5) / 4000
    np.testing.assert_allclose(first, weights / weights.sum(), atol=0.03)
    assert sorted(drawn(weights, 5).tolist()) == [0, 1, 2, 3, 4]


def test_freedom_draws_the_given_share_anew_each_epoch() -> None:
    data = toy_data()
    model = built("freedom", data, edge_dropout=0.4)
    graphs = []
    for epoch in (1, 2, 3):
        model.begin_epoch(epoch)
        graphs.append(array(model.pruned.to_users.matrix.to_dense()))
    assert {int((graph > 0).sum()) for graph in graphs} == {round(0.6 * len(data.train))}
    assert any((graphs[0] != graph).any() for graph in graphs[1:])


def test_shares_sum_to_one() -> None:
    assert shares_of(["visual", "text"], 0.2) == [0.2, 0.8]
    assert shares_of(["acoustic", "visual", "text"], 0.2) == [0.4, 0.2, 0.4]
    assert shares_of(["visual"], 0.2) == [1.0] and shares_of(["text", "acoustic"], 0.2) == [0.5, 0.5]


# LATTICE


def lattice_graph(model: Any, data: InteractionData, shares: np.ndarray) -> np.ndarray:
    """The dense graph among items that an epoch begins with, [I, I]."""
    learnt, raw = np.zeros((9, 9)), np.zeros((9, 9))
    for share, (name, rows) in zip(shares, content(model).items(), strict=True):
        cosines = unit(rows) @ unit(rows).T
        for item in range(9):
            for other in np.argsort(-cosines[item])[:3]:
                learnt[item, other] += share * max(cosines[item, other], 0)
        raw += share * nearest(array(data.features[name]), 3)
    return 0.3 * normalised(learnt) + 0.7 * raw


def lattice_items(model: Any, data: InteractionData, graph: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if model.settings.adjacency == "sym":
        users, items = lightgcn(array(model.users), array(model.items), dense(data.train, 9), 2)
    else:  # (A + I) of all nodes, each row divided by its sum
        whole = np.eye(21)
        whole[:12, 12:] = dense(data.train, 9)
        whole[12:, :12] = dense(data.train, 9).T
        whole /= whole.sum(axis=1, keepdims=True)
        nodes = np.vstack([array(model.users), array(model.items)])
        mean = (nodes + whole @ nodes + whole @ whole @ nodes) / 3
        users, items = mean[:12], mean[12:]
    return users, items + unit(graph @ graph @ array(model.items))


@pytest.mark.parametrize(("adjacency", "l2_on"), [("mean-self", "final"), ("sym", "layer0")])
def test_lattice_represents_and_learns_by_the_mixed_graph(adjacency: str, l2_on: str) -> None:
    data = toy_data()
    model = built("lattice", data, skip_weight=0.7, item_layers=2, adjacency=adjacency, l2_on=l2_on, l2_weight=0.2)
    with torch.no_grad():
        model.modality_logits.copy_(torch.tensor([0.4, -0.1]))
    shares = np.exp([0.4, -0.1]) / np.exp([0.4, -0.1]).sum()
    model.begin_epoch(1)
    users, items = lattice_items(model, data, lattice_graph(model, data, shares))
    found = model.represent()
    np.testing.assert_allclose(array(found[0]), users, atol=1e-6)
    np.testing.assert_allclose(array(found[1]), items, atol=1e-5)
    batch = toy_batch(data)
    for _ in range(2):  # on the graph that is learnt, then on the fixed one
        terms = model.training_step(batch)
        assert terms["bpr"].item() == pytest.approx(bpr(users, items, batch).mean(), rel=1e-5)
        tables = (users, items) if l2_on == "final" else (array(model.users), array(model.items))
        assert terms["l2"].item() == pytest.approx(l2_of_batch(0.2, *tables, batch), rel=1e-5)


@pytest.mark.parametrize("ranking_graph", ["latest", "epoch"])
def test_lattice_ranks_on_the_graph_of_its_present_weights_or_of_the_epoch(ranking_graph: str) -> None:
    data = toy_data()
    model = built("lattice", data, skip_weight=0.7, item_layers=2, adjacency="sym", ranking_graph=ranking_graph)
    model.begin_epoch(1)
    kept, even = [buffer.clone() for buffer in model.buffers()], np.array([0.5, 0.5])
    of_epoch = lattice_graph(model, data, even)
    with torch.no_grad():
        for layer in model.content.layers.values():
            layer.weight.add_(torch.randn_like(layer.weight))
    latest = lattice_graph(model, data, even)
    assert not np.allclose(of_epoch, latest, atol=0.05)
    for _ in range(2):
        items = lattice_items(model, data, latest if ranking_graph == "latest" else of_epoch)[1]
        np.testing.assert_allclose(array(model.represent()[1]), items, atol=1e-5)
        np.testing.assert_allclose(array(model.embeddings()[1]), lattice_items(model, data, of_epoch)[1], atol=1e-5)
    assert all(map(torch.equal, kept, model.buffers()))  # ranking leaves the training as it is


def test_lattice_moves_its_graph_in_the_first_step_after_a_refresh_alone() -> None:
    data = toy_data()
    model = built("lattice", data, skip_weight=0.7, graph_refresh=2)
    parts = [model.modality_logits, *(layer.weight for layer in model.content.layers.values())]
    moved = []
    for epoch in (1, 2, 3):
        model.begin_epoch(epoch)
        for _ in range(2):
            model.zero_grad()
            model.training_step(toy_batch(data))["bpr"].backward()
            moved.append([part.grad is not None and bool(part.grad.abs().max() > 0) for part in parts])
            with torch.no_grad():
                for part in parts:
                    part.add_(0.1 * torch.randn_like(part))
    assert moved == [[True] * 3, [False] * 3, [False] * 3, [False] * 3, [True] * 3, [False] * 3]


def test_lattice_gradient_of_the_graph_is_that_of_finite_differences() -> None:
    data = toy_data()
    model = built("lattice", data, skip_weight=0.4, item_layers=1).double()
    model.content.raw = {name: rows.double() for name, rows in model.content.raw.items()}
    model.begin_epoch(1)
    batch, weight = toy_batch(data), model.content.layers["text"].weight

    def loss() -> torch.Tensor:
        latent = model._on_learnt_graph()
        return (latent[batch.positives] * latent[batch.negatives]).sum()

    (gradient,) = torch.autograd.grad(loss(), weight)
    for at in ((0, 0), (3, 2), (5, 4)):
        with torch.no_grad():
            values = []
            for step in (1e-5, -2e-5):
                weight[at] += step
                values.append(loss().item())
            weight[at] += 1e-5
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(gradient[at].item(), rel=1e-3, abs=1e-7)


# MGCN


def fused_content(model: Any, behaviour: np.ndarray, views: list[np.ndarray]) -> np.ndarray:
    """The fuser's mean of shared and preferred content, node by node."""
    fuser, nodes = model.fuser, []
    for node, own in enumerate(behaviour):
        scores = []
        for view in views:
            key = np.tanh(array(fuser.key.weight) @ view[node] + array(fuser.key.bias))
            scores.append(np.exp(array(fuser.query.weight)[0] @ key))
        shared = sum(score * view[node] for score, view in zip(scores, views, strict=True)) / sum(scores)
        parts = [shared]
        for gate, view in zip(fuser.preferences, views, strict=True):
            parts.append(sigmoid_of(gate, own) * (view[node] - shared))
        nodes.append(np.mean(parts, axis=0))
    return np.array(nodes)


@pytest.mark.parametrize("modalities", [{"text": 5}, {"visual": 7, "text": 5, "acoustic": 3}])
@pytest.mark.parametrize(("contrast_rows", "l2_on"), [("triples", "final"), ("distinct", "layer0")])
def test_mgcn_purifies_spreads_fuses_and_contrasts(modalities: dict[str, int], contrast_rows: str, l2_on: str) -> None:
    data = toy_data(modalities=modalities)
    form = {"item_layers": 2, "contrast_rows": contrast_rows, "l2_on": l2_on, "l2_weight": 0.2}
    model = built("mgcn", data, contrast_weight=0.3, contrast_temperature=0.4, **form)
    matrix, item_views = dense(data.train, 9), []
    behaviour = lightgcn(array(model.users), array(model.items), matrix, 2)
    for name, rows in content(model).items():
        graph = nearest(array(data.features[name]), 3)
        item_views.append(graph @ graph @ (array(model.items) * sigmoid_of(model.purifiers[name], rows)))
    user_views = [weighted(matrix, "sym")[0] @ view for view in item_views]
    sides = [fused_content(model, of, views) for of, views in zip(behaviour, (user_views, item_views), strict=True)]
    users, items = behaviour[0] + sides[0], behaviour[1] + sides[1]

    found = model.represent()
    np.testing.assert_allclose(array(found[0]), users, atol=1e-6)
    np.testing.assert_allclose(array(found[1]), items, atol=1e-6)
    batch = toy_batch(data)
    terms = model.training_step(batch)
    assert terms.keys() == {"bpr", "l2", "contrast"}
    assert terms["bpr"].item() == pytest.approx(bpr(users, items, batch).mean(), rel=1e-5)
    contrast = 0.0
    for nodes, side, of in zip((batch.users, batch.positives), sides, behaviour, strict=True):
        rows_of_batch = nodes.tolist() if contrast_rows == "triples" else sorted(set(nodes.tolist()))
        contrast += info_nce(side[rows_of_batch], of[rows_of_batch], 0.4)
    tables = (users, items) if l2_on == "final" else (array(model.users), array(model.items))
    assert terms["l2"].item() == pytest.approx(l2_of_batch(0.2, *tables, batch), rel=1e-5)
    assert terms["contrast"].item() == pytest.approx(0.3 * contrast, rel=1e-5)
    assert built("mgcn", data, contrast_weight=0, l2_weight=0).training_step(batch).keys() == {"bpr"}
