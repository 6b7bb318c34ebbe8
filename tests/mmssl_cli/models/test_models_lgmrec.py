"""LGMRec against a slow NumPy form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.data.interactions import InteractionData
from tests.helpers.model_cases import array, dense, toy_batch, toy_data, unit, weighted
from tests.helpers.structure_cases import bpr, built, content, l2_of_batch, lightgcn

FORM = {"layers": 3, "content_layers": 2, "hyperedges": 4, "hyper_layers": 2, "hyper_temperature": 0.5}


def lgmrec(data: InteractionData) -> tuple[Any, list[np.ndarray], list[list[np.ndarray]]]:
    """The model, its final users and items, and the global ones of each modality, without Gumbel noise."""
    form = {**FORM, "hyper_dropout": 0.0, "global_weight": 0.7, "contrast_temperature": 0.4, "contrast_anchors": 0}
    model = built("lgmrec", data, **form, contrast_weight=0.3, l2_weight=0.2)
    matrix = dense(data.train, 9)
    mean = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    to_users, to_items = weighted(matrix, "sym")
    of_ids = lightgcn(array(model.users), array(model.items), matrix, 3)
    final, views = [of.copy() for of in of_ids], []
    for rows in content(model).values():
        users, items = mean @ rows, rows
        for _ in range(2):
            users, items = to_users @ items, to_items @ users
        final = [of + unit(side) for of, side in zip(final, (users, items), strict=True)]
    for name, layer in model.shares.layers.items():
        logits = array(model.shares.raw[name]) @ array(layer.weight).T + array(layer.bias)
        logits = logits * array(model.shares.present[name])
        shares = [np.exp(of / 0.5) for of in (matrix @ logits, logits)]
        of_users, of_items = (of / of.sum(axis=1, keepdims=True) for of in shares)
        once = of_items @ (of_items.T @ of_ids[1])
        views.append([of_users @ (of_items.T @ once), of_items @ (of_items.T @ once)])
    sums = [sum(view[side] for view in views) for side in (0, 1)]
    return model, [of + 0.7 * unit(side) for of, side in zip(final, sums, strict=True)], views


@pytest.mark.parametrize("modalities", [{"visual": 7, "text": 5}, {"visual": 7, "text": 5, "acoustic": 3}])
def test_lgmrec_adds_content_and_hyperedges_and_contrasts(
    modalities: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy_data(modalities=modalities)
    model, (users, items), views = lgmrec(data)
    found = model.eval().represent()
    np.testing.assert_allclose(array(found[0]), users, atol=1e-5)
    np.testing.assert_allclose(array(found[1]), items, atol=1e-5)

    # Exponential times of 1 are a Gumbel noise of 0.
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda rows: rows.fill_(1))
    batch = toy_batch(data)
    terms = model.train().training_step(batch)
    assert terms.keys() == {"bpr", "l2", "contrast"}
    assert terms["bpr"].item() == pytest.approx(bpr(users, items, batch).mean(), rel=1e-4)
    assert terms["l2"].item() == pytest.approx(l2_of_batch(0.2, users, items, batch), rel=1e-4)
    total = 0.0
    for first, one in enumerate(views):
        for other in views[first + 1 :]:
            for side, nodes in enumerate((batch.users, batch.positives)):
                scores = np.exp(unit(one[side])[nodes] @ unit(other[side]).T / 0.4)
                total += sum(-np.log(row[node] / row.sum()) for row, node in zip(scores, nodes, strict=True))
    assert terms["contrast"].item() == pytest.approx(0.3 * total, rel=1e-4)


def test_lgmrec_draws_noise_and_dropout_in_training_alone() -> None:
    model = built("lgmrec", toy_data(), **FORM)
    assert not torch.equal(model.represent()[1], model.represent()[1])
    model.eval()
    assert torch.equal(model.represent()[1], model.represent()[1])
    logits, counts = torch.tensor([[0.1, 0.3, 0.0]]).log(), torch.zeros(3)
    settings = model.settings.model_copy(update={"hyper_temperature": 1e-3, "hyper_dropout": 0.0})
    model.train().settings = settings
    for _ in range(3000):  # at temperature 0 a Gumbel softmax is a draw from the softmax
        counts += model._members(logits)[0] / 3000
    np.testing.assert_allclose(counts, [0.25, 0.75, 0], atol=0.03)


def test_lgmrec_anchors_estimate_the_sum_over_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    data, batch = toy_data(), toy_batch(toy_data())
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda rows: rows.fill_(1))
    found = []
    for start in (0, 4):
        model, _, _ = lgmrec(data)
        model.settings = model.settings.model_copy(update={"contrast_anchors": 4})
        with monkeypatch.context() as patch:
            patch.setattr("torch.randperm", lambda count, device, start=start: (torch.arange(count) + start) % count)
            found.append(model.training_step(batch)["contrast"].item())
    whole, _, _ = lgmrec(data)
    assert np.mean(found) == pytest.approx(whole.training_step(batch)["contrast"].item(), rel=1e-5)
