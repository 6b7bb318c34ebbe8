"""Adversarial self-augmentation (ASL): Eq. 5 to 7 around the generator and the discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmssl_cli.config.mmssl import AdversarySettings
from mmssl_cli.distributed.collectives import average_gradients
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.mmssl.discriminator import Discriminator
from mmssl_cli.models.optimizers import Adam
from mmssl_cli.sparse.csr import CSR

#: Factors (left [B, d], right [I, d]) of rows left @ right.T, which never exist whole.
Factors = tuple[Tensor, Tensor]


class AdversarialSelfAugmentation(nn.Module):
    """A discriminator that tells observed rows from generated ones, and the loss of the generator against it.

    A module of its own, so that other models can take it (Table 5): it needs the training interactions and, at each
    step, thin factors of the generated rows and the final embeddings. Factors are those of all of a batch's users; of
    several processes each judges the rows of its part of them (``BatchRows``).
    """

    def __init__(self, train: CSR, num_items: int, settings: AdversarySettings, gumbel_transform: bool = True) -> None:
        super().__init__()
        self.train_items = train
        self.settings = settings
        self.gumbel_transform = gumbel_transform
        self._user_of_each: Tensor | None = None  #: of each training interaction; filled where users are padded
        self.discriminator = Discriminator(
            num_items,
            settings.discriminator_hidden,
            settings.discriminator_dropout,
            settings.discriminator_init,
            settings.embedding_dim if settings.discriminator_input == "row-and-user" else None,
            settings.discriminator_norm,
        )

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam for the discriminator, with the moments that WGAN-GP uses."""
        parameters = self.discriminator.parameters()
        return Adam(parameters, lr=self.settings.discriminator_lr, betas=(0.5, 0.9), fused=True)

    def discriminator_step(
        self, optimizer: torch.optim.Optimizer, rows: BatchRows, generated: list[Factors], final: Factors
    ) -> dict[str, Tensor]:
        """Algorithm 1: update the discriminator on the rows of a batch; nothing flows back to the generator.

        Args:
            generated: normalised features (f_u of the batch's users [B, d], f_i [I, d]) for each modality (Eq. 3).
            final: normalised final embeddings (h_u of these users [B, d], h_i [I, d]) for Eq. 5.

        Returns:
            Detached scalars: the objective, and the gap D(observed) - D(generated).
        """
        generated = [(u.detach(), i.detach()) for u, i in generated]
        final = (final[0].detach(), final[1].detach())
        transformed = self.transformed_rows(rows)
        for _ in range(self.settings.discriminator_steps):
            objective, gap = self.objective(rows, transformed, generated, final)
            optimizer.zero_grad(set_to_none=True)
            objective.backward()
            average_gradients(self.discriminator.parameters())
            optimizer.step()
        return {"discriminator": objective.detach(), "discriminator gap": gap.detach()}

    def objective(
        self, rows: BatchRows, transformed: Tensor | None, generated: list[Factors], final: Factors
    ) -> tuple[Tensor, Tensor]:
        """Eq. 7 for the discriminator: D(generated) - D(observed) + lambda_1 x penalty, and the gap of Eq. 6.

        ``transformed`` is what ``transformed_rows`` makes of these rows; all else is as in ``discriminator_step``.
        """
        d = self.discriminator
        real = self.first_layer_of_real(rows, transformed, final)
        fakes = [self.first_layer_of_generated(rows, factors) for factors in generated]
        # One pass over all rows: batch statistics of their own would hide how observed and generated rows differ.
        blocks = 1 + len(fakes)
        users = rows.local(final[0])
        outputs = d(torch.cat([real, *fakes]), rows.repeat(blocks), users.repeat(blocks, 1))
        observed, *others = map(rows.mean, outputs.chunk(blocks))
        gap = observed - torch.stack(others).mean()
        if not self.settings.gradient_penalty:
            return -gap, gap
        # The first layer is linear: that of an interpolated row is the interpolation of the first layers.
        shares = map(rows.local, torch.rand(len(fakes), len(rows), 1, device=real.device))
        mixed = torch.cat([share * real + (1 - share) * fake for share, fake in zip(shares, fakes, strict=True)])
        penalty = d.gradient_penalty(mixed, rows.repeat(len(fakes)), users.repeat(len(fakes), 1))
        return -gap + self.settings.gradient_penalty * penalty, gap

    def generator_loss(self, rows: BatchRows, generated: list[Factors], final: Factors | None = None) -> Tensor:
        """Eq. 7 for the generator: -D(generated), averaged over rows and modalities; D itself is held fixed.

        ``final`` is as in ``discriminator_step``, for a discriminator that knows the user; it gets no gradient.
        """
        d = self.discriminator
        training = d.training
        d.eval()
        d.requires_grad_(False)
        users = None if final is None else rows.local(final[0].detach()).repeat(len(generated), 1)
        outputs = d(torch.cat([self.first_layer_of_generated(rows, factors) for factors in generated]), users=users)
        d.requires_grad_(True)
        d.train(training)
        return -rows.repeat(len(generated)).mean(outputs)

    @torch.no_grad()
    def transformed_rows(self, rows: BatchRows) -> Tensor | None:
        """Eq. 5, first term: Gumbel softmax of the observed rows, dense [n, I]; None without the transform (w/o-GT).

        Of several processes each draws for all the users and makes the rows of its part of them.
        """
        if not self.gumbel_transform:
            return None
        noise = rows.local(torch.rand(self._block_shape(rows), device=rows.users.device))
        # In place, since this is the one dense block of a step: (A + scale * g) / tau.
        scale = self.settings.gumbel_scale / self.settings.gumbel_temperature
        # A uniform number may be 0 and its g infinite: one item fewer, but not a number where the scale is 0.
        _ = noise.log_().neg_().log_().mul_(-scale) if scale else noise.zero_()
        powers = self._add_observed(noise, rows, 1 / self.settings.gumbel_temperature)
        return torch.softmax(powers, dim=1, out=powers)

    def first_layer_of_generated(self, rows: BatchRows, factors: Factors) -> Tensor:
        """First-layer outputs [n, hidden] of generated rows (Eq. 3), scaled as ``row_scaling`` says."""
        left, right = rows.local(factors[0]), factors[1]
        first = self.discriminator.first_layer_lowrank(left, right)
        return first / lowrank_norms(left, right) if self.settings.row_scaling == "l2" else first

    def first_layer_of_real(self, rows: BatchRows, transformed: Tensor | None, final: Factors) -> Tensor:
        """First-layer outputs [n, hidden] of the rows of Eq. 5, scaled as ``row_scaling`` says.

        The first term is ``transformed``, or the observed rows (w/o-GT); the second is zeta x the cosines of ``final``.
        """
        d, zeta, (left, right) = self.discriminator, self.settings.zeta, (rows.local(final[0]), final[1])
        if transformed is None and rows.mask is not None:
            transformed = self._add_observed(torch.zeros(self._block_shape(rows), device=rows.users.device), rows, 1)
        if transformed is None:
            chosen = self.train_items.select(rows.local(rows.users))
            first = d.first_layer_sparse(chosen.row_of_each(), chosen.indices, chosen.num_rows)
        else:
            first = d.first_layer_dense(transformed)
        first = first + zeta * d.first_layer_lowrank(left, right)
        if self.settings.row_scaling == "none":
            return first
        return first / self.norms_of_real(rows, transformed, final)[1]

    def norms_of_real(self, rows: BatchRows, transformed: Tensor | None, final: Factors) -> tuple[Tensor, Tensor]:
        """Lengths [n, 1] of the first term of Eq. 5 and of the whole rows; the arguments of ``first_layer_of_real``."""
        left, right = rows.local(final[0]), final[1]
        if transformed is None:
            chosen = self.train_items.select(rows.local(rows.users))
            across = torch.zeros_like(left).index_add(0, chosen.row_of_each(), right[chosen.indices])
            squares = chosen.degrees().to(left.dtype)
        else:
            across, squares = transformed @ right, transformed.square().sum(dim=1)
        whole = real_norms(squares, across, left, right, self.settings.zeta)
        return squares.sqrt().unsqueeze(1), whole

    def _block_shape(self, rows: BatchRows) -> tuple[int, int]:
        """Shape of a dense block; where users are padded, a spare row takes the interactions of all other users."""
        return len(rows) + (rows.mask is not None), self.discriminator.first.in_features

    def _add_observed(self, block: Tensor, rows: BatchRows, value: float) -> Tensor:
        """Add ``value`` in place to the training interactions of this process's part of the users; [n, I]."""
        if rows.mask is None:
            chosen = self.train_items.select(rows.local(rows.users))
            row_of_each, items = chosen.row_of_each(), chosen.indices
        else:  # as many entries in each step, those of all users
            if self._user_of_each is None:
                self._user_of_each = self.train_items.row_of_each()
            num_users, count = self.train_items.num_rows, len(rows)
            row_of = rows.users.new_full((num_users + 1,), count)
            row_of[torch.where(rows.mask, rows.users, num_users)] = torch.arange(count, device=row_of.device)
            row_of_each, items = row_of[self._user_of_each], self.train_items.indices
        block.view(-1)[row_of_each * block.shape[1] + items] += value
        return block if rows.mask is None else block[:-1]


def low_rank_factors(users: Tensor, pairs: list[Factors]) -> list[Factors]:
    """Eq. 3: factors ([B, d], [I, d]) of the rows of cosines of ``users`` (int64 [B]), from pairs ([U, d], [I, d])."""
    return [(normalize(u[users], dim=1), normalize(i, dim=1)) for u, i in pairs]


def lowrank_norms(left: Tensor, right: Tensor) -> Tensor:
    """Lengths [n, 1] of the rows left @ right.T, of [n, d] and [I, d], from the d x d matrix right.T @ right."""
    return torch.sqrt(((left @ (right.T @ right)) * left).sum(dim=1, keepdim=True) + 1e-12)


def real_norms(squares: Tensor, across: Tensor, left: Tensor, right: Tensor, zeta: float) -> Tensor:
    """Lengths [n, 1] of rows t + zeta x left @ right.T, from the squared lengths of t, [n], and t @ right, [n, d]."""
    of_product = lowrank_norms(left, right).squeeze(1).square()
    total = squares + 2 * zeta * (across * left).sum(dim=1) + zeta**2 * of_product
    return total.clamp(min=1e-12).sqrt().unsqueeze(1)
