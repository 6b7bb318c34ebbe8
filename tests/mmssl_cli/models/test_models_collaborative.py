"""The collaborative models against slow NumPy versions of their papers' equations, and what their training reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.models.losses import contrast_nodes
from tests.helpers.collaborative_cases import (
    DATA,
    edges_of,
    layers_of,
    made,
    mean,
    nodes_of_batch,
    slow_bpr,
    slow_info_nce,
)
from tests.helpers.model_cases import array, dense, toy_batch, toy_data, unit


@pytest.mark.parametrize("negatives", ["batch", "all"])
def test_contrast_of_nodes(negatives: str) -> None:
    anchors, others = np.random.default_rng(0).normal(size=(2, 6, 3))
    nodes = np.array([1, 4, 5])
    if negatives == "all":
        expected = slow_info_nce(anchors[nodes], others, nodes, 0.3)
    else:
        expected = slow_info_nce(anchors[nodes], others[nodes], np.arange(3), 0.3)
    given = (torch.from_numpy(anchors), torch.from_numpy(others), torch.from_numpy(nodes))
    assert contrast_nodes(*given, 0.3, negatives).item() == pytest.approx(expected)


# --- SGL


@pytest.mark.parametrize("augmentation", ["edge-drop", "node-drop", "random-walk"])
@pytest.mark.parametrize("negatives", ["batch", "all"])
def test_sgl_contrasts_two_damaged_graphs(augmentation: str, negatives: str) -> None:
    settings = {"augmentation": augmentation, "edge_dropout": 0.3, "layers": 2, "contrast_negatives": negatives}
    model = made("sgl", **settings, contrast_weight=0.4, contrast_temperature=0.3, l2_weight=0.2)
    matrix = dense(DATA.train, DATA.num_items)
    final = mean(layers_of(model, [matrix, matrix]))
    views = [mean(layers_of(model, [edges_of(graph) for graph in graphs])) for graphs in model.views]
    contrast = 0.0
    for first, second, nodes in zip(*views, nodes_of_batch(), strict=True):
        if negatives == "all":
            contrast += slow_info_nce(first[nodes], second, nodes, 0.3)
        else:
            contrast += slow_info_nce(first[nodes], second[nodes], np.arange(len(nodes)), 0.3)

    terms = model.training_step(toy_batch(DATA))

    assert set(terms) == {"bpr", "l2", "contrast"}
    assert terms["bpr"].item() == pytest.approx(slow_bpr(*final), rel=1e-5)
    assert terms["contrast"].item() == pytest.approx(0.4 * contrast, rel=1e-5)
    for found, expected in zip(model.represent(), final, strict=True):
        np.testing.assert_allclose(array(found), expected, atol=1e-6)


def test_sgl_damages_what_its_augmentation_says() -> None:
    whole = dense(DATA.train, DATA.num_items)
    for augmentation in ("edge-drop", "node-drop", "random-walk"):
        model = made("sgl", augmentation=augmentation, edge_dropout=0.4, layers=2)
        drawn = [[edges_of(graph) for graph in graphs] for graphs in model.views]
        assert all((matrix <= whole).all() and matrix.sum() < whole.sum() for view in drawn for matrix in view)
        assert not np.array_equal(drawn[0][0], drawn[1][0])
        assert np.array_equal(drawn[0][0], drawn[0][1]) == (augmentation != "random-walk")
        if augmentation == "node-drop":  # an edge goes if, and only if, one of its ends does
            left = drawn[0][0]
            ends = np.outer(left.any(axis=1), left.any(axis=0))
            assert np.array_equal(left, whole * ends)
        before = model.views
        model.begin_epoch(2)
        assert not np.array_equal(edges_of(before[0][0]), edges_of(model.views[0][0]))


def test_sgl_leaves_out_the_share_it_is_told() -> None:
    data = toy_data(users=400, items=60, modalities={})
    for share in (0.0, 0.25, 0.6):
        model = made("sgl", data, edge_dropout=share)
        left = model.views[0][0].to_users.matrix.values().numel() / len(data.train)
        assert left == pytest.approx(1 - share, abs=0.06)


# --- NGCF


def slow_ngcf(model: Any, scaling: str, blocked: tuple[int, ...] = (), grown: float = 1) -> list[np.ndarray]:
    """The joined layers, node by node; ``blocked`` users and items send nothing, the others ``grown`` times as much."""
    matrix = dense(DATA.train, DATA.num_items)
    sides = [array(model.users), array(model.items)]
    joined = [[side] for side in sides]
    for first, second in zip(model.of_sums, model.of_products, strict=True):
        new = [np.zeros_like(side) for side in sides]
        for side, edges in ((0, matrix), (1, matrix.T)):
            for node, own in enumerate(sides[side]):
                total = (own @ array(first)).copy()
                for other in np.flatnonzero(edges[node]):
                    if other not in blocked:
                        weight = grown / np.sqrt(edges[node].sum() * edges[:, other].sum())
                        sent = sides[1 - side][other]
                        total += weight * (sent @ array(first) + (sent * own) @ array(second))
                new[side][node] = np.where(total > 0, total, 0.2 * total)
        sides = new
        for side in (0, 1):
            joined[side].append(unit(sides[side]) if scaling == "l2" else sides[side])
    return [np.concatenate(of_side, axis=1) for of_side in joined]


@pytest.mark.parametrize(("scaling", "l2_on"), [("l2", "final"), ("none", "final"), ("l2", "layer0")])
def test_ngcf_is_the_papers_propagation(scaling: str, l2_on: str) -> None:
    model = made("ngcf", layers=2, layer_scaling=scaling, l2_weight=0.2, l2_on=l2_on)
    expected = slow_ngcf(model, scaling)
    terms = model.training_step(toy_batch(DATA))
    assert set(terms) == {"bpr", "l2"}
    assert terms["bpr"].item() == pytest.approx(slow_bpr(*expected), rel=1e-5)
    batch, (users, items) = toy_batch(DATA), expected if l2_on == "final" else (array(model.users), array(model.items))
    rows = [users[batch.users], items[batch.positives], items[batch.negatives]]
    squares = sum((row**2).sum() for of_each in rows for row in of_each)
    assert terms["l2"].item() == pytest.approx(0.2 * squares / (2 * len(batch.users)), rel=1e-5)
    for found, right in zip(model.represent(), expected, strict=True):
        assert right.shape[1] == 24
        np.testing.assert_allclose(array(found), right, atol=1e-6)


def test_ngcf_blocks_the_messages_of_dropped_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nodes 1 and 4 of either side dropped in every layer; nothing is in evaluation."""

    def two_dropped(ones: torch.Tensor, share: float, training: bool) -> torch.Tensor:
        if ones.shape[1] > 1 or not training:  # message dropout
            return ones
        return (ones / (1 - share)).index_fill(0, torch.tensor([1, 4]), 0)

    model = made("ngcf", layers=2, node_dropout=0.25)
    monkeypatch.setattr("mmssl_cli.models.ngcf.dropout", two_dropped)
    cases = ((True, slow_ngcf(model, "l2", (1, 4), 1 / 0.75)), (False, slow_ngcf(model, "l2")))
    for training, expected in cases:
        for found, right in zip(model.train(training).represent(), expected, strict=True):
            np.testing.assert_allclose(array(found), right, atol=1e-6)


def test_ngcf_drops_messages_and_nodes_in_training_alone() -> None:
    for settings in ({"dropout": 0.5, "layers": 1}, {"dropout": 0.0, "node_dropout": 0.5, "layers": 1}):
        model = made("ngcf", **settings)
        torch.manual_seed(1)
        users = model.train().represent()[0]
        assert not torch.equal(users, model.represent()[0])
        assert torch.equal(model.eval().represent()[0], model.represent()[0])
    zeros = (made("ngcf", dropout=0.5, layers=1).represent()[0][:, 8:] == 0).double().mean().item()
    assert zeros == pytest.approx(0.5, abs=0.2)
