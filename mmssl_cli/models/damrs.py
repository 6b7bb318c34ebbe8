"""DA-MRS (Xv et al., Improving Multi-modal Recommender Systems by Denoising and Aligning Multi-modal Content and User
Feedback, KDD 2024)."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from mmssl_cli.config.item_graphs import DAMRSSettings
from mmssl_cli.data.cache import cached
from mmssl_cli.data.graph import BLOCK_ELEMENTS, Edges, ItemGraph, symmetric_weights
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.distributed.collectives import local_rows, sharded_mean
from mmssl_cli.models.base import GraphRecommender, ranking_terms
from mmssl_cli.models.content import dense_content
from mmssl_cli.models.item_weights import largest_of_rows, rows_at_once
from mmssl_cli.models.losses import log_sum_of_scores
from mmssl_cli.models.rows import some_rows, take


class DAMRS(GraphRecommender):
    """LightGCN plus the mean of item views: one of each modality's denoised graph, and one of behaviour.

    The whole of the paper, on LightGCN. A graph of a modality joins near items alone that all their modalities find
    nearer than the average pair; the graph of behaviour joins items that share users. Feedback is weighted by how
    surely and evenly all views prefer it, and reversed where they do not. Users' preferences by behaviour and by item
    views are aligned, and each view is contrasted with positives that the views agree on (pseudo-labels), then with
    those of its own. As in the authors' program (MMRec), graphs are binary, a batch's preferences are those of its
    users for its items, and there is no L2 term by default. The program contrasts all items of a batch; here a step
    draws ``contrast_anchors`` of them evenly. An item is not denoised by a modality that it lacks.
    """

    cold_items = "content"
    settings: DAMRSSettings

    def __init__(self, data: InteractionData, settings: DAMRSSettings) -> None:
        super().__init__(data, settings)
        edges = [*denoised_graphs(data, settings.graph_topk)]
        edges.append(behaviour_graph(data, settings.behaviour_topk, settings.shared_users))
        self.item_graphs = [
            ItemGraph.from_edges(rows, columns, symmetric_weights(rows, columns, ones, data.num_items), data.num_items)
            for rows, columns, ones in edges
        ]

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return final embeddings, [U, d] and [I, d]."""
        users, items = self.graph.propagate(self.users, self.items, self.settings.layers)
        return users, items + self._views().mean(dim=0)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking loss of weighted feedback, and both alignments."""
        settings = self.settings
        users, items = self.graph.propagate(self.users, self.items, settings.layers)
        views = self._views()
        mean = views.mean(dim=0)
        final = users, items + mean
        terms = ranking_terms(settings, *final, batch, self.ego_embeddings())
        if "bpr" in terms:
            terms["bpr"] = weighted_bpr(*final, views, batch)
        in_batch = torch.cat([batch.positives, batch.negatives]).unique()
        if settings.align_users_weight:
            divergence = preference_divergence(users[batch.distinct_users], items[in_batch], mean[in_batch])
            terms["align_users"] = settings.align_users_weight * divergence
        if settings.align_items_weight:
            anchors = in_batch[some_rows(len(in_batch), settings.contrast_anchors, in_batch.device)]
            contrast = contrast_of_views(views, anchors, settings.pseudo_labels, settings.contrast_temperature)
            terms["align_items"] = settings.align_items_weight * contrast
        return terms

    def _views(self) -> Tensor:
        """Return the items' views [M + 1, I, d], that of behaviour last."""
        return torch.stack([graph.propagate(self.items, self.settings.item_layers) for graph in self.item_graphs])


def denoised_graphs(data: InteractionData, k: int) -> list[Edges]:
    """Return a modality's edges of weight 1 from each item to its ``k`` nearest, of the pairs that all find near.

    A pair counts in which each modality that both items have finds a cosine of at least its mean over all pairs.
    """
    contents = dense_content(data)
    present = [data.present[name] for name in contents]
    compute = partial(_denoised, list(contents.values()), present, k)
    ends = cached(data.folder, "denoised-graphs-1", (*contents.values(), *present, k), compute)
    pairs = zip(ends[::2], ends[1::2], strict=True)
    return [(rows, columns, torch.ones(len(rows), device=rows.device)) for rows, columns in pairs]


