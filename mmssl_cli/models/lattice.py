"""LATTICE (Zhang et al., Mining Latent Structures for Multimedia Recommendation, MM 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmssl_cli.config.structure import LATTICESettings
from mmssl_cli.data.graph import (
    Edges,
    ItemGraph,
    cosine_topk,
    mean_of_layers,
    merged_edges,
    symmetric_weights,
)
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import ranking_terms
from mmssl_cli.models.content import ContentProjections, content_graphs
from mmssl_cli.models.plugins import PluggableRecommender


class LATTICE(PluggableRecommender):
    """LightGCN plus items propagated over a graph of nearest raw content, mixed with one of nearest learnt content.

    As in the authors' code, the learnt graph is built at the start of an epoch, and the first step after that moves
    the projections and the weights of the modalities; the other steps see a fixed graph. Ranking builds a graph of
    its own from the weights at hand (``ranking_graph``). Of the three backbones, LightGCN is here. Also as there, its
    graph has a loop at each node and weights 1 / (N + 1) (``adjacency``), the L2 term is of the final embeddings
    (``l2_on``), raw features are trained (``train_features``), and projections begin as PyTorch initialises them.
    Only the entries of the nearest neighbours exist, never items x items, and those of positive cosine alone.
    """

    cold_items = "content"
    settings: LATTICESettings
    neighbours: Tensor  #: items of nearest projected content of each item, int64 [M, I, k]; -1 is none
    cosines: Tensor  #: their cosines where positive, else 0, [M, I, k]
    shares: Tensor  #: weights of the modalities, [M], which sum to 1

    def __init__(self, data: InteractionData, settings: LATTICESettings) -> None:
        super().__init__(data, settings)
        self.content = ContentProjections(data, settings.embedding_dim, None, settings.train_features)
        #: Share of a node's own embedding in what it receives, [U, 1] and [I, 1]; None without loops.
        self.own_shares: tuple[Tensor, Tensor] | None = None
        if settings.adjacency == "mean-self":
            degrees = data.train.degrees(), torch.bincount(data.train.indices, minlength=data.num_items)
            self.own_shares = (1 / (degrees[0] + 1).unsqueeze(1), 1 / (degrees[1] + 1).unsqueeze(1))
        self.raw_graphs = list(content_graphs(data, settings.graph_topk).values())
        count = len(self.raw_graphs)
        self.modality_logits = nn.Parameter(torch.zeros(count))
        shape = (count, data.num_items, min(settings.graph_topk, data.num_items))
        self.register_buffer("neighbours", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("cosines", torch.zeros(shape))
        self.register_buffer("shares", torch.full((count,), 1 / count))
        self.item_graph: ItemGraph | None = None
        self.learns_graph = False
        self.register_load_state_dict_post_hook(lambda model, _: model.forget_graph())

    @torch.no_grad()
    def begin_epoch(self, epoch: int) -> None:
        """Find the nearest items anew, every ``graph_refresh`` epochs."""
        if (epoch - 1) % self.settings.graph_refresh == 0:
            self.neighbours, self.cosines, self.shares = self._mined()
            self.forget_graph()
            self.learns_graph = True

    def forget_graph(self) -> None:
        """Drop the graph among items; it is rebuilt from the buffers when next needed."""
        self.item_graph = None

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return final embeddings on the graph of the epoch, [U, d] and [I, d]."""
        return self._final(self._on_fixed_graph())

    def represent(self) -> tuple[Tensor, Tensor]:
        """Return final embeddings on the graph that ``ranking_graph`` names; that of the epoch stays as it is."""
        if self.settings.ranking_graph == "epoch":
            return super().represent()
        with torch.no_grad():
            graph = self._built(*self._mined())
        return self._ranked(self._final(graph.propagate(self.items, self.settings.item_layers)))

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking loss, whose gradient reaches the graph itself in the first step after a refresh."""
        latent = self._on_learnt_graph() if self.learns_graph else self._on_fixed_graph()
        self.learns_graph = False
        final = self._final(latent)
        penalised = final if self.settings.l2_on == "final" else self.ego_embeddings()
        return ranking_terms(self.settings, *final, batch, penalised) | self.plugged(batch)

    def _final(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        users, items = self._propagated()
        return users, items + normalize(latent, dim=1)

    def _propagated(self) -> tuple[Tensor, Tensor]:
        if self.own_shares is None:
            return self.graph.propagate(self.users, self.items, self.settings.layers)
        layers: list[tuple[Tensor, Tensor]] = [(self.users, self.items)]
        of_users, of_items = self.own_shares
        for _ in range(self.settings.layers):
            users, items = layers[-1]
            from_items, from_users = self.graph.users_from(items), self.graph.items_from(users)
            layers.append((from_items.lerp(users, of_users), from_users.lerp(items, of_items)))
        return mean_of_layers(layers)

    def _on_fixed_graph(self) -> Tensor:
        if self.item_graph is None:
            self.item_graph = self._built(self.neighbours, self.cosines, self.shares)
        return self.item_graph.propagate(self.items, self.settings.item_layers)

    def _on_learnt_graph(self) -> Tensor:
        cosines = self._cosines(self._unit_content(), self.neighbours)
        rows, columns, weights = self._edges(self.neighbours, cosines, self.modality_logits.softmax(dim=0))
        items: Tensor = self.items
        for _ in range(self.settings.item_layers):
            items = torch.zeros_like(items).index_add(0, rows, weights.unsqueeze(1) * items[columns])
        return items

    def _mined(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return neighbours and cosines of the projected content, [M, I, k], and shares [M], by the present weights."""
        rows, k = self._unit_content(), self.neighbours.shape[2]
        neighbours = torch.stack([cosine_topk(of_one, of_one, k) for of_one in rows])
        return neighbours, self._cosines(rows, neighbours), self.modality_logits.softmax(dim=0)

    def _built(self, neighbours: Tensor, cosines: Tensor, shares: Tensor) -> ItemGraph:
        edges = merged_edges(*self._edges(neighbours, cosines, shares), self.num_items)
        return ItemGraph.from_edges(*edges, self.num_items)

    def _edges(self, neighbours: Tensor, cosines: Tensor, shares: Tensor) -> Edges:
        """Return the weighted edges of the learnt graph and of the raw ones; an edge may occur more than once."""
        count, items, k = neighbours.shape
        rows = torch.arange(items, device=cosines.device).repeat_interleave(k).repeat(count)
        columns = neighbours.reshape(-1).clamp(min=0)  # of weight 0 where there is none
        learnt = (shares.view(-1, 1, 1) * cosines).reshape(-1)
        learnt = (1 - self.settings.skip_weight) * symmetric_weights(rows, columns, learnt, items)
        raw = [
            self.settings.skip_weight * share * edges[2] for share, edges in zip(shares, self.raw_graphs, strict=True)
        ]
        rows = torch.cat([rows, *(edges[0] for edges in self.raw_graphs)])
        columns = torch.cat([columns, *(edges[1] for edges in self.raw_graphs)])
        return rows, columns, torch.cat([learnt, *raw])

    def _unit_content(self) -> list[Tensor]:
        return [normalize(rows, dim=1) for rows in self.content().values()]

    def _cosines(self, rows: list[Tensor], neighbours: Tensor) -> Tensor:
        pairs = zip(rows, neighbours, strict=True)
        cosines = torch.stack([(of_one[near] * of_one.unsqueeze(1)).sum(dim=2) for of_one, near in pairs])
        return cosines.clamp(min=0) * (neighbours >= 0)
