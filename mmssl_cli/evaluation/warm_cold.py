"""Metrics of warm and of cold items apart; a cold item has no training interaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmssl_cli.evaluation.metrics import mean_metrics, metric_names, per_user_metrics
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.text import ACCURACY, DEFAULT_METRICS


class WarmCold:
    """Metrics with the relevant items restricted to the warm ones, and to the cold ones.

    The ranked lists are those of the overall metrics, over all items but the user's training items: a warm item takes
    a place before a cold one and the other way round. Users without a relevant item of the kind are left out.

    Args:
        train: training items of each user.
        relevant: items of each user in the split to evaluate, on the device of the ranked lists.
        ks: cut-offs K.
        metrics: their names; those of the lists alone are left out.
    """

    def __init__(self, train: CSR, relevant: CSR, ks: Sequence[int], metrics: Sequence[str] = DEFAULT_METRICS) -> None:
        cold = is_cold(train, relevant)
        self.ks, self.metrics = ks, [name for name in metrics if name in ACCURACY]
        #: Kind -> relevant items of each user; empty where no relevant item is cold.
        self.relevant = {"warm": relevant.where(~cold), "cold": relevant.where(cold)} if bool(cold.any()) else {}
        self._found: dict[str, list[dict[str, np.ndarray]]] = {kind: [] for kind in self.relevant}

    def add(self, users: Tensor, topk: Tensor) -> None:
        """Add the ranked lists [b, at least max(ks)] of a block of users, int64 [b]."""
        for kind, relevant in self.relevant.items():
            concerned = relevant.degrees()[users] > 0
            of_kind = relevant.select(users[concerned])
            self._found[kind].append(per_user_metrics(topk[concerned], of_kind, self.ks, self.metrics))

    def result(self) -> dict[str, Any]:
        """Return ``warm`` and ``cold``: numbers of ``users`` and ``interactions``, and ``metrics``, means over users.

        Empty where no relevant item is cold; a kind without relevant items has no metrics.
        """
        return {kind: self._of(kind) for kind in self.relevant}

    def _of(self, kind: str) -> dict[str, Any]:
        names = metric_names(self.ks, self.metrics)
        joined = {name: np.concatenate([values[name] for values in self._found[kind]]) for name in names}
        users = int((self.relevant[kind].degrees() > 0).sum())
        metrics = mean_metrics(joined) if users else {}
        return {"users": users, "interactions": len(self.relevant[kind]), "metrics": metrics}


def is_cold(train: CSR, relevant: CSR) -> Tensor:
    """Return which entries of ``relevant`` have an item without training interactions, bool [entries]."""
    return ~torch.isin(relevant.indices, train.indices.unique())
