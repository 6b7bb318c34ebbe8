"""Final embeddings with the ids of the data, and their files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmssl_cli.evaluation.ann_index import INDEX, INDEXES, build_index, check_installed, write_index
from pipelines.errors import InputError
from pipelines.io.files import atomic_folder


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings of users or items.

    Attributes:
        ids: original ids [n].
        values: float32 [n, d]; row i belongs to ``ids[i]``.

    Examples:
        >>> users, items = run.embeddings()
        >>> items.values.shape, items.ids[3], len(items)
        ((400, 64), 'item-0003', 400)
        >>> items.to_pandas().shape
        (400, 64)
    """

    ids: list[str]
    values: np.ndarray

    def __len__(self) -> int:
        """Return n."""
        return len(self.ids)

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame [n, d], float32: a row an embedding, its id as the index ``id``."""
        return pd.DataFrame(self.values, index=pd.Index(self.ids, name="id"))


class EmbeddingPair(NamedTuple):
    """Embeddings of the users and of the items of a run, of the same d."""

    users: Embeddings
    items: Embeddings


def write_embeddings(pair: EmbeddingPair, folder: Path, format: str) -> float | None:
    """Write the embeddings to a new or empty folder, whole or not at all.

    Args:
        format: ``parquet``: users.parquet and items.parquet, with ``id`` (string) and ``embedding`` (a list of d
            float32); ``npy``: users.npy and items.npy, float32 [n, d], and users.ids.json and items.ids.json; or
            ``faiss`` and ``hnsw``: as npy, and items.index for approximate search (``evaluation/ann_index.py``).

    Returns:
        The recall of the index against exact search, None without one.

    Raises:
        InputError: the folder holds files, or cannot be written.
        UsageError: the package of the index is not installed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already exists and is not an empty folder; remove it or choose another one.")
    recall: float | None = None
    if format in INDEXES:
        check_installed(f"--format {format}", "parquet or npy")
        index, recall = build_index(pair.users.values, pair.items.values, format)
    with atomic_folder(folder) as place:
        for name, embeddings in pair._asdict().items():
            if format != "parquet":
                np.save(place / f"{name}.npy", embeddings.values)
                text = json.dumps(embeddings.ids, ensure_ascii=False, indent=0)
                (place / f"{name}.ids.json").write_text(text + "\n", encoding="utf-8")
            else:
                pq.write_table(_table(embeddings), place / f"{name}.parquet")
        if recall is not None:
            write_index(index, place / INDEX)
    return recall


def _table(embeddings: Embeddings) -> pa.Table:
    flat = pa.array(embeddings.values.reshape(-1), pa.float32())
    vectors = pa.FixedSizeListArray.from_arrays(flat, embeddings.values.shape[1])
    return pa.table({"id": pa.array(embeddings.ids, pa.string()), "embedding": vectors})