def _denoised(contents: list[Tensor], present: list[Tensor], k: int) -> list[Tensor]:
    """Return the rows and then the columns of each modality's edges."""
    num_items = len(contents[0])
    rows = [normalize(values, dim=1) * has.unsqueeze(1) for values, has in zip(contents, present, strict=True)]
    means = [
        of.sum(dim=0).square().sum() / has.sum().clamp(min=1).square() for of, has in zip(rows, present, strict=True)
    ]
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in rows]
    size = max(1, BLOCK_ELEMENTS // (len(rows) * num_items))
    for block in torch.arange(num_items, device=rows[0].device).split(size):
        cosines = [of[block] @ of.T for of in rows]
        near = torch.stack(
            [
                (of >= mean) | ~(has[block].unsqueeze(1) & has)
                for of, mean, has in zip(cosines, means, present, strict=True)
            ]
        ).all(dim=0)
        for edges, of in zip(found, cosines, strict=True):
            values, columns = torch.topk(of * near, min(k, num_items), dim=1)
            edges.append((block.unsqueeze(1).expand_as(columns)[values > 0], columns[values > 0]))
    return [torch.cat(part) for edges in found for part in zip(*edges, strict=True)]


def behaviour_graph(data: InteractionData, k: int, least: int) -> Edges:
    """Return edges of weight 1 from items to themselves and the ``k`` that share most users, at least ``least``."""
    matrix = data.train.to_scipy(data.num_items)
    of_items, size = matrix.T.tocsr(), rows_at_once(data.num_items)

    def shared(first: int) -> np.ndarray:
        block = (of_items[first : first + size] @ matrix).toarray()
        block[range(len(block)), range(first, first + len(block))] = 0
        block[block < least] = 0
        return block

    itself = torch.arange(data.num_items)
    rows, columns = itself, itself
    if k:
        kept = largest_of_rows((shared(first) for first in range(0, data.num_items, size)), k).tocoo()
        rows = torch.cat([itself, torch.from_numpy(kept.row).long()])
        columns = torch.cat([itself, torch.from_numpy(kept.col).long()])
    device = data.train.indices.device
    return rows.to(device), columns.to(device), torch.ones(len(rows), device=device)


def weighted_bpr(users: Tensor, items: Tensor, views: Tensor, batch: Batch) -> Tensor:
    """BPR of a batch in which each triple has a weight, and another with positive and negative exchanged."""
    count = len(batch.users)
    rows = take(users, batch.users), take(items, batch.positives), take(items, batch.negatives)
    u, p, n = map(local_rows, rows)
    gaps = (u * (n - p)).sum(dim=1)
    right, reversed_ = (local_rows(weight) for weight in feedback_weights(users, views, batch))
    return sharded_mean(right * softplus(gaps) + reversed_ * softplus(-gaps), count)


@torch.no_grad()
def feedback_weights(users: Tensor, views: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the weights [B] of triples as given and reversed, from users [U, d] and item views [V, I, d]."""
    rows = take(users, batch.users)

    def preferences(items: Tensor) -> Tensor:
        return (rows * normalize(views[:, items], dim=2)).sum(dim=2).sigmoid()

    positives, average = preferences(batch.positives), preferences(batch.negatives).mean()
    mean = positives.mean(dim=0)
    right = mean * torch.exp(-2 * positives.var(dim=0))
    doubted = (positives.amax(dim=0) - average).clamp(0, 1) * (mean < average)
    return right, doubted


def preference_divergence(users: Tensor, items: Tensor, of_views: Tensor) -> Tensor:
    """Symmetric KL divergence of preferences [n, m] by behaviour and by views, a mean over all pairs.

    Both are Bernoulli: KL(p, q) + KL(q, p) = (p - q) (logit p - logit q).
    """
    own = local_rows(users)
    one, other = own @ normalize(items, dim=1).T, own @ normalize(of_views, dim=1).T
    return sharded_mean(((one.sigmoid() - other.sigmoid()) * (one - other)).mean(dim=1), len(users))


def contrast_of_views(views: Tensor, anchors: Tensor, labels: int, temperature: float) -> Tensor:
    """Contrast each view of the ``anchors`` with its agreed positives, then its own, a mean over the views [V, I, d].

    -log(P / T) - log(S / (T - P)), with P, S and T the sums of exp(cosine / temperature) over the agreed positives,
    those of the view alone and all items.
    """
    rows = normalize(views, dim=2)
    losses = []
    for of_view, (agreed, single) in zip(rows, pseudo_labels(rows.detach(), anchors, labels), strict=True):
        own = local_rows(take(of_view, anchors))
        of_agreed, of_single = (
            ((own.unsqueeze(1) * of_view[local_rows(near)]).sum(dim=2) / temperature).logsumexp(dim=1)
            for near in (agreed, single)
        )
        total = log_sum_of_scores(own, of_view, temperature)
        share = (of_agreed - total).exp().clamp(max=1 - 1e-6)
        losses.append(sharded_mean(2 * total - of_agreed - of_single + torch.log1p(-share), len(anchors)))
    return torch.stack(losses).mean()


@torch.no_grad()
def pseudo_labels(rows: Tensor, anchors: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    """Return positives of the ``anchors`` for each view of unit rows [V, I, d]: agreed and single, int64 [n, count].

    A view's agreed ones are the largest of the sum of all views' softmaxes of cosines plus its own; its single ones
    the largest of its own among the others. Sets of few items have fewer.
    """
    items = rows.shape[1]
    count = max(1, min(count, items // 2))
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in rows]
    for block in anchors.split(max(1, BLOCK_ELEMENTS // (len(rows) * items))):
        shares = (rows[:, block] @ rows.transpose(1, 2)).float().softmax(dim=2)
        total = shares.sum(dim=0)
        for labels, own in zip(found, shares, strict=True):
            agreed = torch.topk(total + own, count, dim=1).indices
            labels.append((agreed, torch.topk(own.scatter(1, agreed, 0), count, dim=1).indices))
    return [(torch.cat([one for one, _ in of]), torch.cat([other for _, other in of])) for of in found]
