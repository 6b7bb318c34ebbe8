"""A model of your own, in one file.

    mmssl train --model my_model:MyModel --dataset demo --shrinkage 5
    mmssl --import my_model:MyModel evaluate latest
    mmssl --import my_model:MyModel recommend latest --user user-0007
    mmssl compare --models my_model:MyModel,lightgcn --dataset demo

A model computed at once defines ``fit``, as here. One that is trained in steps defines ``training_step(batch)`` in its
place, has ``nn.Parameter`` attributes, and derives its settings from ``TrainSettings``.
"""

import torch
from pydantic import Field
from torch import Tensor

from mmssl_cli.config import FittedSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import Recommender
from mmssl_cli.sparse.csr import CSR


class MySettings(FittedSettings):
    """Item neighbours: items that share users with those that the user has."""

    # Each field is a flag of `mmssl train` (--shrinkage) and a key of a settings file.
    shrinkage: float = Field(10.0, ge=0, description="Number added to the denominator of the cosine.")


class MyModel(Recommender):
    """The score of an item is the sum of its cosines with the items of the user."""

    settings: MySettings  # says which settings the model has
    similarity: Tensor

    def __init__(self, data: InteractionData, settings: MySettings) -> None:
        super().__init__(data, settings)
        self.history = data.train  # the items of each user, in compressed sparse rows

    def fit(self, data: InteractionData) -> None:
        """Compute the model; tensors that are set as attributes here are saved with the run."""
        ratings = self.ratings(data.train)
        both = ratings.T @ ratings  # users that two items share, [I, I]
        counts = both.diagonal()
        cosine = both / ((counts[:, None] * counts[None, :]).sqrt() + self.settings.shrinkage + 1e-9)
        self.similarity = cosine.fill_diagonal_(0)

    def score(self, users: Tensor) -> Tensor:
        """Return the scores of all items for users, int64 [n], as [n, I]; training items are left out later."""
        return self.score_from_items(self.history.select(users))

    def score_from_items(self, items: CSR) -> Tensor:
        """Return the same for users who have these items: for similar items and new users; may be left out."""
        return self.ratings(items) @ self.similarity

    def ratings(self, items: CSR) -> Tensor:
        """Return 1 where a user has an item, else 0, [n, I]."""
        found = torch.zeros(items.num_rows, self.num_items, device=items.indices.device)
        found[items.row_of_each(), items.indices] = 1
        return found
