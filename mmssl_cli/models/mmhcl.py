"""MMHCL (Guo et al., Multi-Modal Hypergraph Contrastive Learning for Recommendation, TOMM 2025)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmssl_cli.config.item_graphs import MMHCLSettings
from mmssl_cli.data.graph import Edges
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import GraphRecommender, embedding, ranking_terms, without_ids
from mmssl_cli.models.content import nearest_content
from mmssl_cli.models.losses import info_nce
from mmssl_cli.models.rows import some_rows, take
from mmssl_cli.sparse.products import SparseMatrix


class MMHCL(GraphRecommender):
    """LightGCN plus users and items propagated over hypergraphs of their own, each contrasted with the sum.

    The whole of the paper: users who share an item are joined in proportion to the items they share, and two items in
    proportion to the items near to both, over all modalities. As in the authors' program, hypergraphs have embeddings
    of their own and no content but the neighbourhoods, the last layer is taken (and not a mean), users' rows are
    divided by their sums, items' by both ends' roots, and the L2 term is of the final embeddings (``l2_on``). The
    program contrasts all users and items in every step; here a step draws ``contrast_anchors`` of both evenly.
    """

    cold_items = "content"
    static_shapes = True
    settings: MMHCLSettings

    def __init__(self, data: InteractionData, settings: MMHCLSettings) -> None:
        super().__init__(data, settings)
        self.hyper_users = embedding(data.num_users, settings.embedding_dim)
        self.hyper_items = embedding(data.num_items, settings.embedding_dim)
        if data.new_items:
            without_ids(self.hyper_items, data.cold)
        self.users_hypergraph = UserHypergraph(data)
        self.items_hypergraph = ItemHypergraph(data, settings.graph_topk)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return final embeddings, [U, d] and [I, d]."""
        final, _ = self._propagated()
        return final

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking loss, and the contrasts of final embeddings with those of the hypergraphs."""
        settings = self.settings
        final, hyper = self._propagated()
        terms = ranking_terms(settings, *final, batch, final if settings.l2_on == "final" else self.ego_embeddings())
        weights = settings.user_contrast_weight, settings.item_contrast_weight
        for side, weight, whole, of_hyper in zip(("users", "items"), weights, final, hyper, strict=True):
            if weight:
                terms[f"contrast_{side}"] = weight * self._contrast(whole, of_hyper)
        return terms

    def _propagated(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return final users and items, and those of the hypergraphs alone."""
        users, items = self.graph.propagate(self.users, self.items, self.settings.layers)
        hyper_users: Tensor = self.hyper_users
        hyper_items: Tensor = self.hyper_items
        for _ in range(self.settings.user_layers):
            hyper_users = self.users_hypergraph(hyper_users)
        for _ in range(self.settings.item_layers):
            hyper_items = self.items_hypergraph(hyper_items)
        final = users + normalize(hyper_users, dim=1), items + normalize(hyper_items, dim=1)
        return final, (hyper_users, hyper_items)

    def _contrast(self, final: Tensor, hyper: Tensor) -> Tensor:
        """InfoNCE of anchors [N, d] with their rows of ``hyper`` [N, d], against all of both but themselves."""
        count = len(final)
        anchors = some_rows(count, self.settings.contrast_anchors, final.device)
        candidates = torch.cat([hyper, final])
        temperature = self.settings.contrast_temperature
        return info_nce(take(final, anchors), candidates, temperature, positives=anchors, excluded=anchors + count)


class UserHypergraph:
    """Users joined by their items: D^-1 (R R^T - diag), [U, U], never built."""

    def __init__(self, data: InteractionData) -> None:
        users, items = data.train.entries()
        ones = torch.ones(len(items), device=items.device)
        self.incidence = SparseMatrix.from_entries(users, items, ones, (data.num_users, data.num_items))
        self.own = torch.bincount(users, minlength=data.num_users).unsqueeze(1)
        self.sums = self._unscaled(torch.ones(data.num_users, 1, device=items.device)).clamp(min=1)

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the weighted means of other users' rows [U, d]; zeros for one who shares no item."""
        return self._unscaled(rows) / self.sums

    def _unscaled(self, rows: Tensor) -> Tensor:
        incidence = self.incidence
        return incidence @ (SparseMatrix(incidence.transpose, incidence.matrix) @ rows) - self.own * rows


class ItemHypergraph:
    """Items joined by hyperedges, one an item and modality with its nearest: D^-1/2 H H^T D^-1/2, never built."""

    def __init__(self, data: InteractionData, k: int) -> None:
        edges: list[Edges] = []
        for number, (rows, columns, cosines) in enumerate(nearest_content(data, k).values()):
            edges.append((rows, columns + number * data.num_items, torch.ones_like(cosines)))
        rows, columns, ones = (torch.cat(parts) for parts in zip(*edges, strict=True))
        self.incidence = SparseMatrix.from_entries(rows, columns, ones, (data.num_items, len(edges) * data.num_items))
        sums = self._unscaled(torch.ones(data.num_items, 1, device=rows.device))
        self.scale = torch.where(sums > 0, sums, torch.ones_like(sums)).rsqrt()

    def __call__(self, rows: Tensor) -> Tensor:
        """Return rows [I, d] after a layer of propagation; zeros for an item without content."""
        return self.scale * self._unscaled(self.scale * rows)

    def _unscaled(self, rows: Tensor) -> Tensor:
        incidence = self.incidence
        return incidence @ (SparseMatrix(incidence.transpose, incidence.matrix) @ rows)
