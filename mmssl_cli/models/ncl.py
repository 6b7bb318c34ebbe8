"""NCL (Lin et al., WWW 2022).

Improving Graph Collaborative Filtering with Neighborhood-enriched Contrastive Learning.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmssl_cli.config.collaborative import NCLSettings
from mmssl_cli.data.graph import mean_and_layer
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import GraphRecommender, ranking_terms
from mmssl_cli.models.clustering import k_means
from mmssl_cli.models.losses import contrast_batch, info_nce
from mmssl_cli.models.rows import take


class NCL(GraphRecommender):
    """LightGCN, with contrasts of a node to its neighbours in the graph and to those in the space of embeddings.

    Structural neighbours: a node after an even number of layers, which has gathered nodes of its own kind, against
    layer 0. Semantic neighbours: a node's layer 0 against the centre of its cluster; the E-step, k-means over the
    users and over the items, is done anew every few epochs once the warm-up is over. Both terms are means over the
    batch's users and its positive items, each once, where the authors' program sums over a batch of 4096 beside a mean
    of BPR: its weights are 4096 times smaller for the same effect. Negatives of the structural contrast are all other
    nodes, as in paper and program, or those of the batch (``contrast_negatives``); a clustering has the 25 rounds of
    the program's library (``cluster_rounds``).
    """

    settings: NCLSettings
    user_centres: Tensor  #: [k, d]; saved with the weights, as the next three are, to resume training
    item_centres: Tensor
    user_clusters: Tensor  #: int64 [U]
    item_clusters: Tensor

    def __init__(self, data: InteractionData, settings: NCLSettings) -> None:
        super().__init__(data, settings)
        for side, nodes in (("user", self.users), ("item", self.items)):
            centres = torch.zeros(min(settings.clusters, len(nodes)), settings.embedding_dim)
            self.register_buffer(f"{side}_centres", centres)
            self.register_buffer(f"{side}_clusters", torch.zeros(len(nodes), dtype=torch.int64))
        self.warm = False  #: True once there are clusters to contrast with

    def begin_epoch(self, epoch: int) -> None:
        """Run the E-step, every ``prototype_refresh`` epochs after the warm-up."""
        since = epoch - 1 - self.settings.prototype_warmup
        self.warm = since >= 0 and self.settings.prototype_weight > 0
        if self.warm and since % self.settings.prototype_refresh == 0:
            generator = torch.Generator(self.users.device).manual_seed(self.settings.seed + epoch)
            for side, nodes in (("user", self.users), ("item", self.items)):
                centres, clusters = k_means(
                    nodes.detach(), self.settings.clusters, generator, self.settings.cluster_rounds
                )
                setattr(self, f"{side}_centres", centres)
                setattr(self, f"{side}_clusters", clusters)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the mean of the layers, [U, d] and [I, d]."""
        return self.graph.propagate(self.users, self.items, self.settings.layers)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking terms, and the structural and the semantic contrast."""
        settings = self.settings
        mean, spread = mean_and_layer(self.graph, self.users, self.items, settings.layers, 2 * settings.structure_hops)
        users, items = mean
        terms = ranking_terms(settings, users, items, batch, self.ego_embeddings())
        if settings.contrast_weight:
            of_users, of_items = contrast_batch(
                spread, self.ego_embeddings(), batch, settings.contrast_temperature, settings.contrast_negatives
            )
            terms["structure"] = settings.contrast_weight * (of_users + settings.item_weight * of_items)
        if settings.prototype_weight:
            terms["prototype"] = settings.prototype_weight * self._prototype_contrast(batch)
        return terms

    def _prototype_contrast(self, batch: Batch) -> Tensor:
        """Nodes against the centres of all clusters; zero in the warm-up."""
        if not self.warm:
            return self.users.new_zeros(())
        users, items, temperature = batch.distinct_users, batch.positives.unique(), self.settings.contrast_temperature
        of_users = info_nce(take(self.users, users), self.user_centres, temperature, self.user_clusters[users])
        of_items = info_nce(take(self.items, items), self.item_centres, temperature, self.item_clusters[items])
        return of_users + self.settings.item_weight * of_items
