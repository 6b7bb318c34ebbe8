"""Ranked lists by item: hits of each item, and recommendations of rarely seen items (Fig. 1b, c)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mmssl_cli.evaluation.ranking import Ranking
from mmssl_cli.sparse.csr import CSR

#: The long tail: this share of all items, those of the lowest training degrees.
TAIL_SHARE = 0.8


def evaluate_items(ranking: Ranking, num_items: int, train: CSR, test: CSR, ks: Sequence[int]) -> pd.DataFrame:
    """Rank all items for each test user, as the test metrics do, and count by item.

    Args:
        ranking: such as ``ranked_blocks`` of embeddings.
        num_items: I.
        train: training items of each of the U users.
        test: test items of each of the U users; users without one are left out.
        ks: cut-offs K, at most the number of items.

    Returns:
        A row per item, int32: ``item``, ``train_degree``, ``relevant`` (test interactions with it), and for each K
        ``hits@K`` (test users who have it among their test items and in their first K) and ``recommended@K``
        (test users who have it in their first K).

    Raises:
        UsageError: a K is above the number of items.
        UnrankableError: an embedding is not finite, or scores overflow.
    """
    user_ids = test.degrees().nonzero().squeeze(1)
    columns = {
        "item": torch.arange(num_items),
        "train_degree": torch.bincount(train.indices, minlength=num_items),
        "relevant": torch.bincount(test.indices, minlength=num_items),
    }
    for k in sorted(set(ks)):
        columns[f"hits@{k}"] = columns[f"recommended@{k}"] = torch.zeros_like(columns["relevant"])
    for ids, topk, _ in ranking(user_ids, max(ks), train):
        for name, counts in item_counts(topk, test.select(ids), num_items, ks).items():
            columns[name] = columns[name] + counts
    return pd.DataFrame({name: counts.cpu().numpy().astype(np.int32) for name, counts in columns.items()})


def item_counts(topk: Tensor, relevant: CSR, num_items: int, ks: Sequence[int]) -> dict[str, Tensor]:
    """Count the hits and the recommendations of each item.

    Args:
        topk: int64 [n, at least max(ks)] ranked items, best first; -1 is an empty place.
        relevant: the relevant items of the same n users.

    Returns:
        ``hits@K`` and ``recommended@K`` for each K, int64 [num_items].
    """
    rows = torch.arange(len(topk), device=topk.device).unsqueeze(1)
    keys = relevant.row_of_each() * num_items + relevant.indices
    shown = topk >= 0
    hit = shown & torch.isin(rows * num_items + topk, keys)
    counts: dict[str, Tensor] = {}
    for k in sorted(set(ks)):
        first = topk[:, :k]
        counts[f"hits@{k}"] = torch.bincount(first[hit[:, :k]], minlength=num_items)
        counts[f"recommended@{k}"] = torch.bincount(first[shown[:, :k]], minlength=num_items)
    return counts


def tail_items(train_degree: np.ndarray, share: float = TAIL_SHARE) -> np.ndarray:
    """Return the long tail: the ``share`` of all items with the lowest training degrees.

    Among items of one degree at the border those of the lower index are in the tail, so that its size is exact.

    Returns:
        bool [I].
    """
    order = np.argsort(train_degree, kind="stable")
    tail = np.zeros(len(order), dtype=bool)
    tail[order[: round(share * len(order))]] = True
    return tail


def accuracy_of_items(hits: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return the recall of each item: hits by test interactions, float64 [I]; NaN for items without any."""
    return np.divide(hits, relevant, out=np.full(len(relevant), np.nan), where=np.asarray(relevant) > 0)


def share_of(counts: np.ndarray, chosen: np.ndarray) -> float:
    """Return the share of all ``counts`` that the ``chosen`` items (bool [I]) have; NaN if there are none."""
    total = float(counts.sum())
    return float(counts[chosen].sum()) / total if total else float("nan")


def coverage(recommended: np.ndarray) -> float:
    """Return the share of all items that are in at least one list."""
    return float((np.asarray(recommended) > 0).mean())


def degree_groups(train_degree: np.ndarray) -> list[tuple[int, int]]:
    """Return ranges of training degree that double, (first, last): 0, 1, 2 to 3, 4 to 7, ... up to the highest."""
    highest, groups, first = int(np.max(train_degree)), [(0, 0)], 1
    while first <= highest:
        groups.append((first, 2 * first - 1))
        first *= 2
    return groups
