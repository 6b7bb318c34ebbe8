"""Popularity, the simplest baseline (see Dacrema et al., RecSys 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from mmssl_cli.config.fitted import PopSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import Recommender
from mmssl_cli.sparse.csr import CSR


def popular_without_items(scores: Tensor, items: CSR, popularity: Tensor) -> Tensor:
    """Return scores [n, I] with the popularity [I] of items in the rows of users who have none, as 0 tells nothing."""
    without = (items.indptr.diff() == 0).unsqueeze(1)
    return torch.where(without, popularity, scores) if without.any() else scores


class Pop(Recommender):
    """The score of an item is its number of training interactions."""

    settings: PopSettings
    counts: Tensor  #: float32 [I]

    def fit(self, data: InteractionData) -> None:
        """Count the training interactions of each item."""
        self.counts = torch.bincount(data.train.indices, minlength=self.num_items).float()

    def score(self, users: Tensor) -> Tensor:
        """Return the counts for each user, [n, I]."""
        return self.counts.repeat(len(users), 1)
