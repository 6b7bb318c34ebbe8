"""SLMRec (Tao et al., Self-supervised Learning for Multimedia Recommendation, IEEE TMM 2022), and with modules of
MMSSL plugged in (Wei et al., WWW 2023, Table 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from mmssl_cli.config.structure import SLMRecSettings
from mmssl_cli.data.graph import mean_of_layers
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import ranking_terms
from mmssl_cli.models.content import xavier_weights
from mmssl_cli.models.losses import contrasted_rows, info_nce
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.mmssl.contrastive import cross_modal_contrast
from mmssl_cli.models.rows import take
from mmssl_cli.models.views import ModalityViews, Views


class SLMRec(ModalityViews):
    """Views of ids and modalities, joined; ranked by softmax and trained on a self-supervised task as well.

    The tasks are the paper's: feature dropout, feature masking, both, and fine and coarse spaces. As in the authors'
    code, dropout follows each layer of propagation, masking takes the items out of one view, and the spaces are
    entered one modality after another, in the order of the data, and compared by inner products
    (``space_similarity``); the contrast is over the users and items of every triple (``contrast_rows``). What
    regularises in it is weight decay that Adam adds to the gradient (``optimizer``); nothing reads its "reg".
    Other than there, every space has d dimensions, and an item of the softmax is no negative of itself.

    ``cl`` is SLMRec-w-CL of Table 5 (MMSSL, A.4): the contrast of Eq. 11 on the output of the graph convolutions, in
    place of the task in transformed spaces. ``asl`` is SLMRec-w-ASL: Eq. 2 to 5 and 7 with SLMRec's own projections
    as the generator's.
    """

    settings: SLMRecSettings

    def __init__(self, data: InteractionData, settings: SLMRecSettings) -> None:
        super().__init__(data, settings)
        d = settings.embedding_dim
        self.coarse, self.fine = nn.ModuleList(), nn.ModuleList()
        if settings.ssl_task == "fac" and not settings.cl:
            self.coarse.extend(nn.Linear(d, d) for _ in data.features)
            self.fine.extend(nn.Linear(d, d) for _ in data.features)
            xavier_weights([*self.coarse, *self.fine])

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking loss, the self-supervised task or MMSSL's contrast, and the adversary's term with ``asl``."""
        settings = self.settings
        rows, users, items = batch.renumbered()
        views = self.views()
        user_views, item_views = views.of(users, items)
        of_users, of_items = self.joined(user_views, item_views)
        terms = ranking_terms(settings, of_users, of_items, rows, (take(self.users, users), take(self.items, items)))
        if settings.contrast_weight:
            (at_users, user_counts), (at_items, item_counts) = contrasted_rows(rows, settings.contrast_rows)
            if settings.cl:
                of_modalities = list(user_views.chunk(self.num_views, dim=1))[1:]
                task = cross_modal_contrast(of_users, of_modalities, settings.contrast_temperature)
            elif settings.ssl_task == "fac":
                task = self._fine_and_coarse(item_views[at_items], item_counts)
            else:
                task = self._two_views(views, (users[at_users], user_counts), (items[at_items], item_counts))
            terms["contrast"] = settings.contrast_weight * task
        if self.adversary is not None:
            with torch.no_grad():
                every_item = self.join_items(views.at(1, slice(None)))
            loss = self.adversarial_loss(BatchRows(users), of_users, every_item)
            terms["adversarial"] = settings.adversarial_weight * loss
        return terms

    def _fine_and_coarse(self, items: Tensor, counts: Tensor | None) -> Tensor:
        """Contrast of items' views [n, V d], modality by modality: the coarse space so far with a finer one."""
        coarse, *modalities = items.chunk(self.num_views, dim=1)
        losses, cosine = [], self.settings.space_similarity == "cosine"
        temperature = self.settings.contrast_temperature
        for to_coarse, to_fine, modality in zip(self.coarse, self.fine, modalities, strict=True):
            coarse = to_coarse(coarse)
            losses.append(info_nce(coarse, to_fine(modality), temperature, cosine=cosine, counts=counts))
        return torch.stack(losses).sum()

    def _two_views(
        self, views: Views, of_users: tuple[Tensor, Tensor | None], of_items: tuple[Tensor, Tensor | None]
    ) -> Tensor:
        """Contrast of two augmented versions of users and of items: int64 [n] each, and their counts."""
        (users, user_counts), (items, item_counts) = of_users, of_items
        masked = masked_views(self.num_views) if "fm" in self.settings.ssl_task else (None, None)
        (users1, items1), (users2, items2) = (
            self.joined(*self._augmented(views, users, items, without)) for without in masked
        )
        temperature = self.settings.contrast_temperature
        with_users = info_nce(users1, users2, temperature, counts=user_counts)
        return with_users + info_nce(items1, items2, temperature, counts=item_counts)

    def _augmented(self, views: Views, users: Tensor, items: Tensor, without: int | None) -> tuple[Tensor, Tensor]:
        if "fd" not in self.settings.ssl_task:
            assert without is not None
            return views.with_part(without, None).of(users, items)
        layer0 = [self.items, *self.content().values()]
        if without is not None:
            layer0[without] = torch.zeros_like(self.items)
        now = self.users.repeat(1, self.num_views), torch.cat(layer0, dim=1)
        layers = [now]
        for _ in range(self.settings.layers):
            spread = self.graph.users_from(now[1]), self.graph.items_from(now[0])
            now = dropout(spread[0], self.settings.dropout), dropout(spread[1], self.settings.dropout)
            layers.append(now)
        of_users, of_items = mean_of_layers(layers)
        return take(of_users, users), take(of_items, items)


def masked_views(count: int) -> tuple[int, int]:
    """Draw two different views of ``count``, to be masked in one version each."""
    first, second = torch.randperm(count)[:2].tolist()
    return first, second
