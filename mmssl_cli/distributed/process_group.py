"""The process group of a distributed training: initialise it, share errors, compare settings, destroy it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from mmssl_cli.distributed.collectives import all_gather, is_rank_zero, world_size
from pipelines.errors import MmsslError, UsageError

#: Longest wait for the other processes, mostly while rank 0 fits a model or writes; one that died is noticed at once.
PATIENCE = timedelta(hours=2)


class ReportedByRankZero(MmsslError):
    """Rank 0 reports what went wrong; this rank has nothing to add."""


def init_process_group() -> None:
    """Join the process group of the processes that torchrun started."""
    both = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if both else "gloo", timeout=PATIENCE)


def destroy_process_group() -> None:
    """Leave the process group."""
    dist.destroy_process_group()


@contextmanager
def fail_together() -> Iterator[None]:
    """A block that fails on all processes if it fails on one; rank 0 reports the problem.

    Raises:
        MmsslError: on rank 0, its own problem, else the first of the others'.
        ReportedByRankZero: on the others.
    """
    if world_size() == 1:
        yield
        return
    problem: Exception | None = None
    try:
        yield
    except (MmsslError, OSError) as found:
        problem = found
    sentences = all_gather(str(problem) if problem else None)
    if not any(sentences):
        return
    if not is_rank_zero():
        raise ReportedByRankZero("Rank 0 reports what went wrong.")
    if problem:
        raise problem
    number, sentence = next((number, sentence) for number, sentence in enumerate(sentences) if sentence)
    raise MmsslError(f"Process {number} of {world_size()}: {sentence}")


def check_same(settings: Mapping[str, Any], identity: Mapping[str, str], device: torch.device) -> None:
    """Refuse processes with different settings or data, or GPUs of different kinds, which draw different numbers.

    Args:
        settings: by name, as JSON can hold them.
        identity: the digests of the data set.

    Raises:
        UsageError: settings, data set, kind of device or version of PyTorch are not the same on all processes.
    """
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if len(set(all_gather((json.dumps(settings), *identity.items(), kind, torch.__version__)))) > 1:
        raise UsageError(
            "The processes have different settings, data sets, GPUs or versions of PyTorch; give all of them the same."
        )
