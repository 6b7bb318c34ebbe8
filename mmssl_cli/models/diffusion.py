"""Gaussian diffusion of users' rows of interactions (Wang et al., Diffusion Recommender Model, SIGIR 2023)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from mmssl_cli.models.dropout import dropout
from mmssl_cli.sparse.csr import CSR

#: Variance of the noise of the first step, whatever the schedule.
FIRST_BETA = 1e-4


class Schedule:
    """Coefficients of the steps, float32 [T] each, of a linear schedule of variances.

    Attributes:
        signal, noise: factors on a row and on the noise of its noisy version, sqrt(a_t) and sqrt(1 - a_t).
        weights: of the loss, SNR(t - 1) - SNR(t), and 1 at step 0.
        of_output, of_input: factors of the reverse step's mean, on the denoised row and on the noisy one.
    """

    def __init__(self, steps: int, scale: float, least: float, most: float, device: torch.device) -> None:
        kept = 1 - torch.linspace(scale * least, scale * most, steps, dtype=torch.float64)
        betas = 1 - kept / torch.cat([torch.ones(1), kept[:-1]])
        betas[0] = FIRST_BETA
        total = (1 - betas).cumprod(0)
        before = torch.cat([torch.ones(1), total[:-1]])
        ratio = total / (1 - total)
        self.steps = steps

        def of(values: Tensor) -> Tensor:
            return values.to(device, torch.float32)

        self.signal, self.noise = of(total.sqrt()), of((1 - total).sqrt())
        self.weights = of(torch.cat([torch.ones(1), ratio[:-1] - ratio[1:]]))
        self.of_output = of(betas * before.sqrt() / (1 - total))
        self.of_input = of((1 - before) * (1 - betas).sqrt() / (1 - total))


class Denoiser(nn.Module):
    """A network with one hidden layer from noisy rows [n, I] and their steps to the rows themselves."""

    def __init__(self, items: int, hidden: int, time_dim: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.time = nn.Linear(time_dim, time_dim)
        self.from_items, self.from_time = nn.Linear(items, hidden), nn.Linear(time_dim, hidden, bias=False)
        self.out = nn.Linear(hidden, items)
        for layer in (self.time, self.from_items, self.from_time, self.out):
            # From rows and time at once, as one layer.
            extra = {self.from_items: time_dim, self.from_time: items}.get(layer, 0)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (sum(layer.weight.shape) + extra)))
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=1e-3)

    def forward(self, rows: Tensor, steps: Tensor) -> Tensor:
        """Return the hidden layer [n, hidden] of noisy rows [n, I] at ``steps``, int64 [n]; ``out`` denoises it."""
        return torch.tanh(self.from_items(dropout(rows, self.share, self.training)) + self.of_time(steps))

    def of_time(self, steps: Tensor) -> Tensor:
        """Return the steps' part of the hidden layer, [n, hidden]."""
        half = self.time.in_features // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half, device=steps.device) / half)
        angles = steps.unsqueeze(1) * rates
        waves = torch.cat([angles.cos(), angles.sin()], dim=1)
        of: Tensor = self.from_time(self.time(nn.functional.pad(waves, (0, self.time.in_features - 2 * half))))
        return of

    @torch.no_grad()
    def denoised(self, hidden: Tensor, schedule: Schedule, passes: Tensor) -> Tensor:
        """Return rows [n, I] after all reverse steps, without noise and dropout, from rows that ``hidden`` stands for.

        A reverse step is linear in the noisy row x, of which only W x [n, hidden] is needed until the last step, whose
        mean is the denoised row alone: no step but the last makes rows.

        Args:
            hidden: W x of the given rows, without the bias; W of ``from_items``.
            passes: W V, V of ``out``, [hidden, hidden] (see ``passes``).
        """
        shift = self.from_items.weight @ self.out.bias
        for step in reversed(range(schedule.steps)):
            at = self.of_time(torch.tensor([step], device=hidden.device)) + self.from_items.bias
            state = torch.tanh(hidden + at)
            hidden = schedule.of_output[step] * (state @ passes.T + shift) + schedule.of_input[step] * hidden
        rows: Tensor = self.out(state)
        return rows

    @torch.no_grad()
    def passes(self) -> Tensor:
        """Return W V, the way from the hidden layer to itself through a row, [hidden, hidden]."""
        return self.from_items.weight @ self.out.weight


def restoration_errors(hidden: Tensor, out: nn.Linear, rows: CSR) -> Tensor:
    """Return the squared distances [n] of ``out(hidden)``, of [n, hidden], from 0/1 ``rows``, without making rows.

    With V and b of ``out``: h V^T V h + 2 h V^T b + b^T b - 2 (h V^T + b) r + r^T r, products with a matrix as wide
    as the hidden layer, and sums over the few entries of r, in place of n x I numbers forwards and backwards.
    """
    errors: Tensor = _RestorationErrors.apply(hidden, out.weight, out.bias, rows)
    return errors


class _RestorationErrors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, rows: CSR) -> Tensor:
        of_rows = embedding_bag(rows.indices, weight, rows.indptr[:-1], mode="sum")
        constant = bias @ weight - of_rows
        slopes = hidden @ (weight.T @ weight) + constant
        own = bias.square().sum() + rows.degrees() - 2 * _sums(bias[rows.indices], rows)
        ctx.rows = rows
        ctx.save_for_backward(hidden, weight, bias, slopes)
        return (hidden * (slopes + constant)).sum(dim=1) + own

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        hidden, weight, bias, slopes = ctx.saved_tensors
        rows, twice = ctx.rows, 2 * gradients[0]
        scaled = twice.unsqueeze(1) * hidden
        total, of_each = scaled.sum(dim=0), rows.row_of_each()
        of_items = CSR.from_pairs(torch.stack([rows.indices, of_each], dim=1), len(weight))
        of_weight = (weight @ (hidden.T @ scaled)).addr_(bias, total)
        of_weight -= embedding_bag(of_items.indices, scaled, of_items.indptr[:-1], mode="sum")
        of_bias = (weight @ total).add_(bias * twice.sum()).index_add_(0, rows.indices, twice[of_each], alpha=-1)
        return twice.unsqueeze(1) * slopes, of_weight, of_bias, None


def _sums(values: Tensor, rows: CSR) -> Tensor:
    """Return the sum of each row's ``values`` [entries], [n]."""
    return values.new_zeros(rows.num_rows).index_add_(0, rows.row_of_each(), values)
