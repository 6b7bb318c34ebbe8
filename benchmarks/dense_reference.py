"""The adversary of MMSSL written down plainly: every row whole, the penalty by automatic differentiation.

Eq. 3 to 7 with batch x items blocks throughout, on the very discriminator of the model. With the same random state
it gives the numbers of ``mmssl_cli.models.mmssl.adversarial`` up to rounding, so that the two can be timed against
each other and compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmssl_cli.models.mmssl.adversarial import AdversarialSelfAugmentation

Factors = list[tuple[Tensor, Tensor]]


class DenseAdversary:
    """Drop-in for the discriminator's step and the generator's loss of an ``AdversarialSelfAugmentation``."""

    def __init__(self, adversary: AdversarialSelfAugmentation) -> None:
        self.adversary = adversary
        self.discriminator = adversary.discriminator
        self.settings = adversary.settings

    def discriminator_step(
        self, optimizer: torch.optim.Optimizer, users: Tensor, generated: Factors, final: tuple[Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """As ``AdversarialSelfAugmentation.discriminator_step``."""
        with torch.no_grad():
            fakes = [of_users @ of_items.T for of_users, of_items in generated]  # Eq. 3, [B, I]
            # Eq. 5
            real = self._transformed(self._observed(users)) + self.settings.zeta * (final[0] @ final[1].T)
        for _ in range(self.settings.discriminator_steps):
            objective, gap = self._objective(real, fakes)
            optimizer.zero_grad(set_to_none=True)
            objective.backward()
            optimizer.step()
        return {"discriminator": objective.detach(), "discriminator gap": gap.detach()}

    def generator_loss(self, generated: Factors) -> Tensor:
        """As ``AdversarialSelfAugmentation.generator_loss``."""
        d = self.discriminator
        training = d.training
        d.eval()
        d.requires_grad_(False)
        verdict = self._judge(torch.cat([of_users @ of_items.T for of_users, of_items in generated])).mean()
        d.requires_grad_(True)
        d.train(training)
        return -verdict

    def _judge(self, rows: Tensor) -> Tensor:
        """Eq. 4: D [n] of rows [n, I]."""
        return self.discriminator.rest(self.discriminator.first(rows)).squeeze(1)

    def _observed(self, users: Tensor) -> Tensor:
        chosen = self.adversary.train_items.select(users)
        rows = torch.zeros(len(users), self.discriminator.first.in_features)
        rows[chosen.row_of_each(), chosen.indices] = 1
        return rows

    def _transformed(self, rows: Tensor) -> Tensor:
        """Eq. 5, first term."""
        if not self.settings.gumbel_transform:
            return rows
        noise = -torch.log(-torch.log(torch.rand(rows.shape)))
        return torch.softmax((rows + self.settings.gumbel_scale * noise) / self.settings.gumbel_temperature, dim=1)

    def _objective(self, real: Tensor, fakes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Eq. 7."""
        verdicts = self._judge(torch.cat([real, *fakes])).split(len(real))
        gap = verdicts[0].mean() - torch.stack([verdict.mean() for verdict in verdicts[1:]]).mean()
        if not self.settings.gradient_penalty:
            return -gap, gap
        share = torch.rand(len(fakes), len(real), 1)
        mixed = torch.cat([s * real + (1 - s) * fake for s, fake in zip(share, fakes, strict=True)])
        mixed.requires_grad_()
        self.discriminator.eval()
        (slope,) = torch.autograd.grad(self._judge(mixed).sum(), mixed, create_graph=True)
        self.discriminator.train()
        penalty = (torch.sqrt(slope.square().sum(dim=1) + 1e-12) - 1).square().mean()
        return -gap + self.settings.gradient_penalty * penalty, gap
