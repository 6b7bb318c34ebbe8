"""Rows of a step of which a process has a part, or of which some are padding: their means, and layers over them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from mmssl_cli.distributed.collectives import all_reduce_sum, local_rows, sharded_mean, world_size


@dataclass(frozen=True)
class BatchRows:
    """One row for each of a batch's users, in one or several blocks below each other.

    Of several processes each has its part of every block. A mean is over all the rows that count, wherever they are.

    Attributes:
        users: int64 [B].
        mask: bool [B], False for users who only pad the batch to its shape; None where all count.
        blocks: number of blocks of B rows.
    """

    users: Tensor
    mask: Tensor | None = None
    blocks: int = 1

    def __len__(self) -> int:
        """Return the number of rows in all blocks and processes, padding included."""
        return self.blocks * len(self.users)

    def repeat(self, blocks: int) -> BatchRows:
        """Return as many blocks of the same users."""
        return replace(self, blocks=blocks)

    def local(self, values: Tensor) -> Tensor:
        """Return this process's part of values [blocks x B, ...]."""
        if self.blocks == 1 or world_size() == 1:
            return local_rows(values)
        return torch.cat([local_rows(block) for block in values.chunk(self.blocks)])

    def mean(self, values: Tensor) -> Tensor:
        """Return this process's term of the mean over the rows, from its part of their values [n].

        The mean of the terms over the processes is the mean over the rows.
        """
        if self.mask is None:
            return sharded_mean(values, len(self))
        mask = self.mask.repeat(self.blocks)
        return (values * mask).sum() / mask.sum()

    def apply(self, layers: nn.Sequential, values: Tensor) -> Tensor:
        """Return what layers make of this process's part of the rows [n, width] beside all the other rows that count.

        Batch normalisation takes its statistics from all of them, and dropout is drawn for all alike.
        """
        if self.mask is None and world_size() == 1:
            return layers(values)
        for layer in layers:
            if isinstance(layer, nn.BatchNorm1d) and layer.training:
                values = self._normalised(layer, values)
            elif isinstance(layer, nn.Dropout) and layer.training:
                values = values * self.local(dropout(values.new_ones(len(self), values.shape[1]), layer.p))
            else:
                values = layer(values)
        return values

    def _normalised(self, layer: nn.BatchNorm1d, values: Tensor) -> Tensor:
        count = values.new_full((), len(self), dtype=torch.float32)
        weights: Tensor | float = 1.0
        if self.mask is not None:
            weights = self.mask.repeat(self.blocks).unsqueeze(1)
            count = weights.sum()

        def mean_of(columns: Tensor) -> Tensor:
            return all_reduce_sum((columns * weights).sum(dim=0)) / count

        exact = values.float()
        mean = mean_of(exact)
        centred = exact - mean
        variance = mean_of(centred.square())
        _follow(layer, mean.detach(), variance.detach() * (count / (count - 1)))
        return (centred * (layer.weight * torch.rsqrt(variance + layer.eps)) + layer.bias).to(values.dtype)


@torch.no_grad()
def _follow(layer: nn.BatchNorm1d, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics towards a batch's mean and unbiased variance, as the layer itself does."""
    assert layer.running_mean is not None and layer.running_var is not None
    assert layer.num_batches_tracked is not None and layer.momentum is not None
    layer.num_batches_tracked.add_(1)
    layer.running_mean.lerp_(mean, layer.momentum)
    layer.running_var.lerp_(variance, layer.momentum)
