"""Collectives of data-parallel training (`mmssl train --distributed`); with one process they do nothing.

Every process holds the whole model and goes through the same global batch with the same random numbers. A loss that
is a mean over rows takes the local rows, weighted such that the mean over the processes is the whole loss. A term
that is not sharded is the same in all processes, and so its own mean. So the mean of the processes' gradients is the
gradient of the whole loss, for any model, and negatives need no gathering: every process has the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from mmssl_cli.distributed.torchrun import LostError

Value = TypeVar("Value")


def world_size() -> int:
    """Return the number of processes that train the model together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_rank_zero() -> bool:
    """Return True in the process that writes and reports."""
    return not dist.is_initialized() or dist.get_rank() == 0


def local_slice(count: int) -> slice:
    """Return this process's part of ``count`` rows; the parts are contiguous and differ by one row at most."""
    if not dist.is_initialized():
        return slice(0, count)
    rank, size = dist.get_rank(), dist.get_world_size()
    return slice(count * rank // size, count * (rank + 1) // size)


def local_rows(rows: Tensor) -> Tensor:
    """Return this process's part of rows [n, ...]."""
    return rows if world_size() == 1 else rows[local_slice(len(rows))]


def sharded_mean(values: Tensor, count: int) -> Tensor:
    """Return this process's term of the mean of ``count`` values, from its part of them [n].

    The mean of the terms over the processes is the mean of the values.
    """
    size = world_size()
    return values.mean() if size == 1 else values.sum() * (size / count)


def all_reduce_sum(values: Tensor) -> Tensor:
    """Sum over the processes, in the backward pass as well.

    Raises:
        LostError: another process has ended.
    """
    return values if world_size() == 1 else _Total.apply(values)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    with _lost_peer_as_error():
        dist.all_reduce(values)
    return values


def gather_rows(own: Tensor, count: int) -> Tensor:
    """Return all ``count`` rows [count, ...] from each process's part, that of ``local_rows``, without gradient.

    Raises:
        LostError: another process has ended.
    """
    if world_size() == 1:
        return own
    rows = own.new_zeros((count, *own.shape[1:]))
    rows[local_slice(count)] = own
    return _summed(rows)


def all_reduce_mean(values: Tensor) -> Tensor:
    """Average over the processes, without gradient.

    Raises:
        LostError: another process has ended.
    """
    size = world_size()
    return values if size == 1 else _summed(values.detach()).div_(size)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace the gradients of parameters by their mean over the processes.

    Raises:
        LostError: another process has ended.
    """
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    with _lost_peer_as_error():
        for work in [dist.all_reduce(gradient, async_op=True) for gradient in gradients]:
            work.wait()
    torch._foreach_div_(gradients, world_size())


def broadcast_tensors(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of rank 0.

    Raises:
        LostError: another process has ended.
    """
    if world_size() == 1:
        return
    with _lost_peer_as_error():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def broadcast(value: Value) -> Value:
    """Return the value of rank 0; those of the other processes are ignored.

    Raises:
        LostError: another process has ended.
    """
    if world_size() == 1:
        return value
    values = [value]
    with _lost_peer_as_error():
        dist.broadcast_object_list(values, 0)
    return values[0]


def all_gather(value: Value) -> list[Value]:
    """Return the values of all processes, by rank.

    Raises:
        LostError: another process has ended.
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with _lost_peer_as_error():
        dist.all_gather_object(values, value)
    return values


@contextmanager
def _lost_peer_as_error() -> Iterator[None]:
    try:
        yield
    except RuntimeError as problem:  # of gloo and of NCCL, with no class of their own for this
        raise LostError("Another process of this training ended too early.") from problem
