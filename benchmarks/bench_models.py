"""How long is an epoch of each model, and how much memory does it take, on the same data in the same batches?

Each model has a process of its own and trains with its settings for TikTok, or the defaults where there are none. The
models take turns, an epoch each, so that what else the machine does falls on all; the first epoch, which warms up, is
not counted. An epoch is all that precedes validation, what a model refreshes at its start included. Seconds of other
programs can be shown beside them (`--against`): theirs over these is how many times faster these are. Where this
machine is busy, that by processor seconds says more, as long as there is one thread on either side.

Example: python -m benchmarks.bench_models --batch-size 2048 --threads 1 --against benchmarks/mmrec_tiktok.csv
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.children import child
from benchmarks.command import Report, add_numbers, columns, listed, parser_for, run, spread
from benchmarks.timing import quartiles
from benchmarks.workload import DATA_HELP, settings_of, sizes_of, training_loop
from mmssl_cli.config import SETTINGS
from mmssl_cli.training.device import peak_memory
from mmssl_cli.training.loop import TrainingLoop
from pipelines.errors import InputError

#: The model of this process, between its epochs.
_loops: dict[str, TrainingLoop] = {}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__, "threads", "device")
    parser.add_argument("--data", type=Path, help=DATA_HELP)
    parser.add_argument("--models", default="all", help="comma-separated, or all (the default)")
    parser.add_argument("--against", type=Path, metavar="FILE", help="CSV of model, seconds, source to print beside")
    add_numbers(parser, batch_size=2048, epochs=3)
    run(parser, arguments, measure, _table)


def measure(options: argparse.Namespace) -> Report:
    """Seconds an epoch, wall and processor, and peak memory of each model, and the ratio to what is given beside."""
    models = list(SETTINGS) if options.models == "all" else options.models.split(",")
    for model in models:  # before anything is measured
        settings_of(model, options.device, batch_size=options.batch_size)
    others = read_others(options.against) if options.against else {}
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
        result = {
            "model": model,
            "seconds": quartiles(wall),
            "cpu_seconds": quartiles(cpu),
            "peak_memory_bytes": memory[model],
            "modalities": about[model].pop("modalities"),
        }
        if model in others:
            theirs = others[model]["seconds"]
            result |= {
                "against": others[model],
                "ratio": quartiles(theirs / wall),
                "cpu_ratio": quartiles(theirs / cpu),
            }
        results.append(result)
    return {**about[models[0]], "results": results}


def read_others(path: Path) -> dict[str, dict[str, Any]]:
    """Model, in small letters -> its seconds an epoch elsewhere and where they come from.

    Raises:
        InputError: no such file, or not of that form.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found = {row["model"].lower(): {"seconds": float(row["seconds"]), "source": row["source"]} for row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(
            f"{path} holds nothing to compare with ({problem}); expected a CSV file of model, seconds and source."
        ) from problem
    return found


def _begin(model: str, options: argparse.Namespace) -> dict[str, Any]:
    loop = training_loop(options.data, model, options.device, batch_size=options.batch_size)
    _loops["model"] = loop
    sizes = sizes_of(loop)
    return {"data": loop.data.name, "modalities": sizes.pop("modalities"), "sizes": sizes}


def _epoch() -> tuple[float, float]:
    """Wall and processor seconds of the next epoch."""
    before = time.process_time()
    record = _loops["model"].run_epoch()
    return record["train_seconds"], time.process_time() - before


def _memory() -> int:
    return peak_memory(_loops["model"].device)


def _table(report: Report) -> str:
    lines = [f"{report['data']}: {listed(report['sizes'])}", ""]
    beside = any("against" in result for result in report["results"])
    head = ["model", "seconds an epoch", "processor seconds", "peak memory, GB"]
    head += ["beside", "times", "by processor"] if beside else []
    rows = []
    for result in report["results"]:
        row = [result["model"], spread(result["seconds"]), spread(result["cpu_seconds"])]
        row.append(f"{result['peak_memory_bytes'] / 1e9:.2f}")
        if beside:
            known = "against" in result
            ratios = [spread(result[ratio], 2) for ratio in ("ratio", "cpu_ratio")] if known else [""] * 2
            row += [f"{result['against']['seconds']:g}" if known else "", *ratios]
        rows.append(row)
    lines.append(columns(head, rows))
    sources = {result["against"]["source"] for result in report["results"] if "against" in result}
    return "\n".join([*lines, *(f"beside: {source}" for source in sorted(sources))])


if __name__ == "__main__":
    main()
