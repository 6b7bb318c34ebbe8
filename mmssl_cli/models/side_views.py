"""Models whose final embeddings are behaviour plus a fusion of views of the content."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmssl_cli.config.item_graphs import GUMESettings, SMORESettings
from mmssl_cli.config.structure import MGCNSettings
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import ranking_terms
from mmssl_cli.models.losses import CountedRows, contrasted_rows, info_nce
from mmssl_cli.models.plugins import PluggableRecommender
from mmssl_cli.models.rows import take


class SideViewRecommender(PluggableRecommender):
    """Behaviour by LightGCN plus side views of the content, fused by behaviour and contrasted with it.

    A subclass makes ``content``, ``fuser``, from behaviour [n, d] and views [V, n, d] to fused rows [n, d], and
    ``_item_views``, those of the modalities first.
    """

    settings: MGCNSettings | SMORESettings | GUMESettings
    fuser: nn.Module

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return final embeddings, [U, d] and [I, d]."""
        behaviour = self.graph.propagate(self.users, self.items, self.settings.layers)
        users, items = (
            of + self.fuser(of, self._by_view(views)) for of, views in zip(behaviour, self._views(), strict=True)
        )
        return users, items

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking loss, the contrast between side views and behaviour, and what is plugged in."""
        settings = self.settings
        rows, users, items = batch.renumbered()
        user_views, item_views = self._views()
        of_users, of_items = self.graph.propagate(self.users, self.items, settings.layers)
        of_users, of_items = take(of_users, users), take(of_items, items)
        # Fusing costs more than propagation, and concerns the nodes of the batch alone.
        side_users = self.fuser(of_users, self._by_view(take(user_views, users)))
        side_items = self.fuser(of_items, self._by_view(take(item_views, items)))
        final = of_users + side_users, of_items + side_items
        penalised = final if settings.l2_on == "final" else (take(self.users, users), take(self.items, items))
        terms = ranking_terms(settings, *final, rows, penalised)
        anchors = contrasted_rows(rows, settings.contrast_rows)
        if settings.contrast_weight:
            losses = [
                info_nce(take(side, nodes), take(of, nodes), settings.contrast_temperature, counts=counts)
                for side, of, (nodes, counts) in zip(
                    (side_users, side_items), (of_users, of_items), anchors, strict=True
                )
            ]
            terms["contrast"] = settings.contrast_weight * torch.stack(losses).sum()
        terms |= self._further_terms(batch, anchors[0], side_users, (user_views, item_views))
        return terms | self.plugged(batch)

    def _further_terms(
        self, batch: Batch, anchors: CountedRows, side_users: Tensor, views: tuple[Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """Return further weighted terms of a model: by default none.

        Args:
            anchors: the users to contrast, int64 [m], by their number among the distinct users of the batch, and
                ``counts`` of ``info_nce``.
            side_users: fused views of these distinct users [n, d].
            views: those of all users [U, V d] and of all items [I, V d].
        """
        return {}

    def modality_users(self, users: Tensor) -> list[Tensor]:
        """Return the side views of the modalities at some users, [n, d] each."""
        return list(self._by_view(take(self._views()[0], users))[: len(self.content.layers)])

    def _views(self) -> tuple[Tensor, Tensor]:
        """Return views of users [U, V d], the sums of their items', and of items [I, V d], side by side."""
        items = torch.cat(self._item_views(), dim=1)
        return self.graph.users_from(items), items

    def _by_view(self, views: Tensor) -> Tensor:
        """Return views [V, n, d] of those side by side [n, V d]."""
        return views.unflatten(1, (-1, self.settings.embedding_dim)).transpose(0, 1)

    def _item_views(self) -> list[Tensor]:
        """Return the views of items, [I, d] each."""
        raise TypeError(f"{type(self).__name__} must define _item_views()")
