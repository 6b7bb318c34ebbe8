"""Layers that depend on all rows of a batch, where a process has a part of the rows or some rows count for nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from mmssl_cli.distributed.collectives import all_reduce_sum, local_rows_of_blocks, sharded_mean


def masked_mean(values: Tensor, count: int, mask: Tensor | None) -> Tensor:
    """The mean of this process's part [n] of ``count`` values; with a mask, bool [n], that of those it keeps."""
    return sharded_mean(values, count) if mask is None else (values * mask).sum() / mask.sum()


def shared_layers(layers: nn.Sequential, rows: Tensor, blocks: int, count: int) -> Tensor:
    """What the layers make of this process's rows, as if they were among all the others'.

    Args:
        rows: this process's part of each of several blocks of rows, [n, width].
        blocks: how many blocks.
        count: rows of a block over all the processes.
    """
    for layer in layers:
        if isinstance(layer, nn.BatchNorm1d) and layer.training:
            rows = _batch_norm(layer, rows, None, rows.new_full((), blocks * count, dtype=torch.float32))
        elif isinstance(layer, nn.Dropout) and layer.training:
            # Every process draws for all the rows, as one alone would, and takes what falls to its own.
            kept = dropout(rows.new_ones(blocks * count, rows.shape[1]), layer.p)
            rows = rows * local_rows_of_blocks(kept, blocks)
        else:
            rows = layer(rows)
    return rows


def masked_layers(layers: nn.Sequential, rows: Tensor, mask: Tensor) -> Tensor:
    """What the layers make of the rows [n, width] that count, as if the others were not there; mask: bool [n]."""
    weights = mask.float()
    for layer in layers:
        if isinstance(layer, nn.BatchNorm1d) and layer.training:
            rows = _batch_norm(layer, rows, weights.unsqueeze(1), weights.sum())
        else:
            rows = layer(rows)
    return rows


def _batch_norm(layer: nn.BatchNorm1d, rows: Tensor, weights: Tensor | None, count: Tensor) -> Tensor:
    """``layer`` in training, with the mean and the variance of ``count`` rows over all the processes."""

    def mean_of(values: Tensor) -> Tensor:
        return all_reduce_sum((values if weights is None else values * weights).sum(dim=0)) / count

    values = rows.float()
    mean = mean_of(values)
    centred = values - mean
    variance = mean_of(centred.square())
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
