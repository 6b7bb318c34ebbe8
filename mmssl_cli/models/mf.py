"""Matrix factorisation (Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009)."""

from __future__ import annotations

from mmssl_cli.models.base import EmbeddingRecommender


class MF(EmbeddingRecommender):
    """One embedding a user and one an item; their inner product is the score."""

    static_shapes = True
