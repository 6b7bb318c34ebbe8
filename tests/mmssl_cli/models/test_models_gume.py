"""GUME against a slow NumPy form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.gume import perturbed
from tests.helpers.model_cases import array, dense, toy_batch, toy_data, unit
from tests.helpers.structure_cases import bpr, built, content, info_nce, l2_of_batch, nearest, sigmoid_of

THREE = {"visual": 7, "text": 5, "acoustic": 3}
FORM: dict[str, Any] = {
    "graph_topk": 5,
    "layers": 3,
    "item_layers": 2,
    "l2_weight": 0.2,
    "contrast_weight": 0.3,
    "contrast_temperature": 0.4,
    "align_weight": 0.7,
    "user_contrast_weight": 0.6,
    "user_contrast_temperature": 0.5,
    "user_noise": 0.2,
    "extended_l2_weight": 0.8,
}


def joined(data: InteractionData, k: int) -> np.ndarray:
    """0/1 [I, I]: other items among the ``k`` nearest by each modality that the item of the row has."""
    edges = np.ones((9, 9)) - np.eye(9)
    for name, values in data.features.items():
        rows, present = unit(array(values)), data.present[name]
        for item in range(9):
            if present[item]:
                cosines = np.where(present, rows @ rows[item], 0)
                near = [other for other in np.argsort(-cosines)[:k] if cosines[other] > 0]
                edges[item, np.setdiff1d(np.arange(9), near)] = 0
    lacks_all = ~torch.stack(list(data.present.values())).any(dim=0).numpy()
    edges[lacks_all] = 0
    return edges


def adjacency(data: InteractionData, k: int, form: str = "sym") -> np.ndarray:
    """Weights [U + I, U + I] of messages to the row from the column, entry by entry."""
    edges = np.zeros((21, 21))
    edges[:12, 12:] = dense(data.train, 9)
    edges[12:, :12] = edges[:12, 12:].T
    edges[12:, 12:] = joined(data, k)
    degrees = edges.sum(axis=1)
    weights = np.zeros((21, 21))
    for row, column in np.argwhere(edges):
        if form == "left":
            weights[row, column] = 1 / np.sqrt(degrees[row])
        elif degrees[column]:
            weights[row, column] = 1 / np.sqrt(degrees[row] * degrees[column])
    return weights


def mean_of_layers(weights: np.ndarray, users: np.ndarray, items: np.ndarray, layers: int) -> np.ndarray:
    nodes = [np.vstack([users, items])]
    for _ in range(layers):
        nodes.append(weights @ nodes[-1])
    return np.mean(nodes, axis=0)


def tables(model: Any, data: InteractionData) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Behaviour, fused content and extended content [U + I, d], and views of each modality [U + I, d]."""
    weights = adjacency(data, FORM["graph_topk"])
    behaviour = mean_of_layers(weights, array(model.users), array(model.items), 3)
    views = []
    for name, rows in content(model).items():
        graph = nearest(array(data.features[name]), FORM["graph_topk"])
        of_items = graph @ graph @ (array(model.items) * sigmoid_of(model.purifiers[name], rows))
        views.append(np.vstack([weights[:12, 12:] @ of_items, of_items]))
    key, query = model.fuser.key, array(model.fuser.query.weight)
    logits = np.exp([np.tanh(view @ array(key.weight).T + array(key.bias)) @ query.T for view in views])
    shared = np.sum(logits / logits.sum(axis=0) * views, axis=0)
    parts = [
        sigmoid_of(gate, behaviour) * (view - shared) for gate, view in zip(model.fuser.preferences, views, strict=True)
    ]
    extended = [mean_of_layers(weights, array(model.extended_users), view[12:], 3) for view in views]
    return behaviour, np.mean([*parts, shared], axis=0), np.mean(extended, axis=0), views


@pytest.mark.parametrize("modalities", [{"text": 5}, {"visual": 7, "text": 5}, THREE])
@pytest.mark.parametrize("form", ["sym", "left"])
def test_gume_joins_items_that_all_their_modalities_find_near(modalities: dict[str, int], form: str) -> None:
    data = toy_data(modalities=modalities)
    model = built("gume", data, **{**FORM, "adjacency": form})
    expected, graph = adjacency(data, 5, form), model.graph
    assert joined(data, 5).any()
    np.testing.assert_allclose(array(graph.users_from(torch.eye(9))), expected[:12, 12:], atol=1e-6)
    np.testing.assert_allclose(array(graph.items_from(torch.eye(12))), expected[12:, :12], atol=1e-6)
    np.testing.assert_allclose(array(graph.among_items @ torch.eye(9)), expected[12:, 12:], atol=1e-6)
    users, items = graph.propagate(model.users, model.items, 3)
    spread = mean_of_layers(expected, array(model.users), array(model.items), 3)
    np.testing.assert_allclose(np.vstack([array(users), array(items)]), spread, atol=1e-6)


