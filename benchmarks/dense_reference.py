"""MMSSL's training step written down plainly: whole adjacency matrices, whole rows, the penalty by autograd.

Eq. 2 to 14 with users x items matrices in place of sparse graphs and batch x items blocks in place of thin factors.
It has the parameters and settings of ``mmssl_cli.models.mmssl`` and shares no other code with it than the layers that
hold them and the ranking loss; from the same state and random numbers it gives the same losses up to rounding, so
that the two can be timed against each other and compared. The full variant alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmssl_cli.config import MMSSLSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.base import ranking_terms
from mmssl_cli.models.mmssl.model import MMSSL

#: What users receive from items [U, I], and items from users [I, U].
Adjacency = tuple[Tensor, Tensor]


class DenseMMSSL(MMSSL):
    """Drop-in for a training of ``MMSSL``; what neither training nor Eq. 8 needs is that model's."""

    observed: Tensor  #: the training interactions, 0 or 1, float32 [U, I]

    def __init__(self, data: InteractionData, settings: MMSSLSettings) -> None:
        super().__init__(data, settings)
        observed = torch.zeros(data.num_users, data.num_items, device=data.train.indices.device)
        observed[data.train.row_of_each(), data.train.indices] = 1
        self.register_buffer("observed", observed, persistent=False)
        self.interactions = normalised(observed, settings.adjacency)
        self.content_graphs: list[Adjacency] = []

    def begin_epoch(self, epoch: int) -> None:
        """Eq. 3 and 8: every generated relation, and each user's largest."""
        if (epoch - 1) % self.settings.graph_refresh == 0:
            self.eval()
            with torch.no_grad():
                relations = [normalize(u, dim=1) @ normalize(i, dim=1).T for u, i in self.generated()]
                k = self.neighbours.shape[2]
                largest = [relation.topk(k, dim=1) for relation in relations]
                self.neighbours = torch.stack([torch.where(value > 0, item, -1) for value, item in largest])
            self.train()
            self.forget_graphs()

    def forget_graphs(self) -> None:
        """As the model's."""
        self.content_graphs = []

    def generated(self) -> list[tuple[Tensor, Tensor]]:
        """Eq. 2."""
        to_users, to_items = self.interactions
        features = []
        for name, layer in self.generator.projections.items():
            raw, present = self.generator.raw[name], self.generator.present[name]
            users = to_users @ (self.generator.dropout(layer(raw)) * present)
            features.append((users, to_items @ users))
        return features

    def views(self) -> tuple[list[Tensor], list[Tensor]]:
        """Eq. 8, second half."""
        if not self.content_graphs:
            empty = torch.zeros_like(self.observed)
            kept = [empty.scatter_add(1, found.clamp(min=0), (found >= 0).float()) for found in self.neighbours]
            self.content_graphs = [normalised(graph, self.settings.adjacency) for graph in kept]
        return [u @ self.items for u, _ in self.content_graphs], [i @ self.users for _, i in self.content_graphs]

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Algorithm 1."""
        settings, rows = self.settings, batch.distinct_users
        user_views, item_views = self.views()
        generated = self.generated()
        users, items = self.embeddings(user_views, item_views, generated)
        terms = ranking_terms(settings, users, items, batch, (self.users, self.items))
        contrasted = rows if settings.contrast_users == "batch" else torch.arange(self.num_users, device=rows.device)
        contrast = self.contrast(users[contrasted], [view[contrasted] for view in user_views])
        terms["contrast"] = settings.contrast_weight * contrast
        fakes = [normalize(u[rows], dim=1) @ normalize(i, dim=1).T for u, i in generated]  # Eq. 3
        auxiliary = normalize(users[rows], dim=1) @ normalize(items, dim=1).T
        self.train_discriminator(self.observed[rows], [fake.detach() for fake in fakes], auxiliary.detach())
        terms["adversarial"] = settings.adversarial_weight * self.generator_loss(fakes)
        return terms

    def embeddings(
        self, user_views: list[Tensor], item_views: list[Tensor], generated: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Eq. 9, 10 and 12."""
        s, (to_users, to_items) = self.settings, self.interactions
        users = self.users + s.eta * normalize(self.attend(user_views), dim=1)
        items = self.items + s.eta * normalize(self.attend(item_views), dim=1)
        layers = [(users, items)]
        for _ in range(s.layers):
            users, items = layers[-1]
            layers.append((to_users @ items, to_items @ users))
        users, items = (torch.stack(of_each).mean(dim=0) for of_each in zip(*layers, strict=True))
        for of_users, of_items in generated if s.omega else []:
            users = users + s.omega * normalize(of_users, dim=1)
            items = items + s.omega * normalize(of_items, dim=1)
        return users, items

    def attend(self, views: list[Tensor]) -> Tensor:
        """Eq. 9, head by head."""
        queries = torch.stack([view @ self.attention.query for view in views])
        keys = torch.stack([view @ self.attention.key for view in views])
        values, heads = torch.stack(views), []
        width = self.settings.embedding_dim // self.settings.heads
        for query, key, value in zip(*(whole.split(width, dim=2) for whole in (queries, keys, values)), strict=True):
            weights = torch.softmax(torch.einsum("mnd,ond->mon", query, key) / width**0.5, dim=1)
            heads.append(torch.einsum("mon,ond->mnd", weights, value))
        return torch.cat(heads, dim=2).mean(dim=0)

    def contrast(self, final: Tensor, views: list[Tensor]) -> Tensor:
        """Eq. 11."""
        h, total = normalize(final, dim=1), final.new_zeros(())
        for view in views:
            e = normalize(view, dim=1)
            to_final = torch.exp(e @ h.T / self.settings.contrast_temperature)
            to_views = torch.exp(e @ e.T / self.settings.contrast_temperature)
            total = total - torch.log(to_final.diagonal() / (to_final + to_views).sum(dim=1)).mean()
        return total

    def train_discriminator(self, observed: Tensor, fakes: list[Tensor], auxiliary: Tensor) -> None:
        """Eq. 5 and 7."""
        assert self.adversary is not None and self.auxiliary_optimizer is not None
        settings = self.adversary.settings
        noise = -torch.log(-torch.log(torch.rand(observed.shape, device=observed.device)))
        perturbed = (observed + settings.gumbel_scale * noise) / settings.gumbel_temperature
        real = torch.softmax(perturbed, dim=1) + settings.zeta * auxiliary
        for _ in range(settings.discriminator_steps):
            objective, gap = self.objective(real, fakes)
            self.auxiliary_optimizer.zero_grad(set_to_none=True)
            objective.backward()
            self.auxiliary_optimizer.step()
        self.monitored = {"discriminator": objective.detach(), "discriminator gap": gap.detach()}

    def objective(self, real: Tensor, fakes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Eq. 7 for the discriminator."""
        assert self.adversary is not None
        weight = self.adversary.settings.gradient_penalty
        outputs = self.forward(torch.cat([real, *fakes])).split(len(real))
        gap = outputs[0].mean() - torch.stack([output.mean() for output in outputs[1:]]).mean()
        if not weight:
            return -gap, gap
        share = torch.rand(len(fakes), len(real), 1, device=real.device)
        mixed = torch.cat([s * real + (1 - s) * fake for s, fake in zip(share, fakes, strict=True)])
        mixed.requires_grad_()
        self.adversary.discriminator.eval()
        (slope,) = torch.autograd.grad(self.forward(mixed).sum(), mixed, create_graph=True)
        self.adversary.discriminator.train()
        penalty = (torch.sqrt(slope.square().sum(dim=1) + 1e-12) - 1).square().mean()
        return -gap + weight * penalty, gap

    def generator_loss(self, fakes: list[Tensor]) -> Tensor:
        """Eq. 7 for the generator."""
        assert self.adversary is not None
        discriminator = self.adversary.discriminator
        discriminator.eval().requires_grad_(False)
        output = self.forward(torch.cat(fakes)).mean()
        discriminator.train().requires_grad_(True)
        return -output

    def forward(self, rows: Tensor) -> Tensor:
        """Eq. 4: D [n] of rows [n, I]."""
        assert self.adversary is not None
        discriminator = self.adversary.discriminator
        return discriminator.rest(discriminator.first(rows)).squeeze(1)


def normalised(adjacency: Tensor, kind: str) -> Adjacency:
    """A 0/1 matrix [U, I] weighted as ``BipartiteGraph.from_edges`` weights its edges."""
    by_user = adjacency.sum(dim=1, keepdim=True).clamp(min=1).rsqrt()
    by_item = adjacency.sum(dim=0, keepdim=True).clamp(min=1).rsqrt()
    if kind == "sym":
        weighted = by_user * adjacency * by_item
        return weighted, weighted.T
    return by_user * adjacency, (adjacency * by_item).T
