"""MMSSL's two self-supervised modules in other models of content (Wei et al., WWW 2023, A.4, Table 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from mmssl_cli.config.mmssl import AddedContrastSettings, PluginSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import GraphRecommender
from mmssl_cli.models.content import ContentProjections
from mmssl_cli.models.mmssl.adversarial import AdversarialSelfAugmentation, low_rank_factors
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.mmssl.contrastive import cross_modal_contrast
from mmssl_cli.models.rows import take


class PluggableRecommender(GraphRecommender):
    """A graph model with a projection of each modality's content, which ``asl`` and ``cl`` train as well.

    ``asl`` takes these projections and the model's own graph as the generator (Eq. 2 and 3), against D on the
    interactions and the model's final embeddings (Eq. 4, 5 and 7). ``cl`` contrasts final embeddings of a batch's users
    with ``modality_users`` (Eq. 11). A subclass makes ``content`` and adds ``plugged`` to its terms.
    """

    auxiliary_modules = ("adversary",)
    content: ContentProjections  #: to ``embedding_dim`` columns

    def __init__(self, data: InteractionData, settings: PluginSettings) -> None:
        super().__init__(data, settings)  # type: ignore[arg-type]
        self.adversary: AdversarialSelfAugmentation | None = None
        if settings.asl and settings.adversarial_weight:
            self.adversary = AdversarialSelfAugmentation(data.train, data.num_items, settings)
            self.auxiliary_optimizer = self.adversary.make_optimizer()
            self.auxiliary_lr_decay = settings.discriminator_lr_decay

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the ranking loss, and the terms of what is plugged in."""
        return super().training_step(batch) | self.plugged(batch)

    def plugged(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms ``cl`` and ``adversarial`` where they are on, on the final embeddings."""
        settings, terms = self.settings, dict[str, Tensor]()
        assert isinstance(settings, AddedContrastSettings)
        rows = BatchRows(batch.distinct_users, batch.mask)
        contrasts = settings.cl and settings.cl_weight > 0
        if not contrasts and self.adversary is None:
            return terms
        with torch.set_grad_enabled(contrasts):
            users, items = self.embeddings()
        if contrasts:
            contrast = cross_modal_contrast(
                take(users, rows.users), self.modality_users(rows.users), settings.cl_temperature, mask=rows.mask
            )
            terms["cl"] = settings.cl_weight * contrast
        if self.adversary is not None:
            terms["adversarial"] = settings.adversarial_weight * self.adversarial_loss(
                rows, take(users, rows.users), items
            )
        return terms

    def modality_users(self, users: Tensor) -> list[Tensor]:
        """Return the views [n, d] of some users (int64 [n]) in each modality: by default their features of Eq. 2."""
        return [take(of_users, users) for of_users, _ in self.modality_features()]

    def modality_features(self) -> list[tuple[Tensor, Tensor]]:
        """Eq. 2 on the model's graph: f_u [U, d] and f_i [I, d] of each modality."""
        d = self.settings.embedding_dim
        of_users = self.graph.users_from(torch.cat(list(self.content().values()), dim=1))
        return list(zip(of_users.split(d, dim=1), self.graph.items_from(of_users).split(d, dim=1), strict=True))

    def adversarial_loss(self, rows: BatchRows, users: Tensor, items: Tensor) -> Tensor:
        """Eq. 3 to 7 on a batch's users: update D, and return the generator's loss.

        Args:
            users, items: final embeddings of these users [B, d] and of all items [I, d], which get no gradient.
        """
        assert self.adversary is not None and self.auxiliary_optimizer is not None
        generated = low_rank_factors(rows.users, self.modality_features())
        (final,) = low_rank_factors(torch.arange(len(users), device=users.device), [(users.detach(), items.detach())])
        self.monitored = self.adversary.discriminator_step(self.auxiliary_optimizer, rows, generated, final)
        return self.adversary.generator_loss(rows, generated, final)
