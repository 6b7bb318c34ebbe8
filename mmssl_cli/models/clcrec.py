"""CLCRec (Wei et al., Contrastive Learning for Cold-Start Recommendation, MM 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from mmssl_cli.config.content import CLCRecSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import EmbeddingRecommender
from mmssl_cli.models.content import joined_content
from mmssl_cli.models.losses import l2_of
from mmssl_cli.models.rows import take


class CLCRec(EmbeddingRecommender):
    """Item embeddings contrasted with their content, and users with items that content replaces at random.

    The whole of the paper. An item of the training interactions is ranked by its embedding, any other by its
    content. Departures: the K negatives of a step are shared by its triples (the paper draws K for each), where an
    item is no negative of itself; the L2 term is that of the other models, half the squared norm, where the authors'
    program has mean norms. As there, features have rows of unit norm in each modality (``feature_scaling``).
    """

    cold_items = "content"
    static_shapes = True
    settings: CLCRecSettings

    def __init__(self, data: InteractionData, settings: CLCRecSettings) -> None:
        super().__init__(data, settings)
        self.content = joined_content(data)
        self.present = torch.stack(list(data.present.values())).any(dim=0)
        trained = torch.bincount(data.train.indices, minlength=data.num_items) > 0
        #: Items with content and without a training interaction, ranked by their content, bool [I, 1].
        self.cold = (~trained & self.present).unsqueeze(1)
        hidden, out = (
            nn.Linear(self.content.shape[1], settings.encoder_hidden),
            nn.Linear(settings.encoder_hidden, settings.embedding_dim),
        )
        for layer in (hidden, out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.encoder = nn.Sequential(hidden, nn.LeakyReLU(), out)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Users' embeddings [U, d]; items' [I, d], with content in place of those never trained."""
        return self.users, torch.where(self.cold, self.encoder(self.content), self.items)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Contrast of items with content and of users with items, and L2 where weighted."""
        settings = self.settings
        items = torch.cat([batch.positives, batch.negatives[: settings.num_negatives]])
        collaborative, present = take(self.items, items), self.present[items]
        content = self.encoder(take(self.content, items))
        users = take(self.users, batch.users)
        hybrid = torch.where(self._replaced(present).unsqueeze(1), content, collaborative)
        triples, temperature = len(batch.positives), settings.contrast_temperature
        anchors, features = normalize(collaborative[:triples], dim=1), normalize(content, dim=1)
        losses = sampled_contrast(anchors, features, items, temperature, present)
        of_content = losses.sum() / present[:triples].sum().clamp(min=1)
        of_users = sampled_contrast(users, hybrid, items, temperature).mean()
        terms = {
            "content": settings.contrast_weight * of_content,
            "contrast": (1 - settings.contrast_weight) * of_users,
        }
        if settings.l2_weight:
            terms["l2"] = settings.l2_weight * l2_of(users, collaborative[:triples])
        return terms

    def _replaced(self, present: Tensor) -> Tensor:
        """Draw the items that content replaces, bool [n]: each ``present`` one with probability rho."""
        return present & (torch.rand(len(present), device=present.device) < self.settings.hybrid_share)


def sampled_contrast(
    anchors: Tensor, candidates: Tensor, items: Tensor, temperature: float, present: Tensor | None = None
) -> Tensor:
    """-log softmax of each anchor's positive against it and the shared negatives, [B], by inner products.

    Args:
        anchors: [B, d].
        candidates: [B + K, d]: each anchor's positive, then the negatives.
        items: int64 [B + K], which items the candidates are; an anchor's own item is none of its negatives.
        temperature: divides the products.
        present: bool [B + K]; candidates without content are no negatives, and anchors without have loss 0.
    """
    triples = len(anchors)
    of_positives = (anchors * candidates[:triples]).sum(dim=1, keepdim=True) / temperature
    of_negatives = anchors @ candidates[triples:].T / temperature
    excluded = items[:triples].unsqueeze(1) == items[triples:]
    if present is not None:
        excluded = excluded | ~present[triples:]
    logits = torch.cat([of_positives, of_negatives.masked_fill(excluded, -torch.inf)], dim=1)
    losses = cross_entropy(logits, torch.zeros_like(items[:triples]), reduction="none")
    return losses if present is None else losses * present[:triples]
