"""Adversarial self-augmentation (ASL): Eq. 5 to 7 around the generator and the discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmssl_cli.config.mmssl import AdversarySettings
from mmssl_cli.distributed.collectives import average_gradients, local_rows
from mmssl_cli.models.mmssl.discriminator import Discriminator
from mmssl_cli.models.mmssl.shared_layers import masked_mean
from mmssl_cli.sparse.csr import CSR


class AdversarialSelfAugmentation(nn.Module):
    """Trains a discriminator to tell observed rows from generated ones, and the generator to be taken for observed.

    A module of its own, so that other models can take it (Table 5): it needs the training interactions and, at each
    step, thin factors of the generated rows and the final embeddings. Of several processes each judges the rows of its
    part of the users (see ``mmssl_cli.distributed.collectives``).

    Users may be padded to a fixed number: those that a ``mask`` (bool [B]) is False for count for nothing, and every
    tensor of a step then has the same shape in each.
    """

    def __init__(self, train: CSR, num_items: int, settings: AdversarySettings, gumbel_transform: bool = True) -> None:
        super().__init__()
        self.train_items = train
        self.settings = settings
        self.gumbel_transform = gumbel_transform
        self._user_of_each: Tensor | None = None  #: of each training interaction; filled where users are padded
        self.discriminator = Discriminator(num_items, settings.discriminator_hidden, settings.discriminator_dropout)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Adam for the discriminator, with the moments that WGAN-GP uses."""
        parameters = self.discriminator.parameters()
        return torch.optim.Adam(parameters, lr=self.settings.discriminator_lr, betas=(0.5, 0.9), fused=True)

    def discriminator_step(
        self,
        optimizer: torch.optim.Optimizer,
        users: Tensor,
        generated: list[tuple[Tensor, Tensor]],
        final: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Update the discriminator on the rows of some users (int64 [B]); nothing flows back to the generator.

        Args:
            generated: normalised features (f_u of these users [B, d], f_i [I, d]) for each modality (Eq. 3).
            final: normalised final embeddings (h_u of these users [B, d], h_i [I, d]) for Eq. 5.

        Returns:
            Detached scalars: the objective, and the gap D(observed) - D(generated).
        """
        generated = [(u.detach(), i.detach()) for u, i in generated]
        final = (final[0].detach(), final[1].detach())
        observed = self.transformed_rows(users, mask)
        for _ in range(self.settings.discriminator_steps):
            objective, gap = self.objective(users, observed, generated, final, mask)
            optimizer.zero_grad(set_to_none=True)
            objective.backward()
            average_gradients(self.discriminator.parameters())
            optimizer.step()
        return {"discriminator": objective.detach(), "discriminator gap": gap.detach()}

    def objective(
        self,
        users: Tensor,
        observed: Tensor | None,
        generated: list[tuple[Tensor, Tensor]],
        final: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Eq. 7 for the discriminator: D(generated) - D(observed) + lambda_1 x penalty, and the gap.

        ``observed`` is what ``transformed_rows`` makes of these users; all else is as in ``discriminator_step``.
        """
        d, count = self.discriminator, len(users)
        users, final, generated = (
            local_rows(users),
            (local_rows(final[0]), final[1]),
            [(local_rows(u), i) for u, i in generated],
        )
        real = self._first_layer_of_observed(users, observed, mask) + self.settings.zeta * d.first_layer_lowrank(*final)
        fakes = [d.first_layer_lowrank(*factors) for factors in generated]
        # One pass over all rows: batch statistics of their own would hide how observed and generated rows differ.
        blocks = 1 + len(fakes)
        verdicts = d.forward(torch.cat([real, *fakes]), (blocks, count), _repeated(mask, blocks)).chunk(blocks)
        means = [masked_mean(verdict, count, mask) for verdict in verdicts]
        gap = means[0] - torch.stack(means[1:]).mean()
        if not self.settings.gradient_penalty:
            return -gap, gap
        # The first layer is linear: that of an interpolated row is the interpolation of the first layers.
        share = torch.rand(len(fakes), count, 1, device=real.device)
        mixed = torch.cat(
            [local_rows(s) * real + (1 - local_rows(s)) * fake for s, fake in zip(share, fakes, strict=True)]
        )
        penalty = d.gradient_penalty(mixed, count * len(fakes), _repeated(mask, len(fakes)))
        return -gap + self.settings.gradient_penalty * penalty, gap

    def generator_loss(self, generated: list[tuple[Tensor, Tensor]], mask: Tensor | None = None) -> Tensor:
        """Eq. 7 for the generator: -D(generated), averaged over rows and modalities; D itself is held fixed."""
        d = self.discriminator
        training = d.training
        d.eval()
        d.requires_grad_(False)
        verdicts = d.forward(torch.cat([d.first_layer_lowrank(local_rows(u), i) for u, i in generated]))
        verdict = masked_mean(verdicts, sum(len(u) for u, _ in generated), _repeated(mask, len(generated)))
        d.requires_grad_(True)
        d.train(training)
        return -verdict

    @torch.no_grad()
    def transformed_rows(self, users: Tensor, mask: Tensor | None = None) -> Tensor | None:
        """Eq. 5, first term: Gumbel softmax of the observed rows, dense [B, I]; None without the transform (w/o-GT).

        Of several processes each draws for all the users and makes the rows of its part of them.
        """
        if not self.gumbel_transform:
            return None
        count, num_items = len(users), self.discriminator.first.in_features
        # A row more, where users are padded, takes the interactions of all who are not in the batch.
        rows = local_rows(torch.rand(count + (mask is not None), num_items, device=users.device))
        # In place, since this is the one dense block of a step: rows = (A + scale * g) / tau.
        scale = self.settings.gumbel_scale / self.settings.gumbel_temperature
        # A uniform number may be 0 and its g infinite: one item fewer, but not a number where the scale is 0.
        _ = rows.log_().neg_().log_().mul_(-scale) if scale else rows.zero_()
        rows.view(-1)[self._entries(users, mask)] += 1 / self.settings.gumbel_temperature
        rows = rows if mask is None else rows[:count]
        return torch.softmax(rows, dim=1, out=rows)

    def _entries(self, users: Tensor, mask: Tensor | None) -> Tensor:
        """Where the training interactions of this process's part of the users are in rows of items, int64 [n].

        With a mask they are those of all users: of those who are not in the batch, in a row after the last.
        """
        num_items = self.discriminator.first.in_features
        if mask is None:
            chosen = self.train_items.select(local_rows(users))
            return chosen.row_of_each() * num_items + chosen.indices
        if self._user_of_each is None:
            self._user_of_each = self.train_items.row_of_each()
        num_users, count = self.train_items.num_rows, len(users)
        row_of = users.new_full((num_users + 1,), count)
        row_of[torch.where(mask, users, num_users)] = torch.arange(count, device=users.device)
        return row_of[self._user_of_each] * num_items + self.train_items.indices

    def _first_layer_of_observed(self, users: Tensor, observed: Tensor | None, mask: Tensor | None = None) -> Tensor:
        if observed is not None:
            return self.discriminator.first_layer_dense(observed)
        if mask is not None:
            rows = torch.zeros(len(users) + 1, self.discriminator.first.in_features, device=users.device)
            rows.view(-1)[self._entries(users, mask)] = 1
            return self.discriminator.first_layer_dense(rows[:-1])
        chosen = self.train_items.select(users)
        return self.discriminator.first_layer_sparse(chosen.row_of_each(), chosen.indices, len(users))


def _repeated(mask: Tensor | None, blocks: int) -> Tensor | None:
    return None if mask is None else mask.repeat(blocks)


def thin_factors(users: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Row-normalised factors of the rows of ``users`` (int64 [B]): from [U, d], [I, d] to [B, d], [I, d]."""
    return [(normalize(u[users], dim=1), normalize(i, dim=1)) for u, i in pairs]
