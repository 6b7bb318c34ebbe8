"""Eq. 2 and 3, and the neighbours of Eq. 8 taken from them, against NumPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from mmssl_cli.models.mmssl.adversarial import low_rank_factors
from tests.helpers.model_cases import MODALITIES, array, dense, features_of, toy_data, toy_model, unit, weighted

ADJACENCIES = pytest.mark.parametrize("adjacency", ["sym", "left"])


@ADJACENCIES
def test_eq2_features_go_to_users_and_back(adjacency: str) -> None:
    data = toy_data()
    model = toy_model(data, adjacency=adjacency)
    torch.nn.init.normal_(model.generator.projections["visual"].bias)

    found = model.generator()

    expected = features_of(model, dense(data.train, data.num_items))
    assert len(found) == len(expected) == 2
    for pair, expected_pair in zip(found, expected, strict=True):
        for tensor, expected_rows in zip(pair, expected_pair, strict=True):
            np.testing.assert_allclose(array(tensor), expected_rows, atol=1e-5)


@ADJACENCIES
def test_eq2_gradient_reaches_the_projection_from_users_and_from_items(adjacency: str) -> None:
    data = toy_data(modalities={"visual": 7})
    model = toy_model(data, adjacency=adjacency)
    layer = model.generator.projections["visual"]
    to_users, to_items = map(torch.from_numpy, weighted(dense(data.train, data.num_items), adjacency))
    raw, present = data.features["visual"].double(), data.present["visual"].double().unsqueeze(1)
    [found] = model.generator()
    of_users = to_users @ (layer(raw.float()).double() * present)
    for part, expected in zip(found, (of_users, to_items @ of_users), strict=True):
        target = torch.randn(part.shape)
        gradients = torch.autograd.grad((part * target).sum(), list(layer.parameters()), retain_graph=True)
        right = torch.autograd.grad((expected * target).sum(), list(layer.parameters()), retain_graph=True)
        torch.testing.assert_close(gradients, right, rtol=1e-4, atol=1e-5)


def test_eq2_as_printed_divides_by_the_root_of_the_receivers_degree() -> None:
    data = toy_data(modalities={"visual": 7}, absent={})
    model = toy_model(data, adjacency="left")
    weight = array(model.generator.projections["visual"].weight)
    rows = array(data.features["visual"]) @ weight.T

    [(users, items)] = model.generator()

    for user in range(data.num_users):
        neighbours = data.train.row(user).tolist()
        summed = sum(rows[item] for item in neighbours) / len(neighbours) ** 0.5
        np.testing.assert_allclose(array(users)[user], summed, atol=1e-5)
    for item in range(data.num_items):
        neighbours = [user for user in range(data.num_users) if item in data.train.row(user).tolist()]
        summed = sum(array(users)[user] for user in neighbours) / max(len(neighbours), 1) ** 0.5
        np.testing.assert_allclose(array(items)[item], summed, atol=1e-5)


def test_eq2_dropout_acts_on_the_projected_features_in_training_only() -> None:
    data = toy_data(modalities={"visual": 7}, absent={})
    model = toy_model(data, dropout=0.4)
    layer = model.generator.projections["visual"]
    torch.manual_seed(11)
    mask = torch.nn.functional.dropout(torch.ones(data.num_items, 8), 0.4)
    assert {round(float(value), 4) for value in mask.unique()} == {0.0, round(1 / 0.6, 4)}
    to_users, _ = weighted(dense(data.train, data.num_items), "sym")
    rows = array(data.features["visual"]) @ array(layer.weight).T

    torch.manual_seed(11)
    np.testing.assert_allclose(array(model.generator()[0][0]), to_users @ (rows * array(mask)), atol=1e-5)
    model.eval()
    np.testing.assert_allclose(array(model.generator()[0][0]), to_users @ rows, atol=1e-5)


def test_absent_items_contribute_nothing_whatever_their_raw_row_and_the_bias() -> None:
    data = toy_data()
    model = toy_model(data)
    torch.nn.init.ones_(model.generator.projections["visual"].bias)
    before = [array(part) for pair in model.generator() for part in pair]
    with torch.no_grad():
        data.features["visual"][[2, 5]] = 100.0

    after = [array(part) for pair in model.generator() for part in pair]

    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    with torch.no_grad():
        data.features["visual"][0] = 100.0
    assert not np.array_equal(array(model.generator()[0][0]), before[0])


def test_eq3_relations_are_cosines() -> None:
    random = np.random.default_rng(0)
    users, items = random.normal(size=(5, 4)), random.normal(size=(6, 4))
    items[2] = 0

    [(left, right)] = low_rank_factors(torch.arange(5), [(torch.tensor(users), torch.tensor(items))])
    found = left @ right.T

    for user in range(5):
        for item in range(6):
            lengths = np.sqrt((users[user] ** 2).sum()) * np.sqrt((items[item] ** 2).sum())
            expected = (users[user] * items[item]).sum() / lengths if lengths else 0
            assert float(found[user, item]) == pytest.approx(expected, abs=1e-12)


@ADJACENCIES
def test_neighbours_are_the_items_of_largest_relation(adjacency: str) -> None:
    data = toy_data()
    model = toy_model(data, adjacency=adjacency, dropout=0.5)
    assert model.training

    found = model.generator.neighbours(3)

    assert model.training and all(module.training for module in model.generator.modules())
    assert found.shape == (2, data.num_users, 3)
    for modality, (users, items) in enumerate(features_of(model, dense(data.train, data.num_items))):
        relations = unit(users) @ unit(items).T
        assert_largest(found[modality].numpy(), relations)


def assert_largest(chosen: np.ndarray, relations: np.ndarray) -> None:
    """Each row of ``chosen`` holds distinct columns of the largest relations; equal ones may stand for each other.

    -1 stands for each of the largest that is not positive.
    """
    for columns, row in zip(chosen, relations, strict=True):
        kept = columns[columns >= 0]
        assert len(set(kept.tolist())) == len(kept)
        largest = np.maximum(np.sort(row)[::-1][: len(columns)], 0)
        found = np.where(columns >= 0, row[columns], 0)
        np.testing.assert_allclose(np.sort(found)[::-1], largest, atol=1e-5)


def test_the_graphs_are_refreshed_on_their_schedule() -> None:
    data = toy_data()
    model = toy_model(data, graph_refresh=3)
    kept = []
    for epoch in range(1, 8):
        model.begin_epoch(epoch)
        kept.append(model.neighbours.clone())
        with torch.no_grad():
            for layer in model.generator.projections.values():
                layer.weight.normal_()
    refreshed = [not torch.equal(before, after) for before, after in pairwise(kept)]
    assert refreshed == [False, False, True, False, False, True]
    assert sorted(kept[0].unique().tolist()) != [0]  # the first epoch fills them


def test_a_refresh_reaches_the_views() -> None:
    data = toy_data()
    model = toy_model(data)
    model.begin_epoch(1)
    before = model.views()[0][0]
    with torch.no_grad():
        for layer in model.generator.projections.values():
            layer.weight.normal_()
    assert torch.equal(model.views()[0][0], before)
    model.begin_epoch(2)
    assert not torch.equal(model.views()[0][0], before)


def test_more_neighbours_than_items_are_all_items_of_positive_relation() -> None:
    data = toy_data()
    model = toy_model(data, graph_topk=50)
    model.begin_epoch(1)
    assert model.neighbours.shape == (len(MODALITIES), data.num_users, data.num_items)
    for found, (users, items) in zip(model.neighbours.numpy(), features_of(model, dense(data.train, 9)), strict=True):
        for columns, row in zip(found, unit(users) @ unit(items).T, strict=True):
            assert set(columns.tolist()) - {-1} == set(np.flatnonzero(row > 1e-6).tolist())