def test_gume_joins_nothing_to_an_item_without_content() -> None:
    data = toy_data(absent={"visual": (2, 5), "text": (5,)})
    edges = array(built("gume", data, **FORM).graph.among_items @ torch.eye(9))
    assert not edges[5].any() and not edges[:, 5].any()
    assert edges[2].any()  # by its text alone
    np.testing.assert_allclose(edges, adjacency(data, 5)[12:, 12:], atol=1e-6)


@pytest.mark.parametrize("modalities", [{"visual": 7, "text": 5}, THREE])
@pytest.mark.parametrize(("contrast_rows", "l2_on"), [("triples", "final"), ("distinct", "layer0")])
def test_gume_fuses_aligns_and_contrasts(
    monkeypatch: pytest.MonkeyPatch, modalities: dict[str, int], contrast_rows: str, l2_on: str
) -> None:
    data = toy_data(modalities=modalities)
    model = built("gume", data, **FORM, contrast_rows=contrast_rows, l2_on=l2_on)
    behaviour, fused, extended, views = tables(model, data)
    final = behaviour + fused
    found = model.represent()
    np.testing.assert_allclose(array(found[0]), final[:12], atol=1e-5)
    np.testing.assert_allclose(array(found[1]), final[12:], atol=1e-5)

    draws: list[np.ndarray] = []

    def drawn(rows: torch.Tensor) -> torch.Tensor:
        draws.append(np.random.default_rng(len(draws)).random(rows.shape))
        return torch.from_numpy(draws[-1]).float()

    monkeypatch.setattr("torch.rand_like", drawn)
    batch = toy_batch(data)
    terms = model.training_step(batch)
    assert terms.keys() == {"bpr", "l2", "contrast", "align", "contrast_users", "l2_extended"}
    assert terms["bpr"].item() == pytest.approx(bpr(final[:12], final[12:], batch).mean(), rel=1e-4)
    penalised = final if l2_on == "final" else np.vstack([array(model.users), array(model.items)])
    expected = l2_of_batch(0.2, penalised[:12], penalised[12:], batch)
    assert terms["l2"].item() == pytest.approx(expected, rel=1e-4)

    users, positives = batch.users.tolist(), (12 + batch.positives).tolist()
    if contrast_rows == "distinct":
        users, positives = sorted(set(users)), sorted(set(positives))
    contrast = sum(info_nce(fused[of], behaviour[of], 0.4) for of in (users, positives))
    assert terms["contrast"].item() == pytest.approx(0.3 * contrast, rel=1e-4)

    gap = 0.0
    for one in range(len(views)):
        for other in range(one):
            a, b = views[one].ravel(), views[other].ravel()
            gap += abs(a.mean() - b.mean()) + abs(a.var(ddof=1) - b.var(ddof=1))
    assert terms["align"].item() == pytest.approx(0.7 * gap, rel=1e-4)

    # A user's noise is drawn once for a version, in whichever of the triples the user is.
    at = [sorted(set(batch.users.tolist())).index(user) for user in users]
    versions = []
    for table, noise in zip((fused, fused, extended, extended), draws, strict=True):
        rows = table[sorted(set(batch.users.tolist()))]
        versions.append((rows + 0.2 * np.sign(rows) * unit(noise))[at])
    losses = [info_nce(extended[users], fused[users], 0.5)]
    losses += [info_nce(*versions[:2], 0.5), info_nce(*versions[2:], 0.5)]
    assert terms["contrast_users"].item() == pytest.approx(0.6 * sum(losses), rel=1e-4)

    norms = (extended[12 + batch.positives.numpy()] ** 2).sum()
    assert terms["l2_extended"].item() == pytest.approx(0.8 * norms / (2 * len(batch.users)), rel=1e-4)


def test_gume_has_no_terms_of_weight_zero_nor_an_alignment_of_one_modality() -> None:
    data = toy_data()
    off = {"l2_weight": 0, "contrast_weight": 0, "align_weight": 0, "user_contrast_weight": 0, "extended_l2_weight": 0}
    assert built("gume", data, **off).training_step(toy_batch(data)).keys() == {"bpr"}
    one = toy_data(modalities={"text": 5})
    assert "align" not in built("gume", one, **FORM).training_step(toy_batch(one))


def test_gume_users_of_the_extended_content_begin_as_a_mean_of_tables() -> None:
    """The mean of one Xavier-uniform table for each modality, as the program has them."""
    model = built("gume", toy_data(modalities=THREE, users=600), embedding_dim=32)
    bound = (6 / (600 + 32)) ** 0.5
    found = array(model.extended_users)
    assert found.std() == pytest.approx(bound / np.sqrt(3) / np.sqrt(3), rel=0.03)
    assert 0.8 * bound < abs(found).max() <= bound


def test_noise_has_its_length_and_the_signs_of_the_row() -> None:
    torch.manual_seed(1)
    rows = torch.randn(20, 6)
    noise = perturbed(rows, 0.1) - rows
    assert torch.equal(noise.sign(), rows.sign())
    torch.testing.assert_close(noise.norm(dim=1), torch.full((20,), 0.1))
    assert not torch.equal(noise, perturbed(rows, 0.1) - rows)
