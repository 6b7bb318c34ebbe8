"""PGL (Yu et al., Mind Individual Information! Principal Graph Learning for Multimedia Recommendation, AAAI 2025)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmssl_cli.config.item_graphs import PGLSettings
from mmssl_cli.data.graph import BipartiteGraph, ItemGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import GraphRecommender, embedding, ranking_terms
from mmssl_cli.models.content import ContentProjections, content_graphs
from mmssl_cli.models.dropout import dropout
from mmssl_cli.models.freedom import pruned_graph, shares_of
from mmssl_cli.models.losses import info_nce
from mmssl_cli.models.rows import take


class PGL(GraphRecommender):
    """Users' features of each modality and items' projected content, propagated over a principal subgraph.

    Items have no ids. The local form of the paper: an epoch's subgraph is a draw of the interactions that favours
    unpopular nodes; ranking takes all interactions. Items add their content propagated over a frozen graph of nearest
    content. As in MMRec, raw features are trained (``train_features``), and the contrast is off by default. The
    paper's other form, by singular vectors, makes a dense graph and is not here.
    """

    cold_items = "content"
    settings: PGLSettings

    def __init__(self, data: InteractionData, settings: PGLSettings) -> None:
        super().__init__(data, settings)
        d, names = settings.embedding_dim, list(data.features)
        del self.items
        self.users = nn.Parameter(torch.cat([embedding(data.num_users, d).detach() for _ in names], dim=1))
        self.content = ContentProjections(data, d, None, settings.train_features)
        graphs = content_graphs(data, settings.graph_topk, weighted=False)
        shares = shares_of(list(graphs), settings.visual_weight)
        self.item_graph = ItemGraph.mixed(list(graphs.values()), shares, data.num_items)
        self.edges = data.train.entries()
        self.principal = self.graph

    def begin_epoch(self, epoch: int) -> None:
        """Draw the interactions that the epoch trains on."""
        self.principal = pruned_graph(self, self.edges, self.settings.edge_dropout)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return final embeddings over all interactions, [U, M d] and [I, M d]."""
        users, items, _ = self._propagated(self.graph)
        return users, items

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking loss over the subgraph, and the contrast of a batch's rows with themselves under dropout."""
        settings = self.settings
        users, items, content = self._propagated(self.principal)
        terms = ranking_terms(settings, users, items, batch, (self.users, content))
        if settings.contrast_weight:
            losses = []
            for rows in (take(users, batch.users), take(items, batch.positives)):
                one, other = (dropout(rows, settings.contrast_dropout, self.training) for _ in range(2))
                losses.append(info_nce(one, other, settings.contrast_temperature))
            terms["contrast"] = settings.contrast_weight * torch.stack(losses).mean()
        return terms

    def _propagated(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor, Tensor]:
        """Return final users and items, and the items' content at layer 0."""
        content = torch.cat([normalize(rows, dim=1) for rows in self.content().values()], dim=1)
        users, items = graph.propagate(self.users, content, self.settings.layers)
        return users, items + self.item_graph.propagate(content, self.settings.item_layers), content
