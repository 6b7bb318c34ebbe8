"""Matrix factorisation (Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009)."""

from __future__ import annotations

from torch import Tensor

from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import EmbeddingRecommender, ranking_terms


class MF(EmbeddingRecommender):
    """One embedding a user and one an item; their inner product is the score."""

    static_shapes = True

    def represent(self) -> tuple[Tensor, Tensor]:
        """The embeddings themselves, [U, d] and [I, d]."""
        return self.users, self.items

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """BPR and, where weighted, L2."""
        return ranking_terms(self.settings, self.users, self.items, batch, (self.users, self.items))
