"""How fast are repeats folded, the 5-core found and interactions split, beside a bare sort of the same pairs?

The sort (``numpy.sort`` of one int64 a pair) and every split are timed in turn, repeat by repeat, so that what else
the machine does falls on all alike; a ratio is that of one repeat, and its median and quartiles are shown. Users and
items are drawn with long tails, so that pairs repeat and the core takes something away. Peak memory is the whole
process's, the raw interactions and Python's libraries included.

Example: python -m benchmarks.bench_interactions --users 1000000 --items 200000 --interactions 20000000 --repeats 1
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine, peak_memory
from pipelines.interactions import split_interactions
from pipelines.raw import RawInteractions

SPLITS = ("ratio", "leave-one-out", "temporal", "global-time")
SORT = "bare sort of the pairs"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    options = _parse(arguments)
    report = {"machine": describe_machine(), "sizes": _sizes(options), **measure(options)}
    print(json.dumps(report, indent=2) if options.json else _table(report))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and ratio to the bare sort (above 1: slower) of every split, the counts of each step, peak memory."""
    raw = random_interactions(options.users, options.items, options.interactions)
    before = peak_memory()
    timed: dict[str, Callable[[], Any]] = {SORT: partial(_sort, raw)}
    for split in options.splits:
        timed[split] = partial(split_interactions, raw, k_core=options.k_core, split=split)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    steps: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.repeats):
        for name, function in timed.items():
            started = time.perf_counter()
            result = function()
            seconds[name].append(time.perf_counter() - started)
            if name != SORT:
                steps[name] = [vars(step) for step in result.steps]
    bare = np.array(seconds[SORT])
    results = [
        {"what": name, "seconds": _quartiles(np.array(values)), "ratio": _quartiles(values / bare)}
        for name, values in seconds.items()
    ]
    return {"results": results, "steps": steps, "bytes": {"with raw interactions": before, "peak": peak_memory()}}


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


def _quartiles(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def _sizes(options: argparse.Namespace) -> dict[str, int]:
    return {name: getattr(options, name) for name in ("users", "items", "interactions", "k_core", "repeats")}


def _table(report: dict[str, Any]) -> str:
    lines = [", ".join(f"{key} {value}" for key, value in report[part].items()) for part in ("machine", "sizes")]
    for split, steps in report["steps"].items():
        counts = (
            f"{step['name']} {step['users']:,} users, {step['items']:,} items, {step['interactions']:,}"
            for step in steps
        )
        lines.append(f"{split}: {'; '.join(counts)}")
    lines.append(f"\n{'':24}{'seconds (quartiles)':>26}{'ratio to sort (quartiles)':>30}")
    for result in report["results"]:
        cells = (
            f"{result[key]['median']:.2f} ({result[key]['low']:.2f} to {result[key]['high']:.2f})"
            for key in ("seconds", "ratio")
        )
        lines.append(f"{result['what']:24}" + "{:>26}{:>30}".format(*cells))
    sizes = (f"{value / 2**30:.2f} GiB {name}" for name, value in report["bytes"].items())
    return "\n".join([*lines, f"memory: {', '.join(sizes)}"])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    sizes = {"users": 100_000, "items": 20_000, "interactions": 2_000_000, "k-core": 5, "repeats": 5}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), help="default: all of them")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
