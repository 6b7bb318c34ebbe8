"""MMGCL (Yi et al., Multi-modal Graph Contrastive Learning for Micro-video Recommendation, SIGIR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from mmssl_cli.config.structure import MMGCLSettings
from mmssl_cli.data.graph import BipartiteGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import embedding, ranking_terms
from mmssl_cli.models.losses import info_nce
from mmssl_cli.models.rows import take
from mmssl_cli.models.views import ModalityViews, Part, Views


class MMGCL(ModalityViews):
    """Views of ids and modalities, joined; BPR, and a contrast within or between their augmented versions.

    ``contrast_pairs`` is by default the released program's: twice the contrast of the users of a batch's triples with
    their items, in a version with edges dropped; its other version and its challenging negatives reach no loss. Its
    weight decay is added to the gradient by Adam (``optimizer``).

    The paper's contrast (``versions``) is of two versions of each user and item of a batch. One drops edges (modality
    edge dropout), the other has the items of a random modality replaced by random embeddings before propagation
    (modality masking). An item is also contrasted with a challenging negative: itself with one modality of another
    item. Each modality is masked equally often, where the paper sets a probability for each.

    Edges and random embeddings are drawn once an epoch, by the program at each step.
    """

    settings: MMGCLSettings

    def __init__(self, data: InteractionData, settings: MMGCLSettings) -> None:
        super().__init__(data, settings)
        self.edges = data.train.entries()
        self.dropped = self.graph
        self.dropped_spread = self.raw_spread
        self.noise = Part((torch.zeros_like(self.users), torch.zeros_like(self.items)))

    @torch.no_grad()
    def begin_epoch(self, epoch: int) -> None:
        """Draw the edges that one version lacks and the embeddings that mask a modality in the other."""
        users, items = self.edges
        kept = torch.rand(len(users), device=users.device) >= self.settings.edge_dropout
        shape = (self.num_users, self.num_items)
        self.dropped = BipartiteGraph.from_edges(users[kept], items[kept], *shape, self.settings.adjacency)
        self.dropped_spread = self.spread_raw(self.dropped)
        self.noise = Part(self.spread_items(embedding(*self.items.shape).to(users.device), self.graph))

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking loss, and the contrast of users and of items."""
        settings = self.settings
        rows, users, items = batch.renumbered()
        views = self.views()
        of_users, of_items = self.joined(*views.of(users, items))
        terms = ranking_terms(settings, of_users, of_items, rows, (take(self.users, users), take(self.items, items)))
        if settings.contrast_weight:
            if settings.contrast_pairs == "user-item":
                contrast = self._contrast_of_pairs(rows, users, items)
            else:
                positives = rows.positives.unique()
                others = items[rows.negatives[: len(positives)]]
                contrast = self._contrast_of_versions(views, users, items[positives], others)
            terms["contrast"] = settings.contrast_weight * contrast
        return terms | self.plugged(batch)

    def _contrast_of_pairs(self, rows: Batch, users: Tensor, items: Tensor) -> Tensor:
        """Twice the contrast of users with their items; ``rows`` are the triples in rows of ``users`` and ``items``."""
        dropped = self.views(self.dropped, self.dropped_spread)
        of_users, of_items = self.joined(*dropped.of(users, items))
        pairs = take(of_users, rows.users), take(of_items, rows.positives)
        return 2 * info_nce(*pairs, self.settings.contrast_temperature)

    def _contrast_of_versions(self, views: Views, users: Tensor, items: Tensor, others: Tensor) -> Tensor:
        """Contrast of users and of items; ``others`` make the challenging negatives; int64 [n] each."""
        temperature = self.settings.contrast_temperature
        dropped = self.views(self.dropped, self.dropped_spread)
        user_views, item_views = dropped.of(users, items)
        users1, items1 = self.joined(user_views, item_views)
        masked = views.with_part(modality_view(self), self.noise)
        users2, items2 = self.joined(*masked.of(users, items))
        # Everything as in the item's own first version but one modality.
        challenging = list(item_views.chunk(self.num_views, dim=1))
        changed = modality_view(self)
        challenging[changed] = dropped.at(1, others).chunk(self.num_views, dim=1)[changed]
        negatives = self.join_items(torch.cat(challenging, dim=1))
        return info_nce(users1, users2, temperature) + info_nce_with_own(items1, items2, negatives, temperature)


def modality_view(model: ModalityViews) -> int:
    """Draw the view of one of the modalities of a model, each equally often."""
    return int(torch.randint(1, model.num_views, ()))


def info_nce_with_own(anchors: Tensor, others: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """InfoNCE by cosine with one further negative for each anchor alone; [n, d] each."""
    anchors, negatives = normalize(anchors, dim=1), normalize(negatives, dim=1)
    own = (anchors * negatives).sum(dim=1, keepdim=True)
    logits = torch.cat([anchors @ normalize(others, dim=1).T, own], dim=1) / temperature
    return cross_entropy(logits, torch.arange(len(anchors), device=anchors.device))
