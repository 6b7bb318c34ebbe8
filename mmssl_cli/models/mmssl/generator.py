"""The modality-guided relation generator: Eq. 2 and 3, and the neighbours of Eq. 8 taken from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmssl_cli.data.graph import BipartiteGraph, cosine_topk
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.distributed.collectives import gather_rows, local_rows
from mmssl_cli.evaluation.ann_index import cosine_index, nearest_by
from mmssl_cli.models.content import projected, projection


class RelationGenerator(nn.Module):
    """Modality-aware user and item features, whose cosine is the generated relation of a user and an item.

    For each modality, raw features go through a linear layer (tokens through an embedding bag) with dropout, then once
    to the users and back to the items over the training graph (Eq. 2; the paper's users have no raw features, so that
    f_u = A f~, f_i = A^T f_u).

    Attributes:
        search: ``exact``, or ``faiss`` for neighbours through an index.
        recall: share of a sample's exact neighbours that the last search found, the least of the modalities; None if
            it was exact.
    """

    def __init__(
        self, data: InteractionData, graph: BipartiteGraph, embedding_dim: int, dropout: float, search: str = "exact"
    ) -> None:
        super().__init__()
        self.search = search
        self.recall: float | None = None
        self.graph = graph
        self.raw = data.features
        self.present = {name: mask.unsqueeze(1) for name, mask in data.present.items()}
        self.projections = nn.ModuleDict(
            # Orthogonal: the cosines of Eq. 3 begin as near to the raw features' own as this many dimensions allow.
            {name: projection(values, embedding_dim, nn.init.orthogonal_) for name, values in data.features.items()}
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self) -> list[tuple[Tensor, Tensor]]:
        """Eq. 2: (f_u [U, d], f_i [I, d]) for each modality; an absent item contributes nothing."""
        features = []
        for name, layer in self.projections.items():
            content = self.dropout(projected(layer, self.raw[name])) * self.present[name]
            users = self.graph.users_from(content)
            features.append((users, self.graph.items_from(users)))
        return features

    @torch.no_grad()
    def neighbours(self, k: int) -> Tensor:
        """The ``k`` items of largest positive relation (Eq. 3) of each user and modality: int64 [M, U, k]; -1 is none.

        A user none of whose items has content has relation 0 with everything, as has an item without a training
        interaction, and therefore no neighbours. Through an index most of them are found, ``recall``. Each of several
        processes searches for its part of the users.
        """
        training = self.training
        self.eval()
        features = self()
        self.train(training)
        found, recalls = [], []
        for users, items in features:
            own = local_rows(users)
            if self.search == "exact":
                nearest = cosine_topk(own, items, k)
            else:
                index, recall = cosine_index(users, items, k)
                nearest = nearest_by(index, own, k)
                recalls.append(recall)
            found.append(gather_rows(nearest, len(users)))
        self.recall = min(recalls, default=None)
        return torch.stack(found)
