"""Metrics of the ranked lists alone, whatever is relevant: coverage, concentration, novelty, popularity, similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmssl_cli.evaluation.items import coverage
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.text import ACCURACY, OF_ALL_LISTS

BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Catalog:
    """The items that are ranked.

    Attributes:
        num_items: I.
        content: float [I, dim] for each modality, zero rows for items without it; only `similarity` reads it.
    """

    num_items: int
    content: Mapping[str, Tensor] = field(default_factory=dict)


class ListMetrics:
    """Metrics of ranked lists, block by block of users; the recommendations of a user are the first K of the list.

    - ``coverage``: share of all items in at least one list (Ge et al., RecSys 2010).
    - ``gini``: Gini coefficient of the numbers of recommendations of all items, 0 where all are recommended alike and
      near 1 where one item is all that is recommended (Fleder and Hosanagar, Management Science 2009).
    - ``novelty``: mean self-information of a list's items in bits, log2(U / n) of an item with n of the U users in
      training (Zhou et al., PNAS 2010); n counts as at least 1.
    - ``popularity``: mean number of training interactions of a list's items (Yin et al., VLDB 2012).
    - ``similarity``: mean cosine of the content of two items of a list (Ziegler et al., WWW 2005), the mean over the
      modalities in which at least two of its items have content.

    The last three are means over the users; a list without items (similarity: without two that can be compared)
    counts as 0.

    Args:
        metrics: names, those of accuracy among them are left out.
        ks: cut-offs K.
        train: training items of each user.
    """

    def __init__(self, metrics: Sequence[str], ks: Sequence[int], train: CSR, catalog: Catalog) -> None:
        self.names = [name for name in metrics if name not in ACCURACY]
        self.ks = sorted(set(ks))
        self._degree = torch.bincount(train.indices, minlength=catalog.num_items).double()
        self._bits = np.log2(max(train.num_rows, 1)) - self._degree.clamp(min=1).log2()
        self._content = catalog.content
        self._counts = {k: torch.zeros_like(self._degree) for k in self.ks}

    def add(self, topk: Tensor) -> dict[str, np.ndarray]:
        """Count the lists of a block of users, int64 [b, at least max(ks)], -1 for an empty place.

        Returns:
            The metrics that have a value a user, float64 [b] each: ``{"novelty@20": ...}``.
        """
        found: dict[str, np.ndarray] = {}
        if any(name in OF_ALL_LISTS for name in self.names):
            for k, counts in self._counts.items():
                first = topk[:, :k]
                counts += torch.bincount(first[first >= 0], minlength=len(counts))
        for name in self.names:
            if name in OF_ALL_LISTS:
                continue
            for k in self.ks:
                found[f"{name}@{k}"] = self._of_users(name, topk[:, :k]).cpu().numpy()
        return found

    def totals(self) -> dict[str, float]:
        """Return the metrics of all lists added: ``{"coverage@20": ...}``."""
        of = {"coverage": coverage, "gini": gini}
        counts = {k: one.cpu().numpy() for k, one in self._counts.items()}
        return {f"{name}@{k}": of[name](counts[k]) for name in self.names if name in of for k in self.ks}

    def _of_users(self, name: str, lists: Tensor) -> Tensor:
        if name == "similarity":
            return similarity(lists, self._content)
        there = lists >= 0
        values = (self._bits if name == "novelty" else self._degree)[lists.clamp(min=0)]
        return (values * there).sum(1) / there.sum(1).clamp(min=1)


def gini(counts: np.ndarray) -> float:
    """Return the Gini coefficient of non-negative counts [I], in [0, 1]; 0 where all are 0."""
    counts = np.sort(np.asarray(counts, dtype=np.float64))
    total, size = counts.sum(), len(counts)
    return float((2 * np.arange(1, size + 1) - size - 1) @ counts / (size * total)) if total else 0.0


def similarity(lists: Tensor, content: Mapping[str, Tensor]) -> Tensor:
    """Return the mean cosine of two items of each list, the mean over modalities; float64 [b], on the CPU.

    Args:
        lists: int64 [b, K] items, -1 for an empty place.
        content: float [I, dim] for each modality; items with a zero row are left out of it.
    """
    lists = lists.cpu()
    total, modalities = torch.zeros(len(lists), dtype=torch.float64), torch.zeros(len(lists), dtype=torch.float64)
    for rows in content.values():
        size = max(1, BLOCK_BYTES // (8 * lists.shape[1] * max(rows.shape[1], 1)))
        parts = [_cosines(block, rows) for block in lists.split(size)]
        cosines = torch.cat([mean for mean, _ in parts]) if parts else total
        compared = torch.cat([known for _, known in parts]) if parts else modalities
        total += cosines
        modalities += compared
    return (total / modalities.clamp(min=1)).clamp(-1, 1)


def _cosines(lists: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cosine of the pairs of each list, 0 without a pair, and 1 where there is one."""
    directions = normalize(rows[lists.clamp(min=0)].double(), dim=2) * (lists >= 0).unsqueeze(2)
    squares = directions.square().sum(2)
    known = (squares > 0).sum(1)
    # |sum of v|^2 = sum of |v|^2 + twice the sum over pairs.
    pairs = directions.sum(1).square().sum(1) - squares.sum(1)
    return pairs / (known * (known - 1)).clamp(min=1), (known > 1).double()
