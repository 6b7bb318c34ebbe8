"""Processor seconds of a training step and of an evaluation: one process, and each of several that share it out.

The processes use gloo and one thread each, on this machine, as `mmssl train --distributed` on the CPU does. The time
is processor time, so that waiting for each other does not count. A factor is that of one process divided by the mean
of the others: with N processes, N at the most.

Example: python -m benchmarks.bench_processes --data data/tiktok --models mmssl,lightgcn --batch-sizes 1024,4096
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.command import Report, add_numbers, parser_for, run
from benchmarks.workload import DATA_HELP, batches, settings_of, training_loop
from mmssl_cli.training.epochs import evaluate_on_test

#: What a process measured: processor seconds of each step, and of the evaluation.
Measured = dict[str, np.ndarray]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__)
    parser.add_argument("--data", type=Path, help=DATA_HELP)
    parser.add_argument("--models", default="mmssl,lightgcn", help="comma-separated; default mmssl,lightgcn")
    parser.add_argument("--batch-sizes", default="1024,4096", help="comma-separated; default 1024,4096")
    add_numbers(parser, processes=2, steps=5)
    run(parser, arguments, measure)


def measure(options: argparse.Namespace) -> Report:
    """Return the seconds of one process and of each of several, for every model and batch size."""
    models, sizes = options.models.split(","), [int(size) for size in options.batch_sizes.split(",")]
    for model in models:  # before anything is measured
        settings_of(model, "cpu")
    results = []
    for model in models:
        for size in sizes:
            [alone], shared = (_measured(count, model, size, options) for count in (1, options.processes))
            for what, seconds in alone.items():
                one, each = float(np.median(seconds)), float(np.median(np.mean([part[what] for part in shared], 0)))
                row = {"model": model, "batch": size, "what": what, "one": one, "each": each, "factor": one / each}
                results.append(row)
    return {"processes": options.processes, "results": results}


def _measured(count: int, model: str, size: int, options: argparse.Namespace) -> list[Measured]:
    """Return the measurements of each of ``count`` processes."""
    with tempfile.TemporaryDirectory() as folder:
        given = (count, folder, model, size, options.data and options.data.absolute(), options.steps)
        mp.spawn(_take_part, given, count)
        return [dict(np.load(Path(folder) / f"{rank}.npz", allow_pickle=False)) for rank in range(count)]


def _take_part(rank: int, count: int, folder: str, model: str, size: int, data: Path | None, steps: int) -> None:
    torch.set_num_threads(1)
    if count > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count)
    loop = training_loop(data, model, "cpu", batch_size=size)
    loop.model.train()
    loop.model.begin_epoch(1)
    taken: dict[str, list[float]] = {"step": [], "evaluation": []}
    for batch in batches(loop, steps + 1):
        taken["step"].append(_seconds(partial(loop._step, batch)))
    for _ in range(3):
        taken["evaluation"].append(_seconds(partial(evaluate_on_test, loop)))
    measured = {what: np.array(seconds[1:]) for what, seconds in taken.items()}  # the first are for warm-up
    np.savez(Path(folder) / f"{rank}.npz", **measured)  # type: ignore[arg-type]
    if count > 1:
        dist.destroy_process_group()


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
