"""SLMRec and MMGCL, views of ids and modalities that are contrasted, against slow NumPy forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.mmgcl import modality_view
from mmssl_cli.models.mmssl.adversarial import AdversarialSelfAugmentation
from mmssl_cli.models.slmrec import masked_views
from tests.helpers.model_cases import array, dense, dense_outputs, toy_batch, toy_data, unit, weighted
from tests.helpers.structure_cases import bpr, built, content, info_nce, lightgcn


def distinct(nodes: torch.Tensor) -> list[int]:
    return sorted(set(nodes.tolist()))


def view_layers(model: Any, without: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Layer 0 of users [U, d] and items [I, d] in each view; the items of one of them zero."""
    items = [array(model.items), *content(model).values()]
    return [(array(model.users), rows * (view != without)) for view, rows in enumerate(items)]


def plain_views(model: Any, data: InteractionData) -> list[tuple[np.ndarray, np.ndarray]]:
    matrix = dense(data.train, 9)
    return [lightgcn(users, items, matrix, model.settings.layers) for users, items in view_layers(model)]


def joined(model: Any, views: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    sides = []
    for layer, of_side in zip((model.join_users, model.join_items), zip(*views, strict=True), strict=True):
        sides.append(np.concatenate(of_side, axis=1) @ array(layer.weight).T + array(layer.bias))
    return sides


def softmax_of(users: np.ndarray, items: np.ndarray, batch: Batch, temperature: float) -> float:
    """The softmax over the positives of a batch; another triple with the same item is left out."""
    u, positives = unit(users)[batch.users], batch.positives.tolist()
    losses = []
    for row, own in enumerate(positives):
        others = [unit(items)[item] for at, item in enumerate(positives) if at == row or item != own]
        logits = np.exp(np.array(others) @ u[row] / temperature)
        losses.append(-np.log(np.exp(unit(items)[own] @ u[row] / temperature) / logits.sum()))
    return float(np.mean(losses))


@pytest.mark.parametrize("modalities", [{"text": 5}, {"visual": 7, "text": 5, "acoustic": 3}])
@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("spread_ahead", [True, False])
@pytest.mark.parametrize(("contrast_rows", "similarity"), [("triples", "inner"), ("distinct", "cosine")])
def test_slmrec_joins_views_and_separates_fine_and_coarse_spaces(
    modalities: dict[str, int],
    layers: int,
    spread_ahead: bool,
    contrast_rows: str,
    similarity: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not spread_ahead:
        monkeypatch.setattr("mmssl_cli.models.views.SPREAD_BYTES", 0)
    data = toy_data(modalities=modalities)
    form = {"contrast_rows": contrast_rows, "space_similarity": similarity, "l2_weight": 0.2}
    model = built("slmrec", data, layers=layers, contrast_weight=0.3, contrast_temperature=0.4, **form)
    views = plain_views(model, data)
    users, items = joined(model, views)
    assert set(model.raw_spread) == (set(modalities) if spread_ahead else set())
    found = model.represent()
    np.testing.assert_allclose(array(found[0]), users, atol=1e-6)
    np.testing.assert_allclose(array(found[1]), items, atol=1e-6)

    batch = toy_batch(data)
    terms = model.training_step(batch)
    rows, task = batch.positives.tolist() if contrast_rows == "triples" else distinct(batch.positives), 0.0
    coarse = views[0][1][rows]
    for to_coarse, to_fine, view in zip(model.coarse, model.fine, views[1:], strict=True):
        coarse = coarse @ array(to_coarse.weight).T + array(to_coarse.bias)
        fine = view[1][rows] @ array(to_fine.weight).T + array(to_fine.bias)
        if similarity == "cosine":
            task += info_nce(coarse, fine, 0.4)
        else:
            scores = np.exp(coarse @ fine.T / 0.4)
            task += float(np.mean([-np.log(row[own] / row.sum()) for own, row in enumerate(scores)]))
    assert terms.keys() == {"softmax", "l2", "contrast"}
    assert terms["softmax"].item() == pytest.approx(softmax_of(users, items, batch, 0.2), rel=1e-5)
    assert terms["contrast"].item() == pytest.approx(0.3 * task, rel=1e-5)


@pytest.mark.parametrize("task", ["fd", "fm", "fd+fm"])
@pytest.mark.parametrize("rows", ["triples", "distinct"])
def test_slmrec_contrasts_two_damaged_versions(task: str, rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy_data()
    model = built("slmrec", data, layers=2, ssl_task=task, contrast_weight=0.3, dropout=0.4, contrast_rows=rows)
    drawn_masks: list[np.ndarray] = []

    def mask(rows: torch.Tensor, share: float) -> torch.Tensor:
        assert share == 0.4
        drawn_masks.append(np.random.default_rng(len(drawn_masks)).random(rows.shape) > share)
        return rows * torch.from_numpy(drawn_masks[-1]) / (1 - share)

    monkeypatch.setattr("mmssl_cli.models.slmrec.dropout", mask)
    monkeypatch.setattr("mmssl_cli.models.slmrec.masked_views", lambda count: (2, 0))
    batch = toy_batch(data)
    terms = model.training_step(batch)

    masks, versions = iter(drawn_masks), []
    to_users, to_items = weighted(dense(data.train, 9), "sym")
    for without in (2, 0) if "fm" in task else (None, None):
        layer0 = view_layers(model, without)
        users = np.concatenate([view[0] for view in layer0], axis=1)
        items = np.concatenate([view[1] for view in layer0], axis=1)
        of_users, of_items = [users], [items]
        for _ in range(2):
            users, items = to_users @ items, to_items @ users
            if "fd" in task:
                users, items = users * next(masks) / 0.6, items * next(masks) / 0.6
            of_users, of_items = [*of_users, users], [*of_items, items]
        versions.append(joined(model, [(np.mean(of_users, axis=0), np.mean(of_items, axis=0))]))
    assert next(masks, None) is None
    expected = 0.0
    for nodes, one, other in zip((batch.users, batch.positives), *versions, strict=True):
        anchors = nodes.tolist() if rows == "triples" else distinct(nodes)
        expected += info_nce(one[anchors], other[anchors], 0.2)
    assert terms["contrast"].item() == pytest.approx(0.3 * expected, rel=1e-5)


def test_slmrec_masks_two_different_views() -> None:
    torch.manual_seed(0)
    pairs = {masked_views(3) for _ in range(200)}
    assert pairs == {(a, b) for a in range(3) for b in range(3) if a != b}


def test_slmrec_with_the_contrast_of_mmssl() -> None:
    data = toy_data()
    model = built("slmrec", data, cl=True, contrast_weight=0.3, contrast_temperature=0.4)
    assert not list(model.coarse.parameters())
    batch = toy_batch(data)
    terms = model.training_step(batch)
    views = plain_views(model, data)
    rows = distinct(batch.users)
    h, expected = unit(joined(model, views)[0][rows]), 0.0
    for view in views[1:]:
        e = unit(view[0][rows])
        for own in range(len(rows)):
            others = np.exp(h @ e[own] / 0.4).sum() + np.exp(e @ e[own] / 0.4).sum()
            expected -= np.log(np.exp(h[own] @ e[own] / 0.4) / others) / len(rows)
    assert terms.keys() == {"softmax", "contrast"}
    assert terms["contrast"].item() == pytest.approx(0.3 * expected, rel=1e-5)


def test_slmrec_with_the_adversary_of_mmssl() -> None:
    data = toy_data()
    model = built("slmrec", data, asl=True, adversarial_weight=0.3, discriminator_hidden=4)
    assert isinstance(model.adversary, AdversarialSelfAugmentation) and model.adversary.settings.zeta == 1
    batch = toy_batch(data)
    before = array(model.adversary.discriminator.first.weight)
    terms = model.training_step(batch)
    assert terms.keys() == {"softmax", "contrast", "adversarial"}
    assert set(model.monitored) == {"discriminator", "discriminator gap"}
    assert not np.allclose(before, array(model.adversary.discriminator.first.weight), atol=0)

    to_users, to_items = weighted(dense(data.train, 9), "sym")
    generated = []
    for rows in content(model).values():
        at_users = to_users @ rows
        generated.append(unit(at_users[distinct(batch.users)]) @ unit(to_items @ at_users).T)
    found = dense_outputs(model.adversary.discriminator, np.concatenate(generated))
    assert terms["adversarial"].item() == pytest.approx(-0.3 * found.mean(), rel=1e-4)
    terms["adversarial"].backward()
    assert all(layer.weight.grad.abs().max() > 0 for layer in model.content.layers.values())
    assert built("slmrec", data, asl=True, adversarial_weight=0).adversary is None


# MMGCL


@pytest.mark.parametrize("modalities", [{"text": 5}, {"visual": 7, "text": 5}])
def test_mmgcl_contrasts_dropped_edges_with_a_masked_modality(
    modalities: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy_data(modalities=modalities)
    form = {"layers": 2, "edge_dropout": 0.4, "contrast_pairs": "versions"}
    model = built("mmgcl", data, **form, contrast_weight=0.3, contrast_temperature=0.5)
    masked, changed = len(modalities) - 1, 0
    drawn = iter((1 + masked, 1 + changed))
    monkeypatch.setattr("mmssl_cli.models.mmgcl.modality_view", lambda model: next(drawn))
    noise = torch.randn(9, 6)
    monkeypatch.setattr("mmssl_cli.models.mmgcl.embedding", lambda rows, dim: noise)
    torch.manual_seed(1)
    kept = torch.rand(len(data.train)).numpy() >= 0.4
    torch.manual_seed(1)
    model.begin_epoch(1)
    batch = toy_batch(data)
    terms = model.training_step(batch)

    matrix, damaged = dense(data.train, 9), np.zeros((12, 9))
    assert 0 < (~kept).sum() < len(kept)
    damaged[data.train.row_of_each()[kept], data.train.indices[kept]] = 1
    users, items = joined(model, plain_views(model, data))
    assert terms.keys() == {"bpr", "contrast"}
    assert terms["bpr"].item() == pytest.approx(bpr(users, items, batch).mean(), rel=1e-5)

    first = [lightgcn(*sides, damaged, 2) for sides in view_layers(model)]
    layers = view_layers(model)
    layers[1 + masked] = (layers[1 + masked][0], array(noise))
    second = [lightgcn(*sides, matrix, 2) for sides in layers]
    (users1, items1), (users2, items2) = joined(model, first), joined(model, second)
    rows, positives = distinct(batch.users), distinct(batch.positives)
    expected = info_nce(users1[rows], users2[rows], 0.5)
    for row, item in enumerate(positives):
        other = int(batch.negatives[row])
        parts = [view[1][other if view is first[1 + changed] else item] for view in first]
        challenging = np.concatenate(parts) @ array(model.join_items.weight).T + array(model.join_items.bias)
        candidates = unit(np.vstack([items2[positives], challenging]))
        logits = np.exp(candidates @ unit(items1[[item]])[0] / 0.5)
        expected -= np.log(logits[row] / logits.sum()) / len(positives)
    assert terms["contrast"].item() == pytest.approx(0.3 * expected, rel=1e-5)
    assert built("mmgcl", data, contrast_weight=0).training_step(batch).keys() == {"bpr"}


def test_mmgcl_contrasts_users_with_items_on_the_damaged_graph_twice() -> None:
    data = toy_data(modalities={"visual": 7, "text": 5})
    model = built("mmgcl", data, layers=2, edge_dropout=0.4, contrast_weight=0.3, contrast_temperature=0.5)
    torch.manual_seed(1)
    kept = torch.rand(len(data.train)).numpy() >= 0.4
    torch.manual_seed(1)
    model.begin_epoch(1)
    damaged = np.zeros((12, 9))
    damaged[data.train.row_of_each()[kept], data.train.indices[kept]] = 1
    batch = toy_batch(data)
    users, items = joined(model, [lightgcn(*sides, damaged, 2) for sides in view_layers(model)])
    expected = 2 * 0.3 * info_nce(users[batch.users], items[batch.positives], 0.5)
    terms = model.training_step(batch)
    assert terms.keys() == {"bpr", "contrast"}
    assert terms["contrast"].item() == pytest.approx(expected, rel=1e-5)


def test_mmgcl_masks_each_modality_equally_often() -> None:
    model = built("mmgcl", toy_data())
    torch.manual_seed(0)
    drawn = [modality_view(model) for _ in range(400)]
    assert set(drawn) == {1, 2} and 150 < drawn.count(1) < 250
