"""Small random cases for the tests of the model, and the slow NumPy forms that several of them compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.mmssl.discriminator import Discriminator
from mmssl_cli.models.mmssl.model import MMSSL
from mmssl_cli.models.registry import build_model
from mmssl_cli.sparse.csr import CSR
from pipelines.prepared import Features, PreparedDataset, write_prepared

MODALITIES = {"visual": 7, "text": 5}
ABSENT = {"visual": (2, 5)}


def toy_pairs(seed: int = 0, users: int = 12, items: int = 9) -> np.ndarray:
    """Training pairs [n, 2]: every user has 1 to 5 items, user 0 has one; the last item has no user."""
    random = np.random.default_rng(seed)
    degrees = [1, *random.integers(1, 6, users - 1)]
    chosen = [random.choice(items - 1, degree, replace=False) for degree in degrees]
    return np.array([(user, item) for user, row in enumerate(chosen) for item in row])


def held_out_pairs(seed: int, train: np.ndarray, users: int = 12, items: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Validation and test pairs [n, 2], none of them in training or in both."""
    free = np.ones((users, items), dtype=bool)
    free[train[:, 0], train[:, 1]] = False
    pairs = np.random.default_rng(seed).permutation(np.argwhere(free))
    return pairs[:users], pairs[users : 2 * users]


def toy_data(
    seed: int = 0,
    modalities: Mapping[str, int] = MODALITIES,
    absent: Mapping[str, Sequence[int]] = ABSENT,
    users: int = 12,
    items: int = 9,
    held_out_seed: int = 1,
) -> InteractionData:
    """A data set in memory: ``modalities`` maps a name to its dimension, ``absent`` to items that lack it."""
    train = toy_pairs(seed, users, items)
    validation, test = held_out_pairs(held_out_seed, train, users, items)
    features, present = {}, {}
    for number, (name, dim) in enumerate(modalities.items()):
        random = np.random.default_rng([seed, number])
        present[name] = torch.ones(items, dtype=torch.bool)
        present[name][list(absent.get(name, ()))] = False
        raw = torch.from_numpy(random.normal(size=(items, dim)).astype(np.float32))
        features[name] = raw * present[name].unsqueeze(1)
    splits = {
        name: CSR.from_pairs(pairs, users) for name, pairs in zip(_SPLITS, (train, validation, test), strict=True)
    }
    return InteractionData("toy", users, items, **splits, features=features, present=present)


_SPLITS = ("train", "validation", "test")


def write_toy(
    data_dir: Path,
    seed: int = 0,
    held_out_seed: int = 1,
    modalities: Mapping[str, int] = MODALITIES,
    **of_manifest: Any,
) -> Path:
    """The same data set prepared on disk as ``<data_dir>/toy``, with users and items enough for K = 20."""
    users, items = 30, 25
    data = toy_data(seed, modalities, users=users, items=items, held_out_seed=held_out_seed)
    rows = [
        pd.DataFrame({"user": csr.row_of_each().numpy(), "item": csr.indices.numpy(), "split": split})
        for split, csr in zip(_SPLITS, (data.train, data.validation, data.test), strict=True)
    ]
    table = pd.concat(rows, ignore_index=True).astype({"user": np.int32, "item": np.int32})
    dataset = PreparedDataset(
        name="toy",
        users=pd.DataFrame({"user": np.arange(users, dtype=np.int32), "id": [f"u{n}" for n in range(users)]}),
        items=pd.DataFrame({"item": np.arange(items, dtype=np.int32), "id": [f"i{n}" for n in range(items)]}),
        interactions=table,
        features={name: Features(v.numpy(), data.present[name].numpy(), {}) for name, v in data.features.items()},
        settings=of_manifest,
    )
    write_prepared(dataset, data_dir / "toy")
    return data_dir


def toy_model(data: InteractionData, **settings: Any) -> MMSSL:
    """MMSSL of 8 dimensions on ``data``, without dropout unless asked for, from a fixed seed."""
    values = {"model": "mmssl", "embedding_dim": 8, "heads": 2, "graph_topk": 3, "dropout": 0.0, "batch_size": 8}
    values |= {"discriminator_dropout": 0.0, "discriminator_hidden": 6, **settings}
    torch.manual_seed(7)
    model = build_model(data, build_settings(values))
    assert isinstance(model, MMSSL)
    return model


