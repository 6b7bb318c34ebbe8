"""A training step shared out among processes (`mmssl train --distributed`); alone, nothing here changes anything.

Every process holds the whole model and goes through the same global batch with the same random numbers. A loss that
is a mean over rows takes the process's own rows, weighted such that the mean over the processes is the whole loss. A
term that is not shared out is computed by all alike, and is its own mean. So the mean of the processes' gradients is
the gradient of the whole loss, for any model; and the others' negatives need no gathering, for all have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pipelines.errors import MmsslError

Value = TypeVar("Value")


class LostError(MmsslError):
    """Another process of the training has ended."""


def world_size() -> int:
    """How many processes train the model together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_rank_zero() -> bool:
    """Whether this is the process that evaluates, writes and speaks."""
    return not dist.is_initialized() or dist.get_rank() == 0


def local_slice(count: int) -> slice:
    """This process's part of ``count`` rows; the parts follow each other and differ by one row at most."""
    if not dist.is_initialized():
        return slice(0, count)
    rank, size = dist.get_rank(), dist.get_world_size()
    return slice(count * rank // size, count * (rank + 1) // size)


def local_rows(rows: Tensor) -> Tensor:
    """This process's part of rows [n, ...]."""
    return rows if world_size() == 1 else rows[local_slice(len(rows))]


def local_rows_of_blocks(rows: Tensor, blocks: int) -> Tensor:
    """This process's part of each of several blocks of the same number of rows, [blocks x n, ...]."""
    if world_size() == 1:
        return rows
    return torch.cat([local_rows(block) for block in rows.chunk(blocks)])


def sharded_mean(values: Tensor, count: int) -> Tensor:
    """A number whose mean over the processes is that of all ``count`` values, of which each has its part [own]."""
    size = world_size()
    return values.mean() if size == 1 else values.sum() * (size / count)


def all_reduce_sum(values: Tensor) -> Tensor:
    """The sum over the processes, and in the backward pass that of the gradients.

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
    with _in_touch():
        dist.all_reduce(values)
    return values


def all_reduce_mean(values: Tensor) -> Tensor:
    """The mean over the processes, without gradient.

    Raises:
        LostError: another process has ended.
    """
    size = world_size()
    return values if size == 1 else _summed(values.detach()).div_(size)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Give every process the mean of the processes' gradients.

    Raises:
        LostError: another process has ended.
    """
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    with _in_touch():
        for work in [dist.all_reduce(gradient, async_op=True) for gradient in gradients]:
            work.wait()
    torch._foreach_div_(gradients, world_size())


def broadcast_tensors(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of the leading process.

    Raises:
        LostError: another process has ended.
    """
    if world_size() == 1:
        return
    with _in_touch():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def broadcast(value: Value) -> Value:
    """What the leading process gives, on every process; the others' values count for nothing.

    Raises:
        LostError: another process has ended.
    """
    if world_size() == 1:
        return value
    values = [value]
    with _in_touch():
        dist.broadcast_object_list(values, 0)
    return values[0]


def all_gather(value: Value) -> list[Value]:
    """What each process gives, on every process.

    Raises:
        LostError: another process has ended.
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with _in_touch():
        dist.all_gather_object(values, value)
    return values


@contextmanager
def _in_touch() -> Iterator[None]:
    try:
        yield
    except RuntimeError as problem:  # of gloo and of NCCL, with no class of their own for this
        raise LostError("Another process of this training ended too early.") from problem
