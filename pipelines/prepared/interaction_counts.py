"""Counts of a prepared data set that tell how hard it is: cold items, and how few users have most interactions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipelines.prepared.dataset import SPLITS
from pipelines.prepared.storage import read_table

#: Share of the users, or items, that counts as the most active, or popular, ones.
TOP_SHARE = 0.01


def interaction_counts(folder: Path) -> dict[str, Any]:
    """Count the interactions of a prepared folder, as plain values.

    Returns:
        ``cold``: for validation and test the numbers of ``interactions`` with items without a training interaction, of
        those ``items``, and the ``share`` of the split's interactions; ``concentration``: of the most active 1 % of the
        ``users``, and of the most popular 1 % of the ``items`` (at least one), their ``number`` and the ``share`` of
        training interactions that they have.

    Raises:
        InputError: the table is damaged.
    """
    table = read_table("interactions", folder / "interactions.parquet")
    split = table["split"].astype(str).to_numpy()
    numbers = {"users": table["user"].to_numpy(), "items": table["item"].to_numpy()}
    train = split == "train"
    cold = ~np.isin(numbers["items"], numbers["items"][train])
    return {
        "cold": {name: _cold(numbers["items"], cold & (split == name), split == name) for name in SPLITS[1:]},
        "concentration": {kind: _concentration(np.bincount(of[train])) for kind, of in numbers.items()},
    }


def _cold(items: np.ndarray, cold: np.ndarray, of_split: np.ndarray) -> dict[str, Any]:
    interactions = int(cold.sum())
    share = interactions / max(1, int(of_split.sum()))
    return {"interactions": interactions, "items": len(np.unique(items[cold])), "share": share}


def _concentration(counts: np.ndarray) -> dict[str, Any]:
    """Share of the interactions of the top users (items), among those that have any, from their counts."""
    counts = np.sort(counts[counts > 0])[::-1]
    number = max(1, round(TOP_SHARE * len(counts)))
    return {"number": number, "share": float(counts[:number].sum() / counts.sum())}