def toy_batch(data: InteractionData, size: int = 8, seed: int = 3) -> Batch:
    """Random triples whose users repeat; the negatives are no training items."""
    random = np.random.default_rng(seed)
    matrix = dense(data.train, data.num_items)
    users = random.integers(data.num_users // 2, size=size)
    positives = [random.choice(np.flatnonzero(matrix[user])) for user in users]
    negatives = [random.choice(np.flatnonzero(matrix[user] == 0)) for user in users]
    assert len(set(users)) < size
    triples = [torch.tensor(np.array(column), dtype=torch.int64) for column in (users, positives, negatives)]
    return Batch(*triples, distinct_users=torch.tensor(sorted(set(users.tolist()))))


def dense(matrix: CSR, columns: int) -> np.ndarray:
    """The 0/1 matrix, float64 [rows, columns]."""
    full = np.zeros((matrix.num_rows, columns))
    for row in range(matrix.num_rows):
        for column in matrix.row(row).tolist():
            full[row, column] = 1
    return full


def weighted(matrix: np.ndarray, adjacency: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights of users from items [U, I] and of items from users [I, U], entry by entry from a 0/1 matrix [U, I]."""
    to_users, to_items = np.zeros(matrix.shape), np.zeros(matrix.T.shape)
    for user, item in np.argwhere(matrix):
        of_user, of_item = matrix[user].sum(), matrix[:, item].sum()
        if adjacency == "sym":
            to_users[user, item] = to_items[item, user] = 1 / np.sqrt(of_user * of_item)
        else:
            to_users[user, item] = 1 / np.sqrt(of_user)
            to_items[item, user] = 1 / np.sqrt(of_item)
    return to_users, to_items


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of unit norm; zero rows stay."""
    lengths = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows / np.where(lengths > 0, lengths, 1)


def array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as float64."""
    return tensor.detach().double().numpy()


def projected(model: MMSSL) -> list[np.ndarray]:
    """The input of Eq. 2 for each modality, [I, d]: raw features through the linear layer, absent items zero."""
    rows = []
    for name, layer in model.generator.projections.items():
        mapped = array(model.generator.raw[name]) @ array(layer.weight).T + array(layer.bias)
        rows.append(mapped * array(model.generator.present[name]))
    return rows


def features_of(model: MMSSL, matrix: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Eq. 2: (f_u, f_i) for each modality from the 0/1 training matrix."""
    to_users, to_items = weighted(matrix, model.settings.adjacency)
    return [(to_users @ rows, to_items @ to_users @ rows) for rows in projected(model)]


def dense_outputs(d: Discriminator, rows: np.ndarray, batch_statistics: bool = False) -> np.ndarray:
    """Eq. 4 of rows [n, I], without dropout: with running statistics, or with those of the rows themselves."""
    linear1, act1, norm1, _, linear2, act2, norm2, _, last, _ = d.first, *d.rest
    for linear, act, norm in ((linear1, act1, norm1), (linear2, act2, norm2)):
        rows = rows @ array(linear.weight).T + array(linear.bias)
        rows = np.where(rows > 0, rows, act.negative_slope * rows)
        if batch_statistics:
            mean, variance = rows.mean(axis=0), rows.var(axis=0)
        else:
            mean, variance = array(norm.running_mean), array(norm.running_var)
        rows = (rows - mean) / np.sqrt(variance + norm.eps) * array(norm.weight) + array(norm.bias)
    return 1 / (1 + np.exp(-(rows @ array(last.weight).T + array(last.bias))[:, 0]))


def randomise(d: Discriminator, seed: int = 5) -> Discriminator:
    """Random biases, scales and running statistics in place of the ones and zeros of a new discriminator."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in d.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype)
                tensor.copy_(noise + 0.5 if name.endswith("running_var") else noise * 2 - 1)
    return d
