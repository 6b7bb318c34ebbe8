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

    The whole of the paper. A loss is 1 - cosine, which differs from the paper's -cosine by a constant.
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
        user_ids, of_user, _ = self._nodes(batch, batch.users)
        item_ids, of_item, counts = self._nodes(batch, batch.positives)
        users, items = take(all_users, user_ids), take(all_items, item_ids)
        target_users = self._view(users, user_ids, self.num_users)
        target_items = self._view(items, item_ids, self.num_items)
        # A node is compared with the sum of its targets, which takes a cosine a node in place of one a triple.
        similarity = cosines(self.predictor(users), _summed(target_items, of_item, of_user, len(users))).sum()
        similarity += cosines(self.predictor(items), _summed(target_users, of_user, of_item, len(items))).sum()
        terms = {"reconstruction": 2 - similarity / len(batch.users)}
        if self.settings.contrast_weight:
            inter, intra = [], []
            for name, rows in self.content(item_ids).items():
                weights = self.content.present[name][item_ids].squeeze(1) * counts
                weights = weights / weights.sum().clamp(min=1)
                predicted, target = self.predictor(rows), self._view(rows, item_ids, self.num_items)
                inter.append((weights * (1 - cosines(predicted, target_items))).sum())
                intra.append((weights * (1 - cosines(predicted, target))).sum())
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

    def _nodes(self, batch: Batch, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the nodes to compute, which of them each triple has, and how many triples have each, int64.

        These are the nodes of a batch, each once, where all its triples have the same mask of it; on a GPU, where that
        would wait for the device, and in padded batches, one a triple as well.
        """
        by_triple = self.settings.dropout and self.settings.dropout_masks == "triple"
        if by_triple or batch.mask is not None or nodes.device.type != "cpu":
            return nodes, torch.arange(len(nodes), device=nodes.device), torch.ones_like(nodes)
        distinct, of, counts = nodes.unique(return_inverse=True, return_counts=True)
        return distinct, of, counts

    def _view(self, rows: Tensor, nodes: Tensor, count: int) -> Tensor:
        """The target view [n, d] of embeddings of ``nodes``, int64 [n] below ``count``, of unit norm, without gradient.

        It is dropped out: by ``dropout_masks``, alike wherever a node is repeated or each time anew.
        """
        settings = self.settings
        if not settings.dropout:
            return normalize(rows.detach())
        by_node = settings.dropout_masks == "node"
        size = count if by_node else len(rows), rows.shape[1]
        return normalize(rows.detach() * dropout_mask(*size, settings.dropout, rows.device, nodes if by_node else None))


def _summed(rows: Tensor, of: Tensor, into: Tensor, count: int) -> Tensor:
    """Return the sums [count, d] of the ``rows`` ``of`` each triple, by the sum ``into`` which it goes, int64 [B]."""
    return rows.new_zeros(count, rows.shape[1]).index_add_(0, into, take(rows, of))


def cosines(rows: Tensor, target: Tensor) -> Tensor:
    """Inner products of rows, made unit, with a target of any length without gradient, [n, d] each, [n]."""
    result: Tensor = _Cosine.apply(rows, target)
    return result


class _Cosine(torch.autograd.Function):
    """As rows / |rows| and an inner product, with fewer passes over the rows, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, target: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(rows, dim=1).clamp(min=EPSILON)
        cosines = (rows * target).sum(dim=1) / lengths
        ctx.save_for_backward(rows, target, lengths, cosines)
        return cosines

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        rows, target, lengths, cosines = ctx.saved_tensors
        factors = gradients[0] / lengths
        along = (factors * cosines / lengths).unsqueeze(1)
        return torch.addcmul(target * factors.unsqueeze(1), rows, along, value=-1), None
