"""MMSSL (Wei et al., Multi-Modal Self-Supervised Learning for Recommendation, WWW 2023): Eq. 12 to 14, Algorithm 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from mmssl_cli.config import MMSSLSettings
from mmssl_cli.data.graph import BipartiteGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.distributed.collectives import all_reduce_mean, broadcast_tensors
from mmssl_cli.models.base import GraphRecommender, ranking_terms
from mmssl_cli.models.mmssl.adversarial import AdversarialSelfAugmentation, low_rank_factors
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.mmssl.collapse import effective_rank, vicreg_penalty
from mmssl_cli.models.mmssl.contrastive import cross_modal_contrast
from mmssl_cli.models.mmssl.diagnostics import (
    LOW_TURNOVER,
    discriminator_outputs,
    gradient_measures,
    judged,
    sampled,
    turnover,
)
from mmssl_cli.models.mmssl.encoder import ModalityAttention, WeightedGraph, fused_layer0, modality_graph
from mmssl_cli.models.mmssl.generator import RelationGenerator
from mmssl_cli.models.mmssl.gradients import relative_scale
from mmssl_cli.models.rows import take
from mmssl_cli.models.spectral import first_items, low_pass_factors


class MMSSL(GraphRecommender):
    """The whole model; with no modality it is plain propagation of embeddings over the interaction graph."""

    auxiliary_modules = ("adversary",)
    cold_items = "neighbours"
    static_shapes = True
    settings: MMSSLSettings
    neighbours: Tensor  #: items nearest to each user in each modality, int64 [M, U, k], or -1; saved with the weights

    def __init__(self, data: InteractionData, settings: MMSSLSettings) -> None:
        super().__init__(data, settings)
        self.generator = RelationGenerator(
            data, self.graph, settings.embedding_dim, settings.dropout, settings.graph_search
        )
        if settings.generator_lr is not None:
            self.learning_rates["generator"] = settings.generator_lr
        self.attention = ModalityAttention(settings.embedding_dim, settings.heads)
        self.num_modalities = len(data.features)
        variant = settings.variant
        self.contrasts = self.num_modalities > 0 and variant != "w/o-CL" and settings.contrast_weight > 0
        self.generates = self.num_modalities > 0 and variant != "w/o-ASL" and settings.adversarial_weight > 0
        self.weighs_edges = self.num_modalities > 0 and settings.edge_weights == "cosine"
        self.adversary: AdversarialSelfAugmentation | None = None
        if self.generates and variant != "r/p-GAE":
            gumbel = variant != "w/o-GT"
            self.adversary = AdversarialSelfAugmentation(data.train, data.num_items, settings, gumbel)
            self.auxiliary_optimizer = self.adversary.make_optimizer()
            self.auxiliary_lr_decay = settings.discriminator_lr_decay
        k = min(settings.graph_topk, data.num_items)
        self.register_buffer("neighbours", torch.zeros(self.num_modalities, data.num_users, k, dtype=torch.int64))
        self.modality_graphs: list[BipartiteGraph] | None = None
        self.weighted_graphs: list[WeightedGraph] | None = None
        self.interaction_graph = self._make_interaction_graph(data) if settings.interaction_topk else None
        self.turnover: dict[str, float] = {}
        self.register_load_state_dict_post_hook(lambda model, _: model.forget_graphs())

    def _make_interaction_graph(self, data: InteractionData) -> BipartiteGraph:
        k = min(self.settings.interaction_topk, data.num_items)
        if self.filter is not None:
            users, items = self.filter.user_factors, self.filter.item_factors
        else:
            users, items = low_pass_factors(data, self.settings)
        nearest = first_items(users, items, k, data.folder).to(data.train.indices.device)
        broadcast_tensors([nearest])
        return modality_graph(nearest, data.num_items, self.settings.adjacency)

    def begin_epoch(self, epoch: int) -> None:
        """Refresh the modality graphs from the generated relations (Eq. 8), every ``graph_refresh`` epochs."""
        self.turnover = {}
        if self.num_modalities and (epoch - 1) % self.settings.graph_refresh == 0:
            previous, self.neighbours = self.neighbours, self.generator.neighbours(self.neighbours.shape[2])
            self._compare_neighbours(previous, epoch)
            if self.generator.recall is not None:
                self.turnover["recall of graph-search"] = self.generator.recall
            self.weighted_graphs = None
            # In place: a step recorded earlier reads the graphs from where they were.
            for graph, nearest in zip(self.modality_graphs or [], self.neighbours, strict=False):
                graph.copy_(modality_graph(nearest, self.num_items, self.settings.adjacency))

    def _compare_neighbours(self, previous: Tensor, epoch: int) -> None:
        if epoch == 1:
            self.diagnostic_state = {"first neighbours": sampled(self.neighbours).to(torch.int32)}
            if self._acts_on_graphs_alone() and self.settings.graph_refresh >= self.settings.epochs:
                self.warnings.append(
                    f"The adversary cannot act: the modality graphs of --graph-refresh {self.settings.graph_refresh} "
                    f"stay as they are for all of --epochs {self.settings.epochs}. Refresh them more often, or "
                    "--variant w/o-ASL trains the same faster."
                )
            return
        self.turnover = {"turnover": turnover(previous, self.neighbours)}
        first = self.diagnostic_state.get("first neighbours")  # checkpoints of earlier versions have none
        if first is None:
            return
        since_first = turnover(first.to(self.neighbours), sampled(self.neighbours))
        self.turnover["turnover since first"] = since_first
        every = self.settings.graph_refresh
        judged_at = 2 * every + 1 if 2 * every < self.settings.epochs else every + 1
        if epoch == judged_at and self._acts_on_graphs_alone() and since_first < LOW_TURNOVER:
            rate = self.settings.generator_lr or self.settings.lr
            self.warnings.append(
                f"The adversary cannot move the modality graphs: {since_first:.2%} of the neighbours differ from the "
                f"first ones in epoch {epoch}. A higher --generator-lr (now {rate:g}) lets it act, or "
                "--variant w/o-ASL trains the same faster."
            )

    def _acts_on_graphs_alone(self) -> bool:
        """Return True if the adversary reaches the ranking through the neighbours of Eq. 8 only."""
        return self.adversary is not None and not self.weighs_edges and not self.settings.omega

    def diagnose(self, batch: Batch) -> dict[str, float]:
        """Turnover of the neighbours, effective rank of f_i, and where there is an adversary what it does."""
        if not self.num_modalities:
            return {}
        training = self.training
        self.eval()
        features = self.generator()
        ranks = {f"rank {name}": effective_rank(f) for name, (_, f) in zip(self.generator.raw, features, strict=True)}
        measures = {**ranks, **(self._adversary_measures(features, batch) if self.adversary is not None else {})}
        self.train(training)
        values = all_reduce_mean(torch.stack([value.detach().double() for value in measures.values()])).tolist()
        return {**self.turnover, **dict(zip(measures, values, strict=True))}

    def _adversary_measures(self, features: list[tuple[Tensor, Tensor]], batch: Batch) -> dict[str, Tensor]:
        assert self.adversary is not None
        reached = self.weighs_edges or self.settings.omega > 0
        with torch.set_grad_enabled(reached):
            final = self._final(self.fused_layer0(*self.views(features)), features)
        rows = judged(BatchRows(batch.distinct_users, batch.mask))
        *generated, cosines = low_rank_factors(rows.users, [*features, final])
        ranking = (
            next(iter(ranking_terms(self.settings, *final, batch, self.ego_embeddings()).values())) if reached else None
        )
        loss = self.adversary.generator_loss(rows, generated, cosines)
        gradients = gradient_measures(loss, ranking, list(self.generator.parameters()))
        return {**discriminator_outputs(self.adversary, rows, generated, cosines), **gradients}

    def forget_graphs(self) -> None:
        """Drop the modality graphs; they are rebuilt from ``neighbours`` when next needed."""
        self.modality_graphs = self.weighted_graphs = None

    def views(self, features: list[tuple[Tensor, Tensor]] | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Eq. 8: modality-aware embeddings e_u^m [U, d] and e_i^m [I, d] for each modality.

        ``features`` of Eq. 2, which weigh the edges where ``edge_weights`` says so, are made unless given.
        """
        if self.weighs_edges:
            return self._weighted_views(self.generator() if features is None else features)
        if self.modality_graphs is None:
            shape = self.num_items, self.settings.adjacency
            self.modality_graphs = [modality_graph(nearest, *shape) for nearest in self.neighbours]
        graphs = self.modality_graphs
        return [g.users_from(self.items) for g in graphs], [g.items_from(self.users) for g in graphs]

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Eq. 12: h_u [U, d] and h_i [I, d]."""
        features = self.generator() if self.settings.omega or self.weighs_edges else []
        return self._final(self.fused_layer0(*self.views(features)), features)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Algorithm 1 for a batch: the discriminator's update, then the terms of Eq. 13."""
        settings = self.settings
        used = settings.omega or settings.vicreg_weight or self.generates or self.weighs_edges
        features = self.generator() if used else []
        user_views, item_views = self.views(features)
        users, items = self._final(self.fused_layer0(user_views, item_views), features)
        terms = ranking_terms(settings, users, items, batch, self.ego_embeddings())
        if self.contrasts:
            terms["contrast"] = settings.contrast_weight * self._contrast(users, user_views, batch)
        if self.adversary is not None and self.auxiliary_optimizer is not None:
            rows = BatchRows(batch.distinct_users, batch.mask)
            *generated, final = low_rank_factors(rows.users, [*features, (users, items)])
            self.monitored = self.adversary.discriminator_step(self.auxiliary_optimizer, rows, generated, final)
            loss = self.adversary.generator_loss(rows, generated, final)
            if settings.adversarial_scale == "relative":
                ranking, *_ = terms.values()
                loss = relative_scale(ranking, loss, list(self.generator.parameters())) * loss
            terms["adversarial"] = settings.adversarial_weight * loss
        elif self.generates:
            loss = reconstruction_loss(low_rank_factors(batch.users, features), batch, settings.contrast_temperature)
            terms["autoencoder"] = settings.adversarial_weight * loss
        if settings.vicreg_weight and features:
            penalties = [vicreg_penalty(of_items) for _, of_items in features]
            terms["vicreg"] = settings.vicreg_weight * torch.stack(penalties).mean()
        return terms

    def _weighted_views(self, features: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
        if self.weighted_graphs is None:
            shape = self.num_items, self.settings.adjacency
            self.weighted_graphs = [WeightedGraph.from_neighbours(nearest, *shape) for nearest in self.neighbours]
        pairs = [
            (graph, graph.relations(*of_both)) for graph, of_both in zip(self.weighted_graphs, features, strict=True)
        ]
        return [g.users_from(r, self.items) for g, r in pairs], [g.items_from(r, self.users) for g, r in pairs]

    def fused_layer0(self, user_views: list[Tensor], item_views: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Eq. 10: layer 0 of users [U, d] and items [I, d], from their ``views`` and that of ``interaction_topk``."""
        if self.interaction_graph is not None:
            user_views = [*user_views, self.interaction_graph.users_from(self.items)]
            item_views = [*item_views, self.interaction_graph.items_from(self.users)]
        if not user_views:
            return self.users, self.items
        users, items = (self.attention(torch.stack(views)) for views in (user_views, item_views))
        return fused_layer0(self.users, users, self.settings.eta), fused_layer0(self.items, items, self.settings.eta)

    def _final(self, layer0: tuple[Tensor, Tensor], features: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        users, items = self.graph.propagate(*layer0, self.settings.layers)
        if self.settings.omega:
            for of_users, of_items in features:
                users = users + self.settings.omega * normalize(of_users, dim=1)
                items = items + self.settings.omega * normalize(of_items, dim=1)
        return users, items

    def _contrast(self, users: Tensor, views: list[Tensor], batch: Batch) -> Tensor:
        temperature = self.settings.contrast_temperature
        if self.settings.contrast_users == "all":
            return cross_modal_contrast(users, views, temperature)
        distinct = batch.distinct_users
        rows = [take(view, distinct) for view in (users, *views)]
        return cross_modal_contrast(rows[0], rows[1:], temperature, mask=batch.mask)


def reconstruction_loss(generated: list[tuple[Tensor, Tensor]], batch: Batch, temperature: float) -> Tensor:
    """The graph auto-encoder of r/p-GAE: generated relations (Eq. 3) as logits of the observed interactions.

    Binary cross-entropy over the batch's positives and negatives, averaged over modalities; the cosine over
    ``temperature`` is the logit.

    Args:
        generated: normalised factors (of the batch's users [B, d], of all items [I, d]) for each modality.
    """
    pairs = torch.cat([batch.positives, batch.negatives])
    target = torch.zeros(len(pairs), device=pairs.device)
    target[: len(batch.positives)] = 1
    losses = [
        binary_cross_entropy_with_logits((users.repeat(2, 1) * take(items, pairs)).sum(dim=1) / temperature, target)
        for users, items in generated
    ]
    return torch.stack(losses).mean()
