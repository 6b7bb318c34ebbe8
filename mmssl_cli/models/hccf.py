"""HCCF (Xia et al., Hypergraph Contrastive Collaborative Filtering, SIGIR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from mmssl_cli.config.collaborative import HCCFSettings
from mmssl_cli.data.graph import EdgeDropout, Sides
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import GraphRecommender, embedding, ranking_terms
from mmssl_cli.models.dropout import dropout
from mmssl_cli.models.losses import contrast_batch


class HCCF(GraphRecommender):
    """Layers that add messages of neighbours over the graph and of all nodes over learnt hyperedges.

    Users and items have a hypergraph each, H = E W of low rank, from the embeddings of layer 0; what its hyperedges
    gather passes through levels of mixing among them (the paper's hierarchical mapping). The contrast tells, in each
    layer, a node's local embedding from its global one. In training edges of the graph and entries of H are left out,
    others in each layer. Final embeddings are the sum of the layers. The defaults are those of the authors' later
    program (PyTorch): no gradient of the contrast on the local side (``detach_local``), ``residual`` off,
    ``leaky_slope`` 1, ``hyper_levels`` 0; ``hyper_scale`` is from its form for sparse data.
    Both programs contrast a node with those of the batch; ``contrast_negatives`` has all nodes too. Other than in the
    paper, the ranking loss is BPR, as for all models here and in the later program, not a hinge, and the contrast is a
    mean over the batch's users and its positive items, each once.
    """

    settings: HCCFSettings

    def __init__(self, data: InteractionData, settings: HCCFSettings) -> None:
        super().__init__(data, settings)
        self.edge_dropout = EdgeDropout(self.graph)
        self.user_hypergraph, self.item_hypergraph = Hypergraph(settings), Hypergraph(settings)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the sum of the layers, [U, d] and [I, d]."""
        users, items, _ = self._propagated()
        return users, items

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking terms, and the contrast of local with global embeddings, summed over layers."""
        settings = self.settings
        users, items, layers = self._propagated()
        terms = ranking_terms(settings, users, items, batch, self.ego_embeddings())
        if settings.contrast_weight and layers:
            losses = [
                loss
                for local, spread in layers
                for loss in contrast_batch(
                    (local[0].detach(), local[1].detach()) if settings.detach_local else local,
                    spread,
                    batch,
                    settings.contrast_temperature,
                    settings.contrast_negatives,
                )
            ]
            terms["contrast"] = settings.contrast_weight * torch.stack(losses).sum()
        return terms

    def _propagated(self) -> tuple[Tensor, Tensor, list[tuple[Sides, Sides]]]:
        """Return final users and items, and the local and global embeddings of each layer."""
        users: Tensor = self.users
        items: Tensor = self.items
        settings, share = self.settings, self.settings.edge_dropout if self.training else 0.0
        h_users, h_items = self.user_hypergraph.incidence(users), self.item_hypergraph.incidence(items)
        user_sum, item_sum, layers = users, items, []
        for layer in range(settings.layers):
            graph = self.edge_dropout.draw(share)
            local = (
                leaky_relu(graph.users_from(items), settings.leaky_slope),
                leaky_relu(graph.items_from(users), settings.leaky_slope),
            )
            spread = (
                self.user_hypergraph(dropout(h_users, share), users, layer),
                self.item_hypergraph(dropout(h_items, share), items, layer),
            )
            kept = (users, items) if settings.residual else (0, 0)
            users, items = kept[0] + local[0] + spread[0], kept[1] + local[1] + spread[1]
            user_sum, item_sum = user_sum + users, item_sum + items
            layers.append((local, spread))
        return user_sum, item_sum, layers


class Hypergraph(nn.Module):
    """Learnt hyperedges among the users or the items, mixed with each other in each layer."""

    def __init__(self, settings: HCCFSettings) -> None:
        super().__init__()
        self.slope, self.levels, self.scale = settings.leaky_slope, settings.hyper_levels, settings.hyper_scale
        #: W [d, K], which makes nodes' embeddings into their weights in the hyperedges.
        self.hyperedges = embedding(settings.embedding_dim, settings.hyperedges)
        #: V of each layer and, in it, of each level, [K, K] each.
        self.mixing = nn.ParameterList(
            [embedding(settings.hyperedges, settings.hyperedges) for _ in range(settings.layers * self.levels)]
        )

    def incidence(self, nodes: Tensor) -> Tensor:
        """H [N, K] from the embeddings of layer 0 [N, d]."""
        return self.scale * (nodes @ self.hyperedges)

    def forward(self, incidence: Tensor, nodes: Tensor, layer: int) -> Tensor:
        """Pass messages between nodes [N, d] over hyperedges of incidence [N, K]: [N, d]."""
        gathered = leaky_relu(incidence.T @ nodes, self.slope)
        for mixing in self.mixing[layer * self.levels : (layer + 1) * self.levels]:
            gathered = gathered + leaky_relu(mixing @ gathered, self.slope)
        return leaky_relu(incidence @ gathered, self.slope)
