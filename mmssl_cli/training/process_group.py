"""Several processes that train one model, started by torchrun: how they meet, agree and end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from mmssl_cli.config import TrainSettings
from mmssl_cli.distributed.collectives import all_gather, broadcast, is_rank_zero, world_size
from mmssl_cli.training.loop import DivergedError, TrainingLoop
from pipelines.errors import MmsslError, UsageError

if TYPE_CHECKING:
    from mmssl_cli.training.trainer import RunResult

#: How long a process waits for the others, above all while the leading one evaluates; a dead one is noticed at once.
PATIENCE = timedelta(hours=2)


class ToldError(MmsslError):
    """The leading process says what went wrong; this one has nothing to add."""


def join() -> None:
    """Meet the other processes that torchrun started; only then do they know of each other."""
    both = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if both else "gloo", timeout=PATIENCE)


def part() -> None:
    """Leave the others; all of them have the result of the run."""
    dist.destroy_process_group()


@contextmanager
def together() -> Iterator[None]:
    """A block in which every process does the same; a problem of one is a problem of all, said by the leading one.

    Raises:
        MmsslError: on the leading process, its own problem, else the first of the others'.
        ToldError: on the others.
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
        raise ToldError("The leading process says what went wrong.")
    if problem:
        raise problem
    number, sentence = next((number, sentence) for number, sentence in enumerate(sentences) if sentence)
    raise MmsslError(f"Process {number} of {world_size()}: {sentence}")


def check_same(settings: TrainSettings, identity: Mapping[str, str], device: torch.device) -> None:
    """Refuse processes that would train different things, or draw different numbers on GPUs of different kinds.

    Args:
        identity: the digests of the data set.

    Raises:
        UsageError: settings, data set, kind of device or version of PyTorch are not the same on all processes.
    """
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if len(set(all_gather((settings.model_dump_json(), *identity.items(), kind, torch.__version__)))) > 1:
        raise UsageError(
            "The processes have different settings, data sets, GPUs or versions of PyTorch; give all of them the same."
        )


def follow(loop: TrainingLoop) -> RunResult:
    """Train along with the leading process until it ends the run; its result.

    Raises:
        ToldError: the training diverged.
        LostError: another process has ended.
    """
    try:
        while broadcast(True):
            loop.run_epoch()
    except DivergedError as problem:
        raise ToldError(str(problem)) from problem
    result: RunResult | None = broadcast(None)
    assert result is not None
    return result
