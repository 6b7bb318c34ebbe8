"""MGCN (Yu et al., Multi-View Graph Convolutional Network for Multimedia Recommendation, MM 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmssl_cli.config.item_graphs import GUMESettings
from mmssl_cli.config.structure import MGCNSettings
from mmssl_cli.data.graph import ItemGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.content import ContentProjections, content_graphs, sigmoid_gate
from mmssl_cli.models.side_views import SideViewRecommender


class PurifiedViewRecommender(SideViewRecommender):
    """Views of the content purified by behaviour, spread over an item graph each, and fused by preference (MGCN's)."""

    settings: MGCNSettings | GUMESettings

    def __init__(self, data: InteractionData, settings: MGCNSettings | GUMESettings) -> None:
        super().__init__(data, settings)
        d = settings.embedding_dim
        self.content = ContentProjections(data, d, None, settings.train_features)
        self.purifiers = nn.ModuleDict({name: sigmoid_gate(d) for name in data.features})
        graphs = content_graphs(data, settings.graph_topk)
        self.item_graphs = {name: ItemGraph.from_edges(*edges, data.num_items) for name, edges in graphs.items()}
        self.fuser = BehaviourAwareFuser(d, len(data.features))

    def _item_views(self) -> list[Tensor]:
        """Return purified content, spread over the graphs."""
        views = []
        for name, graph in self.item_graphs.items():
            purifier = self.purifiers[name].get_submodule("0")
            assert isinstance(purifier, nn.Linear)
            gate = self.content.through(name, purifier).sigmoid()
            views.append(graph.propagate(self.items * gate, self.settings.item_layers))
        return views


class MGCN(PurifiedViewRecommender):
    """Behaviour by LightGCN plus content: purified by behaviour, spread over item graphs, fused by preference.

    The whole of the paper. As in the authors' program (MMRec), the fused content is the mean of the shared part and
    each modality's preferred part, the contrast is over the users and positive items of every triple of a batch
    (``contrast_rows``), the L2 term is of the final embeddings (``l2_on``), raw features are trained
    (``train_features``), and all linear layers begin as PyTorch initialises them.
    """

    cold_items = "content"
    settings: MGCNSettings


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
