"""BM3 (Zhou et al., Bootstrap Latent Representations for Multi-modal Recommendation, WWW 2023)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmssl_cli.config.content import BM3Settings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.content import ContentProjections, xavier_weights
from mmssl_cli.models.dropout import dropout_mask
from mmssl_cli.models.losses import frobenius_norm, l2_of
from mmssl_cli.models.plugins import PluggableRecommender
from mmssl_cli.models.rows import take

#: Least length of a row, as in ``torch.nn.functional.normalize``.
EPSILON = 1e-12


class BM3(PluggableRecommender):
    """LightGCN with a residual of the items' ids, trained to predict dropped-out views of users, items and content.

    The whole of the paper. Cosines are counted as 1 - cosine, which differs from the paper's -cosine by a constant.
    As in the authors' program (MMRec), raw features are trained (``train_features``), projections and predictor begin
    with Xavier-normal weights, the L2 term is of the whole propagated tables, not squared (``l2_on``), and a node has
    one dropout mask a step (``dropout_masks``). The best epoch is a late one, about 100 on TikTok: settings of the
    class allow for it.
    """

    cold_items = "neighbours"
    static_shapes = True
    settings: BM3Settings

    def __init__(self, data: InteractionData, settings: BM3Settings) -> None:
        super().__init__(data, settings)
        self.content = ContentProjections(data, settings.embedding_dim, None, settings.train_features)
        self.predictor = nn.Linear(settings.embedding_dim, settings.embedding_dim)
        xavier_weights([self.predictor, *self.content.layers.values()], nn.init.xavier_normal_)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return predictions of the propagated embeddings, [U, d] and [I, d]."""
        users, items = self._propagated()
        return self.predictor(users), self.predictor(items)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Reconstruction of the graph, alignment of content with ids, content with itself, and L2 where weighted."""
        all_users, all_items = self._propagated()
        users, items = take(all_users, batch.users), take(all_items, batch.positives)
        target_users = self._view(users, batch.users, self.num_users)
        target_items = self._view(items, batch.positives, self.num_items)
        terms = {
            "reconstruction": (
                distances(self.predictor(users), target_items) + distances(self.predictor(items), target_users)
            ).mean()
        }
        if self.settings.contrast_weight:
            inter, intra = [], []
            for name, rows in self.content(batch.positives).items():
                present = self.content.present[name][batch.positives].squeeze(1)
                predicted, count = self.predictor(rows), present.sum().clamp(min=1)
                inter.append((distances(predicted, target_items) * present).sum() / count)
                intra.append(
                    (distances(predicted, self._view(rows, batch.positives, self.num_items)) * present).sum() / count
                )
            terms["inter"] = self.settings.contrast_weight * torch.stack(inter).sum()
            terms["intra"] = self.settings.contrast_weight * torch.stack(intra).sum()
        if self.settings.l2_weight:
            if self.settings.l2_on == "final":
                l2 = (frobenius_norm(all_users) + frobenius_norm(all_items)) / self.num_items
            else:
                l2 = l2_of(take(self.users, batch.users), take(self.items, batch.positives))
            terms["l2"] = self.settings.l2_weight * l2
        return terms | self.plugged(batch)

    def _propagated(self) -> tuple[Tensor, Tensor]:
        users, items = self.graph.propagate(self.users, self.items, self.settings.layers)
        return users, items + self.items

    def _view(self, rows: Tensor, nodes: Tensor, count: int) -> Tensor:
        """The target view [n, d] of embeddings of ``nodes``, int64 [n] below ``count``, of unit norm, without gradient.

        It is dropped out: by ``dropout_masks``, alike wherever a node is repeated or each time anew.
        """
        settings = self.settings
        if not settings.dropout:
            return normalize(rows.detach())
        is_repeated = settings.dropout_masks == "node"
        kept = dropout_mask(count if is_repeated else len(rows), rows.shape[1], settings.dropout, rows.device)
        return normalize(rows.detach() * (take(kept, nodes) if is_repeated else kept))


def distances(rows: Tensor, target: Tensor) -> Tensor:
    """1 - cosine of rows with a target of unit norm without gradient, [n, d] each, [n]."""
    result: Tensor = _CosineDistance.apply(rows, target)
    return result


class _CosineDistance(torch.autograd.Function):
    """As rows / |rows| and an inner product, with fewer passes over the rows, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, target: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(rows, dim=1).clamp(min=EPSILON)
        cosines = (rows * target).sum(dim=1) / lengths
        ctx.save_for_backward(rows, target, lengths, cosines)
        return 1 - cosines

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        rows, target, lengths, cosines = ctx.saved_tensors
        factors = gradients[0] / lengths
        along = (factors * cosines / lengths).unsqueeze(1)
        return torch.addcmul(rows * along, target, factors.unsqueeze(1), value=-1), None
