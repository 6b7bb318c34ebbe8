"""Slow NumPy forms that the tests of the models of content structure share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.registry import build_model
from tests.helpers.model_cases import array, unit, weighted


def built(model: str, data: InteractionData, **settings: Any) -> Any:
    """The model with 6 dimensions, from a fixed seed, before its first epoch."""
    torch.manual_seed(7)
    values = {"model": model, "embedding_dim": 6, "graph_topk": 3, "batch_size": 8, **settings}
    fields = build_settings({"model": model}).model_dump().keys()
    return build_model(data, build_settings({name: value for name, value in values.items() if name in fields}))


def content(model: Any) -> dict[str, np.ndarray]:
    """Projected content of each modality [I, d]; absent items are zero."""
    rows = {}
    for name, layer in model.content.layers.items():
        mapped = array(model.content.raw[name]) @ array(layer.weight).T + array(layer.bias)
        rows[name] = mapped * array(model.content.present[name])
    return rows


def nearest(rows: np.ndarray, k: int, binary: bool = False) -> np.ndarray:
    """Dense D^-1/2 A D^-1/2 of the ``k`` items of largest cosine above 0, themselves among them."""
    rows = unit(rows)
    graph = np.zeros((len(rows), len(rows)))
    for item in range(len(rows)):
        cosines = rows @ rows[item]
        for other in np.argsort(-cosines)[:k]:
            if cosines[other] > 0:
                graph[item, other] = 1 if binary else cosines[other]
    return normalised(graph)


def normalised(graph: np.ndarray) -> np.ndarray:
    """D^-1/2 A D^-1/2, D the sums of the rows of A."""
    sums = graph.sum(axis=1)
    scale = 1 / np.sqrt(np.where(sums > 0, sums, 1))
    return scale[:, None] * graph * scale


def lightgcn(users: np.ndarray, items: np.ndarray, matrix: np.ndarray, layers: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of ``layers`` + 1 layers over a 0/1 matrix [U, I]."""
    to_users, to_items = weighted(matrix, "sym")
    of_users, of_items = [users], [items]
    for _ in range(layers):
        users, items = to_users @ items, to_items @ users
        of_users, of_items = [*of_users, users], [*of_items, items]
    return np.mean(of_users, axis=0), np.mean(of_items, axis=0)


def bpr(users: np.ndarray, items: np.ndarray, batch: Batch) -> np.ndarray:
    """-log sigmoid(y_up - y_un) of each triple."""
    triples = zip(batch.users.tolist(), batch.positives.tolist(), batch.negatives.tolist(), strict=True)
    return np.array([-np.log(1 / (1 + np.exp(-users[u] @ (items[p] - items[n])))) for u, p, n in triples])


def info_nce(anchors: np.ndarray, others: np.ndarray, temperature: float) -> float:
    """The mean of -log softmax of the cosine with the own row among all ``others``."""
    logits = np.exp(unit(anchors) @ unit(others).T / temperature)
    return float(np.mean([-np.log(row[own] / row.sum()) for own, row in enumerate(logits)]))


def l2_of_batch(weight: float, users: np.ndarray, items: np.ndarray, batch: Batch) -> float:
    """weight / 2 x the mean over triples of the squared norms of their three rows."""
    rows = users[batch.users.numpy()], items[batch.positives.numpy()], items[batch.negatives.numpy()]
    return weight * sum(float((of**2).sum()) for of in rows) / (2 * len(batch.users))


def sigmoid_of(gate: Any, rows: np.ndarray) -> np.ndarray:
    """The sigmoid of a linear layer of rows [n, d]."""
    return 1 / (1 + np.exp(-(rows @ array(gate[0].weight).T + array(gate[0].bias))))
