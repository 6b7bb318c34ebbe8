"""Layers that depend on all rows of a batch, where a process has a part of the rows alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from mmssl_cli.sharing import own_of_blocks, total


def shared_layers(layers: nn.Sequential, rows: Tensor, blocks: int, count: int) -> Tensor:
    """What the layers make of this process's rows, as if they were among all the others'.

    Args:
        rows: this process's part of each of several blocks of rows, [n, width].
        blocks: how many blocks.
        count: rows of a block over all the processes.
    """
    for layer in layers:
        if isinstance(layer, nn.BatchNorm1d) and layer.training:
            rows = _batch_norm(layer, rows, blocks * count)
        elif isinstance(layer, nn.Dropout) and layer.training:
            # Every process draws for all the rows, as one alone would, and takes what falls to its own.
            kept = dropout(rows.new_ones(blocks * count, rows.shape[1]), layer.p)
            rows = rows * own_of_blocks(kept, blocks)
        else:
            rows = layer(rows)
    return rows


def _batch_norm(layer: nn.BatchNorm1d, rows: Tensor, count: int) -> Tensor:
    """``layer`` in training, with the mean and the variance of ``count`` rows over all the processes."""
    values = rows.float()
    mean = total(values.sum(dim=0)) / count
    centred = values - mean
    variance = total(centred.square().sum(dim=0)) / count
    _follow(layer, mean.detach(), variance.detach() * (count / (count - 1)))
    return (centred * (layer.weight * torch.rsqrt(variance + layer.eps)) + layer.bias).to(rows.dtype)


@torch.no_grad()
def _follow(layer: nn.BatchNorm1d, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics towards a batch's mean and unbiased variance, as the layer itself does."""
    assert layer.running_mean is not None and layer.running_var is not None
    assert layer.num_batches_tracked is not None and layer.momentum is not None
    layer.num_batches_tracked.add_(1)
    layer.running_mean.lerp_(mean, layer.momentum)
    layer.running_var.lerp_(variance, layer.momentum)
