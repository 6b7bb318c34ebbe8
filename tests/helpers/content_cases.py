"""Shared by the tests of the models of content: a small case, random models, and slow forms of common parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import Recommender
from mmssl_cli.models.content import ContentProjections
from mmssl_cli.models.registry import build_model
from tests.helpers.model_cases import array, toy_data

#: Item 5 has no content at all, items 2 and 3 lack one modality.
ABSENT = {"visual": (2, 5), "text": (3, 5)}


def content_data(tokens: bool = False, **of_data: Any) -> InteractionData:
    data = toy_data(**{"absent": ABSENT, **of_data})
    if not tokens:
        return data
    ids = torch.from_numpy(np.random.default_rng(4).integers(0, 6, (data.num_items, 4)))
    present = ids.any(dim=1)
    present[5] = False
    ids[5] = 0
    return replace(data, features={**data.features, "taste": ids}, present={**data.present, "taste": present})


def content_model(name: str, data: InteractionData, **settings: Any) -> Any:
    """A model of 8 dimensions whose parameters are all random, biases too."""
    torch.manual_seed(7)
    model = build_model(data, build_settings({"model": name, "embedding_dim": 8, **settings}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def projected_content(content: ContentProjections) -> dict[str, np.ndarray]:
    """Modality -> [I, d], an item at a time."""
    rows = {}
    layers: dict[str, Any] = dict(content.layers.items())
    for name, layer in layers.items():
        raw, present = content.raw[name], array(content.present[name])
        if raw.is_floating_point():
            rows[name] = present * (array(raw) @ array(layer.weight).T + array(layer.bias))
        else:
            table = array(layer.weight)
            means = [table[[t for t in ids if t]].mean(axis=0) if any(ids) else 0 * table[0] for ids in raw.tolist()]
            rows[name] = present * np.array(means)
    return rows


def leaky(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, 0.01 * values)


def bpr_of(users: np.ndarray, items: np.ndarray, batch: Batch) -> float:
    losses = []
    for user, positive, negative in zip(batch.users, batch.positives, batch.negatives, strict=True):
        margin = users[user] @ items[positive] - users[user] @ items[negative]
        losses.append(np.log(1 + np.exp(-margin)))
    return float(np.mean(losses))


def l2_of_rows(weight: float, batch: Batch, users: list[Any], items: list[Any], negatives: bool = True) -> float:
    """weight / 2 x the mean over triples of the squared norms of their rows of each table."""
    total = sum((array(table)[batch.users.numpy()] ** 2).sum() for table in users)
    for rows in (batch.positives, batch.negatives)[: 2 if negatives else 1]:
        total += sum((array(table)[rows.numpy()] ** 2).sum() for table in items)
    return weight * total / (2 * len(batch.users))


def check_representation(model: Recommender, found: tuple[np.ndarray, np.ndarray]) -> None:
    for one, other in zip(model.represent(), found, strict=True):
        np.testing.assert_allclose(array(one), other, atol=2e-5)


def check_terms(model: Recommender, batch: Batch, expected: Mapping[str, float]) -> None:
    terms = {name: term.item() for name, term in model.training_step(batch).items()}
    assert terms == pytest.approx(dict(expected), rel=1e-4, abs=1e-6)
