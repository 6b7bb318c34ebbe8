"""Seconds and peak memory of an epoch of each model, on the same data in the same batches.

Each model has a process of its own and trains with its settings for TikTok, or the defaults if there are none. The
models take turns, one epoch each, so that other load on the machine falls on all; the first epoch, for warm-up, is not
counted. An epoch is everything before validation, with what a model refreshes at its start.

Example: python -m benchmarks.bench_models --batch-size 2048 --threads 1
Example: python -m benchmarks.bench_models --random large --models sgl,ncl --batch-size 2048 --threads 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import Report, add_numbers, child, parser_for, run
from benchmarks.timing import quartiles
from benchmarks.workload import DATA_HELP, RANDOM, RANDOM_HELP, settings_of, sizes_of, training_loop
from mmssl_cli.config import SETTINGS
from mmssl_cli.training.device import peak_memory
from mmssl_cli.training.loop import TrainingLoop

#: The model of this process, between its epochs.
_loops: dict[str, TrainingLoop] = {}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__, "threads", "device")
    parser.add_argument("--data", type=Path, help=DATA_HELP)
    parser.add_argument("--random", choices=RANDOM, help=RANDOM_HELP)
    parser.add_argument("--models", default="all", help="comma-separated, or all that train in batches (the default)")
    add_numbers(parser, batch_size=2048, epochs=3)
    run(parser, arguments, measure)


def measure(options: argparse.Namespace) -> Report:
    """Return wall and processor seconds per epoch and peak memory of each model."""
    trained = [model for model, settings in SETTINGS.items() if "batch_size" in settings.model_fields]
    models = trained if options.models == "all" else options.models.split(",")
    for model in models:  # before anything is measured
        settings_of(model, options.device, batch_size=options.batch_size)
    taken: dict[str, list[tuple[float, float]]] = {model: [] for model in models}
    with ExitStack() as stack:
        processes = {model: stack.enter_context(child(options.threads)) for model in models}
        about = {model: process.submit(_begin, model, options).result() for model, process in processes.items()}
        for _ in range(options.epochs + 1):
            for model, process in processes.items():
                taken[model].append(process.submit(_epoch).result())
        memory = {model: process.submit(_memory).result() for model, process in processes.items()}
    results = []
    for model, epochs in taken.items():
        wall, cpu = np.array(epochs[1:]).T
        results.append(
            {
                "model": model,
                "seconds": quartiles(wall),
                "processor_seconds": quartiles(cpu),
                "peak_memory_bytes": memory[model],
                "modalities": about[model]["sizes"].pop("modalities"),
            }
        )
    return {**about[models[0]], "results": results}


def _begin(model: str, options: argparse.Namespace) -> dict[str, Any]:
    size = options.batch_size
    loop = _loops["model"] = training_loop(options.data, model, options.device, size=options.random, batch_size=size)
    return {"data": loop.data.name, "sizes": sizes_of(loop)}


def _epoch() -> tuple[float, float]:
    """Wall and processor seconds of the next epoch."""
    before = time.process_time()
    record = _loops["model"].run_epoch()
    return record["train_seconds"], time.process_time() - before


def _memory() -> int:
    return peak_memory(_loops["model"].device)


if __name__ == "__main__":
    main()
