"""Recall, Precision and NDCG at K of ranked lists, one value per user (Sec. 4.1.2 of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mmssl_cli.evaluation.ranking import Ranking, ranked_blocks
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.text import DEFAULT_KS
from pipelines.errors import InputError


def per_user_metrics(topk: Tensor, relevant: CSR, ks: Sequence[int] = DEFAULT_KS) -> dict[str, np.ndarray]:
    """Return Recall@K, Precision@K and NDCG@K of each user.

    With h the hits among the first K and r the relevant items of a user: recall = h / r, precision = h / K
    and ndcg = DCG / ideal DCG, where a hit at rank j (from 1) counts 1 / log2(j + 1) and the ideal list has
    its min(K, r) first places relevant.

    Args:
        topk: int64 [n, at least max(ks)] ranked items, best first; -1 is an empty place.
        relevant: the relevant items of the same n users, at least one each.
        ks: cut-offs K.

    Returns:
        ``{"recall@20": float64 [n], ...}``, in the order recall, precision, ndcg, each by rising K.

    Raises:
        ValueError: the lists are shorter than a K, or a user has no relevant item.
    """
    if max(ks) > topk.shape[1] or min(ks) < 1:
        raise ValueError(f"expected cut-offs from 1 to {topk.shape[1]} (the length of the lists), got {tuple(ks)}")
    counts = relevant.degrees()
    if len(counts) != len(topk) or bool((counts == 0).any()):
        raise ValueError("expected at least one relevant item for each ranked list")
    hits = _hits(topk, relevant).double()
    discount = 1 / torch.log2(torch.arange(2, topk.shape[1] + 2, dtype=torch.float64, device=topk.device))
    found, gain, ideal = hits.cumsum(1), (hits * discount).cumsum(1), discount.cumsum(0)
    values: dict[str, Tensor] = {}
    for metric in metric_names(ks):
        name, _, cut = metric.partition("@")
        k = int(cut)
        if name == "ndcg":
            values[metric] = gain[:, k - 1] / ideal[counts.clamp(max=k) - 1]
        else:
            values[metric] = found[:, k - 1] / (counts if name == "recall" else k)
    return dict(zip(values, torch.stack(list(values.values())).cpu().numpy(), strict=True))


def metric_names(ks: Sequence[int] = DEFAULT_KS) -> list[str]:
    """Return the names of the metrics of ``per_user_metrics``, in its order."""
    return [f"{name}@{k}" for name in ("recall", "precision", "ndcg") for k in sorted(set(ks))]


def _hits(topk: Tensor, relevant: CSR) -> Tensor:
    """Return True at each relevant ranked item, bool [n, K]: one search among the sorted (user, item) keys."""
    width = int(torch.maximum(topk.max(), relevant.indices.max())) + 2 if len(topk) else 1
    keys = relevant.row_of_each() * width + relevant.indices + 1
    # The shift by one keeps the empty place (-1) of a user apart from the items of the user before.
    wanted = torch.arange(len(topk), device=topk.device).unsqueeze(1) * width + topk + 1
    at = torch.searchsorted(keys, wanted).clamp(max=max(len(keys) - 1, 0))
    return keys[at] == wanted


def mean_metrics(per_user: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the mean over users of each metric."""
    return {name: float(np.mean(values)) for name, values in per_user.items()}


def evaluate(
    users: Tensor,
    items: Tensor,
    train: CSR,
    relevant: CSR,
    ks: Sequence[int] = DEFAULT_KS,
    on_progress: Callable[[pd.DataFrame], object] | None = None,
    on_ranked: Callable[[Tensor, Tensor], object] | None = None,
) -> tuple[dict[str, float], pd.DataFrame]:
    """All-rank evaluation: every item but the user's training items is a candidate (Sec. 4.1.2).

    Args:
        users: user embeddings [U, d].
        items: item embeddings [I, d].
        train: training items of each of the U users.
        relevant: items of each of the U users in the split to evaluate; only users with at least one count.
        ks: cut-offs K, at most the number of items.
        on_progress: called with the rows of each block of users as soon as it is ranked.
        on_ranked: called with the users of each block, int64 [b], and their ranked items [b, max(ks)].

    Returns:
        The mean of each metric over the users, and a table with a row a user: ``user`` and ``train_degree``
        (int32) and a float64 column a metric.

    Raises:
        UsageError: a K is above the number of items.
        InputError: no user has a relevant item.
        UnrankableError: an embedding is not finite, or scores overflow.
    """
    train, relevant = train.to(items.device), relevant.to(items.device)
    return evaluate_ranking(partial(ranked_blocks, users, items), train, relevant, ks, on_progress, on_ranked)


def evaluate_ranking(
    ranking: Ranking,
    train: CSR,
    relevant: CSR,
    ks: Sequence[int] = DEFAULT_KS,
    on_progress: Callable[[pd.DataFrame], object] | None = None,
    on_ranked: Callable[[Tensor, Tensor], object] | None = None,
) -> tuple[dict[str, float], pd.DataFrame]:
    """All-rank evaluation as ``evaluate`` does it, of items ranked in any way.

    Args:
        ranking: such as ``ranked_blocks`` of embeddings, or ``ranked_scores`` of a function.

    Raises:
        UsageError: a K is above the number of items.
        InputError: no user has a relevant item, or the scores have another shape or hold NaN.
        UnrankableError: an embedding is not finite, or scores overflow.
    """
    blocks = ranking(_evaluated(relevant), max(ks), train)
    return _measured(blocks, train, relevant, ks, on_progress, on_ranked)


def _evaluated(relevant: CSR) -> Tensor:
    """Return the users with a relevant item, int64."""
    user_ids = relevant.degrees().nonzero().squeeze(1)
    if not len(user_ids):
        raise InputError("No user has an item in the split to evaluate; expected at least one interaction in it.")
    return user_ids


def _measured(
    blocks: Iterable[tuple[Tensor, Tensor, Tensor]],
    train: CSR,
    relevant: CSR,
    ks: Sequence[int],
    on_progress: Callable[[pd.DataFrame], object] | None = None,
    on_ranked: Callable[[Tensor, Tensor], object] | None = None,
) -> tuple[dict[str, float], pd.DataFrame]:
    tables, degrees = [], train.degrees()
    for ids, topk, _ in blocks:
        columns = {"user": ids, "train_degree": degrees[ids]}
        counted = {name: values.cpu().numpy().astype(np.int32) for name, values in columns.items()}
        tables.append(pd.DataFrame({**counted, **per_user_metrics(topk, relevant.select(ids), ks)}))
        if on_progress is not None:
            on_progress(tables[-1])
        if on_ranked is not None:
            on_ranked(ids, topk)
    table = pd.concat(tables, ignore_index=True)
    return mean_metrics({name: np.ascontiguousarray(table[name]) for name in metric_names(ks)}), table
