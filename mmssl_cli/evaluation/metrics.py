"""Metrics at K of ranked lists: of accuracy, one value a user (Sec. 4.1.2 of the paper), and of the lists alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mmssl_cli.evaluation.lists import Catalog, ListMetrics
from mmssl_cli.evaluation.ranking import Ranking, ranked_blocks
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.text import ACCURACY, DEFAULT_KS, DEFAULT_METRICS, OF_ALL_LISTS
from pipelines.errors import InputError


def per_user_metrics(
    topk: Tensor, relevant: CSR, ks: Sequence[int] = DEFAULT_KS, metrics: Sequence[str] = DEFAULT_METRICS
) -> dict[str, np.ndarray]:
    """Return metrics of accuracy of each user.

    With h the hits among the first K and r the relevant items of a user:

    - ``recall``: h / r; ``precision``: h / K; ``hit``: 1 where h > 0, else 0.
    - ``ndcg``: DCG / ideal DCG, where a hit at rank j (from 1) counts 1 / log2(j + 1) and the ideal list has its
      min(K, r) first places relevant (Järvelin and Kekäläinen, TOIS 2002).
    - ``mrr``: 1 / rank of the first hit, 0 without one (Voorhees, TREC 1999).
    - ``map``: the sum of precision@j over the ranks j of the hits, by min(K, r), so that 1 can be reached at any K;
      trec_eval divides by r.

    Args:
        topk: int64 [n, at least max(ks)] ranked items, best first; -1 is an empty place.
        relevant: the relevant items of the same n users, at least one each.
        ks: cut-offs K.
        metrics: their names; those of the lists alone are left out.

    Returns:
        ``{"recall@20": float64 [n], ...}``, in the order of ``metrics``, each by rising K.

    Raises:
        ValueError: the lists are shorter than a K, or a user has no relevant item.
    """
    if max(ks) > topk.shape[1] or min(ks) < 1:
        raise ValueError(f"expected cut-offs from 1 to {topk.shape[1]} (the length of the lists), got {tuple(ks)}")
    counts = relevant.degrees()
    if len(counts) != len(topk) or bool((counts == 0).any()):
        raise ValueError("expected at least one relevant item for each ranked list")
    hits = _hits(topk, relevant).double()
    ranks = torch.arange(1, topk.shape[1] + 1, dtype=torch.float64, device=topk.device)
    discount = 1 / torch.log2(ranks + 1)
    found, ideal = hits.cumsum(1), discount.cumsum(0)
    # Metric -> what the list has gained by each rank, and the most it can gain by K.
    gained: dict[str, tuple[Tensor, Callable[[int], Tensor | int]]] = {
        "recall": (found, lambda k: counts),
        "precision": (found, lambda k: k),
        "ndcg": ((hits * discount).cumsum(1), lambda k: ideal[counts.clamp(max=k) - 1]),
        "hit": (found.clamp(max=1), lambda k: 1),
        "mrr": ((hits / ranks).cummax(1).values, lambda k: 1),
        "map": ((hits * found / ranks).cumsum(1), lambda k: counts.clamp(max=k)),
    }
    values = {
        f"{name}@{k}": gained[name][0][:, k - 1] / gained[name][1](k)
        for name in _of_accuracy(metrics)
        for k in sorted(set(ks))
    }
    return dict(zip(values, torch.stack(list(values.values())).cpu().numpy(), strict=True)) if values else {}


def metric_names(ks: Sequence[int] = DEFAULT_KS, metrics: Sequence[str] = DEFAULT_METRICS) -> list[str]:
    """Return the names with cut-offs, in the order of ``metrics``, each by rising K."""
    return [f"{name}@{k}" for name in metrics for k in sorted(set(ks))]


def user_metric_names(ks: Sequence[int], metrics: Sequence[str]) -> list[str]:
    """Return the names with cut-offs of the metrics with a value a user, as the table of ``evaluate`` has them."""
    accuracy = _of_accuracy(metrics)
    return metric_names(ks, [*accuracy, *(one for one in metrics if one not in (*accuracy, *OF_ALL_LISTS))])


def _of_accuracy(metrics: Sequence[str]) -> list[str]:
    return [name for name in metrics if name in ACCURACY]


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
    metrics: Sequence[str] = DEFAULT_METRICS,
    catalog: Catalog | None = None,
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
        metrics: their names, as of ``per_user_metrics`` and :class:`ListMetrics`.
        catalog: the items, for metrics of the lists alone.

    Returns:
        The mean of each metric over the users, and a table with a row per user: ``user`` and ``train_degree``
        (int32) and a float64 column a metric; a metric of all lists together has no column.

    Raises:
        UsageError: a K is above the number of items.
        InputError: no user has a relevant item.
        UnrankableError: an embedding is not finite, or scores overflow.
    """
    train, relevant = train.to(items.device), relevant.to(items.device)
    ranking = partial(ranked_blocks, users, items)
    return evaluate_ranking(ranking, train, relevant, ks, on_progress, on_ranked, metrics, catalog)


def evaluate_ranking(
    ranking: Ranking,
    train: CSR,
    relevant: CSR,
    ks: Sequence[int] = DEFAULT_KS,
    on_progress: Callable[[pd.DataFrame], object] | None = None,
    on_ranked: Callable[[Tensor, Tensor], object] | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    catalog: Catalog | None = None,
) -> tuple[dict[str, float], pd.DataFrame]:
    """All-rank evaluation as ``evaluate`` does it, of items ranked in any way.

    Args:
        ranking: such as ``ranked_blocks`` of embeddings, or ``ranked_scores`` of a function.

    Raises:
        UsageError: a K is above the number of items.
        InputError: no user has a relevant item, or the scores have another shape or hold NaN.
        UnrankableError: an embedding is not finite, or scores overflow.
    """
    ranked = ranking(_evaluated(relevant), max(ks), train)
    lists = ListMetrics(metrics, ks, train, catalog) if catalog is not None else None
    tables, degrees = [], train.degrees()
    for ids, topk, _ in ranked:
        columns = {"user": ids, "train_degree": degrees[ids]}
        counted = {name: values.cpu().numpy().astype(np.int32) for name, values in columns.items()}
        of_users = per_user_metrics(topk, relevant.select(ids), ks, metrics)
        tables.append(pd.DataFrame({**counted, **of_users, **(lists.add(topk) if lists else {})}))
        if on_progress is not None:
            on_progress(tables[-1])
        if on_ranked is not None:
            on_ranked(ids, topk)
    table = pd.concat(tables, ignore_index=True)
    measured = [name for name in table if name not in ("user", "train_degree")]
    means = mean_metrics({name: np.ascontiguousarray(table[name]) for name in measured})
    means |= lists.totals() if lists else {}
    return {name: means[name] for name in metric_names(ks, metrics)}, table


def _evaluated(relevant: CSR) -> Tensor:
    """Return the users with a relevant item, int64."""
    user_ids = relevant.degrees().nonzero().squeeze(1)
    if not len(user_ids):
        raise InputError("No user has an item in the split to evaluate; expected at least one interaction in it.")
    return user_ids
