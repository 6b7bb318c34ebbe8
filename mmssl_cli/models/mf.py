"""Matrix factorisation (Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009)."""

from __future__ import annotations

from torch import Tensor

from mmssl_cli.config import TrainSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import Recommender, embedding, ranking_terms


class MF(Recommender):
    """One embedding a user and one an item; their inner product is the score."""

    def __init__(self, data: InteractionData, settings: TrainSettings) -> None:
        super().__init__(data, settings)
        self.settings = settings
        self.users = embedding(data.num_users, settings.embedding_dim)
        self.items = embedding(data.num_items, settings.embedding_dim)

    def represent(self) -> tuple[Tensor, Tensor]:
        """The embeddings themselves, [U, d] and [I, d]."""
        return self.users, self.items

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """BPR and, where weighted, L2."""
        return ranking_terms(self.settings, self.users, self.items, batch, (self.users, self.items))
