"""Approximate search by the inner product, through an index of faiss: the best keys of each query without all products.

The index is widened until it finds 99 % of the exact best of a sample of the queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmssl_cli.evaluation.ranking import NO_ITEM, Ranking, embedding_ranking, rank_topk
from mmssl_cli.sparse.csr import CSR
from pipelines.errors import UsageError

INDEX = "items.index"
#: Kinds of index: inverted lists around k-means centres, or a graph of neighbours (Malkov, TPAMI 2020).
INDEXES = ("faiss", "hnsw")
#: Recall to reach, and the K and the number of users that it is measured with.
_ENOUGH, K, _SAMPLE = 0.99, 20, 1000
_NEIGHBOURS = 32
_BLOCK = 4096  # queries searched at once


def check_installed(flag: str, instead: str) -> None:
    """Check that faiss is installed.

    Args:
        flag: what asked for it; ``instead``: what does without.

    Raises:
        UsageError: it is not.
    """
    try:
        import faiss  # noqa: F401
    except ImportError as problem:
        raise UsageError(f"{flag} needs faiss: pip install 'mmssl[ann]', or choose {instead}.") from problem


def build_index(users: np.ndarray, items: np.ndarray, kind: str, k: int = K) -> tuple[Any, float]:
    """Index item embeddings [I, d], and widen the search until its recall is 0.99 or it is exhaustive.

    Args:
        users: embeddings [U, d] to measure the recall with, on at most 1,000 of them.
        kind: one of ``INDEXES``.
        k: items a user in the recall.

    Returns:
        The index of faiss, row i as number i, and its recall: the share of the exact ``k`` best that it finds.
    """
    import faiss

    items = np.ascontiguousarray(items, dtype=np.float32)
    queries = np.ascontiguousarray(users[_sample(len(users))], dtype=np.float32)
    index: Any
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(items.shape[1], _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    else:
        lists = max(1, min(len(items) // 40, int(4 * len(items) ** 0.5)))  # faiss wants 39 points a centre
        centres: Any = faiss.IndexFlatIP(items.shape[1])
        index = faiss.IndexIVFFlat(centres, items.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        index.own_fields = True
        centres.this.disown()
        index.train(items)
    index.add(items)
    k = min(k, len(items))
    best = _exact(queries, items, k)
    width, most = (k, 16 * len(items)) if kind == "hnsw" else (1, index.nlist)
    while True:
        if kind == "hnsw":
            index.hnsw.efSearch = width
        else:
            index.nprobe = width
        recall = _recall(index.search(queries, k)[1], best)
        if recall >= _ENOUGH or width >= most:
            return index, recall
        width = min(2 * width, most)


def write_index(index: Any, path: Path) -> None:
    """Write an index in the format of ``faiss.read_index``."""
    import faiss

    faiss.write_index(index, str(path))


def cosine_index(queries: Tensor, keys: Tensor, k: int) -> tuple[Any, float]:
    """Index the directions of keys [m, d]; return the index and its recall of the ``k`` best of some queries [n, d]."""
    return build_index(_directions(queries[_sample(len(queries))]), _directions(keys), "faiss", k)


def nearest_by(index: Any, queries: Tensor, k: int) -> Tensor:
    """Return nearly what ``cosine_topk`` finds, int64 [n, k]: -1 in places without a positive cosine.

    Args:
        index: of the directions of the keys; a zero row is no neighbour of anything.
        queries: [n, d].
        k: neighbours a query, at most the number of keys.
    """
    found = []
    for block in queries.split(_BLOCK):
        cosines, nearest = index.search(_directions(block), k)
        found.append(torch.from_numpy(np.where(cosines > 0, nearest, -1)))
    return torch.cat(found).to(queries.device)


def _directions(rows: Tensor) -> np.ndarray:
    directions: np.ndarray = torch.nn.functional.normalize(rows.float(), dim=1).cpu().numpy()
    return directions


def _sample(count: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(count)[:_SAMPLE]


def index_ranking(users: Tensor, items: Tensor, kind: str, candidates: Tensor | None = None) -> Ranking:
    """Return a function that ranks items for given users nearly as ``ranked_blocks`` does, through an index.

    The scores are exact. A user whose list the index does not fill, for its training items are many, is ranked exactly.

    Args:
        users: embeddings [U, d]; items: [I, d].
        candidates: the items that may appear, bool [I]; by default all.
    """
    rows = torch.arange(len(items)) if candidates is None else candidates.nonzero().squeeze(1).cpu()
    index, _ = build_index(users.float().cpu().numpy(), items.float().cpu().numpy()[rows.numpy()], kind)
    exact = embedding_ranking(users, items, candidates)
    return partial(_ranked_by_index, index, users.float().cpu().numpy(), rows, exact)


def _ranked_by_index(
    index: Any, users: np.ndarray, rows: Tensor, exact: Ranking, user_ids: Tensor, k: int, masked: CSR | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for ids in user_ids.split(_BLOCK):
        struck = CSR.from_pairs(np.empty((0, 2), dtype=np.int64), len(ids)) if masked is None else masked.select(ids)
        found, scores = _searched(index, users[ids.cpu().numpy()], rows, k, struck)
        short = (found[:, -1] == NO_ITEM).nonzero().squeeze(1)
        best, values = found.to(ids.device), scores.to(ids.device)
        done = 0
        for _, others, of_others in exact(ids[short.to(ids.device)], k, masked) if len(short) else ():
            at = short[done : done + len(others)].to(ids.device)
            best[at], values[at] = others, of_others.float()
            done += len(others)
        yield ids, best, values


def _searched(index: Any, users: np.ndarray, rows: Tensor, k: int, struck: CSR) -> tuple[Tensor, Tensor]:
    """The best ``k`` of the index for users [b, d] that are not struck out, int64 and float32 [b, k], -1 and -inf."""
    best, values = torch.full((len(users), k), NO_ITEM), torch.full((len(users), k), float("-inf"))
    degrees = struck.degrees().cpu()
    # As many more as are struck out, rounded up to a power of two, so that few searches serve all.
    widths = (2 ** (k + degrees).double().log2().ceil()).long().clamp(max=len(rows))
    num_items = int(rows[-1]) + 1
    taken = (struck.row_of_each() * num_items + struck.indices).cpu()[struck.indices.cpu() < num_items]
    for width in widths.unique().tolist():
        of_width = (widths == width).nonzero().squeeze(1)
        scores, found = (torch.from_numpy(t) for t in index.search(users[of_width.numpy()], width))
        items = torch.where(found >= 0, rows[found.clamp(min=0)], NO_ITEM)
        out = (items < 0) | torch.isin(of_width.unsqueeze(1) * num_items + items, taken)
        by_item, order = items.masked_fill(out, NO_ITEM).sort(dim=1)
        scores = scores.masked_fill(out, float("-inf")).gather(1, order)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        kept = min(k, width)
        best[of_width, :kept], values[of_width, :kept] = by_item.gather(1, order)[:, :kept], scores[:, :kept]
    return best, values


def _exact(queries: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    best: np.ndarray = rank_topk(
        torch.from_numpy(queries), torch.from_numpy(items), torch.arange(len(queries)), k
    ).numpy()
    return best


def _recall(found: np.ndarray, best: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(*rows)) / len(rows[1]) for rows in zip(found, best, strict=True)]))
