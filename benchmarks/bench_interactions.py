"""Speed of reading interactions, folding repeats, finding the 5-core and splitting, beside a bare sort of the pairs.

The sort (``numpy.sort`` of one int64 a pair), the reading of the same interactions with their times from a CSV file
that lies in the cache, and every split are timed in turn, repeat by repeat, so that what else
the machine does falls on all alike; a ratio is that of one repeat, and its median and quartiles are shown. Users and
items are drawn with long tails, so that pairs repeat and the core takes something away. Peak memory is the whole
process's, the raw interactions and Python's libraries included.

Example: python -m benchmarks.bench_interactions --users 1000000 --items 200000 --interactions 20000000 --repeats 1
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch

from benchmarks.command import Report, add_numbers, columns, listed, parser_for, run, spread
from benchmarks.timing import quartiles
from mmssl_cli.training.device import peak_memory
from pipelines.entries import DatasetEntry
from pipelines.interactions import split_interactions
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.io.reporter import Reporter
from pipelines.recipe import PrepOptions, resolve
from pipelines.sources.table import Table

SPLITS = ("ratio", "leave-one-out", "temporal", "global-time")
SORT = "bare sort of the pairs"
READ = "reading CSV"


SIZES = {"users": 100_000, "items": 20_000, "interactions": 2_000_000, "k_core": 5, "repeats": 5}
CPU = torch.device("cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__)
    add_numbers(parser, **SIZES)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), help="default: all of them")
    run(parser, arguments, measure, _table)


def measure(options: argparse.Namespace) -> Report:
    """Seconds and ratio to the bare sort (above 1: slower), the counts of each split's steps, peak memory."""
    raw = random_interactions(options.users, options.items, options.interactions)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "interactions.csv"
        _write(raw, path)
        before = peak_memory(CPU)
        timed: dict[str, Callable[[], Any]] = {SORT: partial(_sort, raw), READ: partial(_read, path)}
        for split in options.splits:
            timed[split] = partial(split_interactions, raw, k_core=options.k_core, split=split)
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        steps: dict[str, list[dict[str, Any]]] = {}
        for _ in range(options.repeats):
            for name, function in timed.items():
                started = time.perf_counter()
                result = function()
                seconds[name].append(time.perf_counter() - started)
                if name in options.splits:
                    steps[name] = [vars(step) for step in result.steps]
        size = path.stat().st_size
    bare = np.array(seconds[SORT])
    results = [
        {"what": name, "seconds": quartiles(np.array(values)), "ratio": quartiles(values / bare)}
        for name, values in seconds.items()
    ]
    return {
        "sizes": {name: getattr(options, name) for name in SIZES},
        "results": results,
        "steps": steps,
        "bytes": {"CSV": size, "with raw interactions": before, "peak": peak_memory(CPU)},
    }


def _write(raw: RawInteractions, path: Path) -> None:
    columns = {
        "user": pa.array(raw.user_ids).take(pa.array(raw.user)),
        "item": pa.array(raw.item_ids).take(pa.array(raw.item)),
        "time": pa.array(raw.timestamp),
    }
    pyarrow.csv.write_csv(pa.table(columns), path, pyarrow.csv.WriteOptions(quoting_style="none"))


def _read(path: Path) -> RawInteractions:
    options = PrepOptions(interactions=path, time="time")
    recipe = resolve("bench", DatasetEntry(title="Random", source="table"), options, path.parent)
    return Table(recipe, Reporter()).interactions(MalformedRecords(path), print)


def random_interactions(users: int, items: int, interactions: int) -> RawInteractions:
    """Pairs drawn from long-tailed users and items, in any order and with repeats, and the time of each."""
    random = np.random.default_rng(0)

    def draw(count: int, spread: float) -> np.ndarray:
        weights = np.cumsum(random.lognormal(0, spread, count))
        return np.searchsorted(weights / weights[-1], random.random(interactions)).astype(np.int32)

    return RawInteractions(
        user=draw(users, 1.0),
        item=draw(items, 1.5),
        user_ids=[f"U{number * 7919 % users:08d}" for number in range(users)],
        item_ids=[f"I{number:08d}" for number in range(items)],
        timestamp=random.integers(1_300_000_000, 1_400_000_000, interactions),
    )


def _sort(raw: RawInteractions) -> np.ndarray:
    pairs = raw.user.astype(np.int64) * len(raw.item_ids) + raw.item
    pairs.sort()
    return pairs


def _table(report: Report) -> str:
    lines = [listed(report["sizes"])]
    for split, steps in report["steps"].items():
        counts = (
            f"{step['name']} {step['users']:,} users, {step['items']:,} items, {step['interactions']:,}"
            for step in steps
        )
        lines.append(f"{split}: {'; '.join(counts)}")
    rows = [(result["what"], spread(result["seconds"], 2), spread(result["ratio"], 2)) for result in report["results"]]
    sizes = (f"{value / 2**30:.2f} GiB {name}" for name, value in report["bytes"].items())
    table = columns(("median (quartiles)", "seconds", "ratio to sort"), rows)
    return "\n".join([*lines, "", table, f"file and memory: {', '.join(sizes)}"])


if __name__ == "__main__":
    main()
