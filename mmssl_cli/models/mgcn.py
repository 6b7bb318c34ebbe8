"""MGCN (Yu et al., Multi-View Graph Convolutional Network for Multimedia Recommendation, MM 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmssl_cli.config.structure import MGCNSettings
from mmssl_cli.data.graph import ItemGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import ranking_terms
from mmssl_cli.models.content import ContentProjections, content_graphs, sigmoid_gate
from mmssl_cli.models.losses import contrasted_rows, info_nce
from mmssl_cli.models.plugins import PluggableRecommender


class MGCN(PluggableRecommender):
    """Behaviour by LightGCN plus content: purified by behaviour, spread over item graphs, fused by preference.

    The whole of the paper. As in the authors' program (MMRec), the fused content is the mean of the shared part and
    each modality's preferred part, the contrast is over the users and positive items of every triple of a batch
    (``contrast_rows``), the L2 term is of the final embeddings (``l2_on``), raw features are trained
    (``train_features``), and all linear layers begin as PyTorch initialises them.
    """

    cold_items = "content"
    settings: MGCNSettings

    def __init__(self, data: InteractionData, settings: MGCNSettings) -> None:
        super().__init__(data, settings)
        d = settings.embedding_dim
        self.content = ContentProjections(data, d, None, settings.train_features)
        self.purifiers = nn.ModuleDict({name: sigmoid_gate(d) for name in data.features})
        graphs = content_graphs(data, settings.graph_topk)
        self.item_graphs = {name: ItemGraph.from_edges(*edges, data.num_items) for name, edges in graphs.items()}
        self.fuser = BehaviourAwareFuser(d, len(data.features))

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return final embeddings, [U, d] and [I, d]."""
        behaviour = self.graph.propagate(self.users, self.items, self.settings.layers)
        users, items = (of + self.fuser(of, views) for of, views in zip(behaviour, self._views(), strict=True))
        return users, items

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking loss, and the contrast between fused content and behaviour."""
        settings = self.settings
        rows, users, items = batch.renumbered()
        user_views, item_views = self._views()
        of_users, of_items = self.graph.propagate(self.users, self.items, settings.layers)
        of_users, of_items = of_users[users], of_items[items]
        # Fusing costs more than propagation, and concerns the nodes of the batch alone.
        side_users = self.fuser(of_users, user_views.index_select(1, users))
        side_items = self.fuser(of_items, item_views.index_select(1, items))
        final = of_users + side_users, of_items + side_items
        penalised = final if settings.l2_on == "final" else (self.users[users], self.items[items])
        terms = ranking_terms(settings, *final, rows, penalised)
        if settings.contrast_weight:
            anchors = contrasted_rows(rows, settings.contrast_rows)
            losses = [
                info_nce(side[of_batch], of[of_batch], settings.contrast_temperature)
                for side, of, of_batch in zip((side_users, side_items), (of_users, of_items), anchors, strict=True)
            ]
            terms["contrast"] = settings.contrast_weight * torch.stack(losses).sum()
        return terms | self.plugged(batch)

    def modality_users(self, users: Tensor) -> list[Tensor]:
        """Return the purified views of some users, [n, d] of each modality."""
        return list(self._views()[0][:, users])

    def _views(self) -> tuple[Tensor, Tensor]:
        """Return purified content of users [M, U, d] and of items [M, I, d], spread over the graphs."""
        views = [
            self.item_graphs[name].propagate(self.items * self.purifiers[name](rows), self.settings.item_layers)
            for name, rows in self.content().items()
        ]
        of_users = self.graph.users_from(torch.cat(views, dim=1))  # one product for all
        return torch.stack(of_users.split(self.items.shape[1], dim=1)), torch.stack(views)


class BehaviourAwareFuser(nn.Module):
    """Fusion of what the modalities share, by attention, and what is particular to each, gated by preference."""

    def __init__(self, embedding_dim: int, modalities: int) -> None:
        super().__init__()
        self.key = nn.Linear(embedding_dim, embedding_dim)
        self.query = nn.Linear(embedding_dim, 1, bias=False)
        self.preferences = nn.ModuleList(sigmoid_gate(embedding_dim) for _ in range(modalities))

    def forward(self, behaviour: Tensor, views: Tensor) -> Tensor:
        """Return fused content [n, d] of nodes from their behaviour [n, d] and modality views [M, n, d]."""
        weights = self.query(torch.tanh(self.key(views))).softmax(dim=0)
        shared = (weights * views).sum(dim=0)
        parts = [shared]
        for preference, view in zip(self.preferences, views, strict=True):
            parts.append(preference(behaviour) * (view - shared))
        return torch.stack(parts).mean(dim=0)
