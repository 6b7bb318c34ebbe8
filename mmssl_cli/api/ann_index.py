"""An index of item embeddings for approximate search by the inner product, with faiss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import UsageError

INDEX = "items.index"
#: Format -> kind of index: inverted lists around k-means centres, or a graph of neighbours (Malkov, TPAMI 2020).
INDEXES = ("faiss", "hnsw")
#: Recall to reach, and the K and the number of users that it is measured with.
_ENOUGH, K, _SAMPLE = 0.99, 20, 1000
_NEIGHBOURS = 32


def build_index(users: np.ndarray, items: np.ndarray, kind: str) -> tuple[Any, float]:
    """Index item embeddings [I, d], and widen the search until its recall is 0.99 or it is exhaustive.

    Args:
        users: embeddings [U, d] to measure the recall with, on at most 1,000 of them.
        kind: one of ``INDEXES``.

    Returns:
        The index of faiss, row i as number i, and its recall: the share of the exact 20 best that it finds.

    Raises:
        UsageError: faiss is not installed.
    """
    try:
        import faiss
    except ImportError as problem:
        raise UsageError(
            f"--format {kind} needs faiss: pip install 'mmssl[ann]', or choose parquet or npy."
        ) from problem
    items = np.ascontiguousarray(items, dtype=np.float32)
    queries = np.random.default_rng(0).permutation(np.ascontiguousarray(users, dtype=np.float32))[:_SAMPLE]
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
    k = min(K, len(items))
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


def _exact(queries: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    scores = queries @ items.T
    best: np.ndarray = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return best


def _recall(found: np.ndarray, best: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(*rows)) / len(rows[1]) for rows in zip(found, best, strict=True)]))
