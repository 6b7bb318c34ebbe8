"""GUME (Lin et al., GUME: Graphs and User Modalities Enhancement for Long-Tail Multimodal Recommendation, CIKM
2024)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmssl_cli.config.item_graphs import GUMESettings
from mmssl_cli.data.graph import BipartiteGraph, ItemGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import embedding
from mmssl_cli.models.content import nearest_content
from mmssl_cli.models.losses import CountedRows, info_nce, l2_of
from mmssl_cli.models.mgcn import PurifiedViewRecommender
from mmssl_cli.models.rows import take
from mmssl_cli.sparse.products import SparseMatrix


class GUME(PurifiedViewRecommender):
    """MGCN's views over a graph of interactions to which edges among near items are added, for those of the long tail.

    Two items are joined if each modality that the first one has counts the other among its nearest. Behaviour spreads
    over both kinds of edges. The modalities' views have their means and variances aligned, and the fused content of
    users is contrasted with their extended content: that of the items, spread over the enhanced graph from embeddings
    of the users' own. Both are contrasted with themselves under noise. As in the authors' program (NanGongNingYi/GUME),
    the contrasts are over every triple (``contrast_rows``), the L2 term is of the final embeddings (``l2_on``) and
    another of the extended items, raw features are trained, and all linear layers begin as PyTorch initialises them.

    The program spreads users' embeddings of each modality and then takes the mean over modalities. Spreading is linear:
    here the mean is taken first, so that one table of users stands for the mean of those.
    """

    cold_items = "content"
    settings: GUMESettings

    def __init__(self, data: InteractionData, settings: GUMESettings) -> None:
        super().__init__(data, settings)
        tables = [embedding(data.num_users, settings.embedding_dim).detach() for _ in data.features]
        self.extended_users = nn.Parameter(torch.stack(tables).mean(dim=0))
        self.graph = enhanced_graph(data, *common_neighbours(data, settings.graph_topk), settings.adjacency)

    def _further_terms(
        self, batch: Batch, anchors: CountedRows, side_users: Tensor, views: tuple[Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """The alignment of the modalities, the contrast of users' content, and the L2 term of extended items."""
        settings, terms = self.settings, dict[str, Tensor]()
        if settings.align_weight and len(self.content.layers) > 1:
            terms["align"] = settings.align_weight * gap_of_moments(self._by_view(torch.cat(views)))
        if not settings.user_contrast_weight and not settings.extended_l2_weight:
            return terms
        users, items = self.graph.propagate(self.extended_users, self._by_view(views[1]).mean(dim=0), settings.layers)
        if settings.user_contrast_weight:
            (nodes, counts), temperature = anchors, settings.user_contrast_temperature
            fused, extended = take(side_users, nodes), take(take(users, batch.distinct_users), nodes)
            pairs = [(extended, fused)]
            pairs += [
                (perturbed(of, settings.user_noise), perturbed(of, settings.user_noise)) for of in (fused, extended)
            ]
            losses = [info_nce(one, other, temperature, counts=counts) for one, other in pairs]
            terms["contrast_users"] = settings.user_contrast_weight * torch.stack(losses).sum()
        if settings.extended_l2_weight:
            terms["l2_extended"] = settings.extended_l2_weight * l2_of(take(items, batch.positives))
        return terms


@dataclass(frozen=True)
class EnhancedGraph(BipartiteGraph):
    """A graph between users and items that joins items as well.

    Attributes:
        among_items: [I, I], weights of messages to an item from others.
    """

    among_items: SparseMatrix

    def propagate(self, users: Tensor, items: Tensor, layers: int) -> tuple[Tensor, Tensor]:
        """Return the mean over the embeddings [U, d] and [I, d] and those after each layer of linear propagation."""
        of_users, of_items = users, items
        for _ in range(layers):
            users, items = self.users_from(items), self.items_from(users) + self.among_items @ items
            of_users, of_items = of_users + users, of_items + items
        return of_users / (layers + 1), of_items / (layers + 1)


def enhanced_graph(data: InteractionData, rows: Tensor, columns: Tensor, adjacency: str) -> EnhancedGraph:
    """Return the graph of the training interactions and of edges among items, int64 [n] each, from column to row.

    An item's degree counts both kinds. Weights are 1/sqrt(N N') of both ends (``sym``) or 1/sqrt(N) of the receiving
    end (``left``).
    """
    users, items = data.train.entries()
    of_users = torch.bincount(users, minlength=data.num_users)
    of_items = torch.bincount(torch.cat([items, rows]), minlength=data.num_items)
    by_user, by_item = (torch.where(of > 0, of.float().rsqrt(), 0) for of in (of_users, of_items))
    shape = data.num_users, data.num_items
    if adjacency == "sym":
        to_users = SparseMatrix.from_entries(users, items, by_user[users] * by_item[items], shape)
        to_items = SparseMatrix(to_users.transpose, to_users.matrix)
        among = by_item[rows] * by_item[columns]
    else:
        to_users = SparseMatrix.from_entries(users, items, by_user[users], shape)
        to_items = SparseMatrix.from_entries(items, users, by_item[items], shape[::-1])
        among = by_item[rows]
    return EnhancedGraph(to_users, to_items, ItemGraph.from_edges(rows, columns, among, data.num_items))


def common_neighbours(data: InteractionData, k: int) -> tuple[Tensor, Tensor]:
    """Return items and others among the ``k`` nearest by each modality that the item has, int64 [n] each."""
    graphs = nearest_content(data, k).values()
    rows, columns = (torch.cat([edges[of] for edges in graphs]) for of in range(2))
    keys, found = torch.unique(rows * data.num_items + columns, return_counts=True)
    rows, columns = keys // data.num_items, keys % data.num_items
    modalities = torch.stack(list(data.present.values())).sum(dim=0).to(rows.device)
    kept = (found == modalities[rows]) & (rows != columns)
    return rows[kept], columns[kept]


def gap_of_moments(views: Tensor) -> Tensor:
    """Differences of mean and of variance, each over all of a view's elements, of all pairs of views [V, n, d]."""
    variances, means = torch.var_mean(views.float(), dim=(1, 2))
    moments = torch.stack([means, variances])
    gaps = [(one - other).abs() for one, other in combinations(moments.unbind(dim=1), 2)]
    return torch.stack(gaps).sum()


def perturbed(rows: Tensor, length: float) -> Tensor:
    """Return rows [n, d] plus noise of a length each, that has the signs of the row (Yu et al., SIGIR 2022)."""
    return rows + length * rows.sign() * normalize(torch.rand_like(rows), dim=1)
