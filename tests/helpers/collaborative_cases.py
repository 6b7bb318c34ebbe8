"""A small case of the collaborative models, and the slow NumPy forms that their tests compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.data.graph import BipartiteGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.registry import build_model
from tests.helpers.model_cases import array, toy_batch, toy_data, unit, weighted

#: Settings under which every term of a model's loss is there from the first epoch.
MODELS: dict[str, dict[str, Any]] = {
    "sgl": {},
    "ngcf": {"dropout": 0.0},
    "ncl": {"prototype_warmup": 0, "clusters": 3},
    "hccf": {"hyperedges": 4, "edge_dropout": 0.2},
}
DATA = toy_data(modalities={})


def made(name: str, data: InteractionData = DATA, **settings: Any) -> Any:
    """The model of 8 dimensions, ready for the first step of its first epoch."""
    torch.manual_seed(7)
    model = build_model(data, build_settings({"model": name, "embedding_dim": 8, **MODELS[name], **settings}))
    model.begin_epoch(1)
    return model


def layers_of(model: Any, graphs: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Users and items at layer 0 and after each layer, by dense 0/1 matrices [U, I]."""
    layers = [(array(model.users), array(model.items))]
    for matrix in graphs:
        to_users, to_items = weighted(matrix, "sym")
        users, items = layers[-1]
        layers.append((to_users @ items, to_items @ users))
    return layers


def mean(layers: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    return [np.mean(np.stack(of_each), axis=0) for of_each in zip(*layers, strict=True)]


def slow_info_nce(anchors: np.ndarray, others: np.ndarray, positives: np.ndarray, temperature: float) -> float:
    """The mean over anchors of -log softmax at their positive, one anchor at a time."""
    losses = []
    for anchor, positive in zip(unit(anchors), positives, strict=True):
        scores = np.exp(unit(others) @ anchor / temperature)
        losses.append(-np.log(scores[positive] / scores.sum()))
    return float(np.mean(losses))


def slow_bpr(users: np.ndarray, items: np.ndarray) -> float:
    batch = toy_batch(DATA)
    triples = zip(*map(array, (batch.users, batch.positives, batch.negatives)), strict=True)
    margins = [users[int(u)] @ (items[int(p)] - items[int(n)]) for u, p, n in triples]
    return float(np.mean(np.log1p(np.exp(-np.array(margins)))))


def nodes_of_batch() -> list[np.ndarray]:
    batch = toy_batch(DATA)
    return [np.unique(batch.users.numpy()), np.unique(batch.positives.numpy())]


def edges_of(graph: BipartiteGraph) -> np.ndarray:
    """The 0/1 matrix [U, I] of a graph."""
    return (graph.to_users.matrix.to_dense().numpy() > 0).astype(float)
