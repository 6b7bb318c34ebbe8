"""Processes of their own for what is measured, so that the memory of one is not counted to the next.

The most memory that a process held is told by the system: what PyTorch's CPU allocator takes is invisible to Python's
``tracemalloc``, and it has no statistics of its own. A peak never goes down again within a process.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import torch


def child(threads: int) -> ProcessPoolExecutor:
    """An executor of one process; it ends with the executor.

    It is forked from a server that has imported PyTorch and computed nothing, where there are such servers: it starts
    at once, and PyTorch's threads do not survive a fork.
    """
    served = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if served else "spawn")
    if served:  # the last is what the first optimiser imports
        context.set_forkserver_preload(["benchmarks.workload", "mmssl_cli.models.mmssl.model", "torch._dynamo"])
    return ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(threads,))


def _begin(threads: int) -> None:
    if threads:
        torch.set_num_threads(threads)
