"""How fast is ranking? All-rank top-K and evaluation, beside a bare matrix product with ``torch.topk``.

Both are timed in turn, repeat by repeat, so that what else the machine does falls on both alike; a ratio is
that of one repeat, and its median and quartiles are shown. The default sizes are TikTok's.

Example: python -m benchmarks.bench_ranking --repeats 15 --json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe_machine
from mmssl_cli.data.csr import CSR
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.evaluation.ranking import BLOCK_BYTES, rank_topk


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    options = _parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    report = {"machine": describe_machine(options.device), "sizes": _sizes(options), "results": measure(options)}
    print(json.dumps(report, indent=2) if options.json else _table(report))


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds and ratio to the bare product (above 1: slower), as median and quartiles, of every case."""
    generator = torch.Generator().manual_seed(0)
    data = _data(options, generator)
    ids = data.test.degrees().nonzero().squeeze(1)
    results = []
    for case in ("distinct scores", "many ties"):
        users = torch.randn(options.users, options.dim, generator=generator)
        items = torch.randn(options.items, options.dim, generator=generator)
        if case == "many ties":  # whole numbers have few different products: most lists are cut at a tie
            users, items = users.round(), items.round()
        pair = users.to(options.device), items.to(options.device)
        timed: dict[str, Callable[[], object]] = {
            "bare product and topk": partial(_bare, *pair, ids, options.k),
            "rank_topk": partial(rank_topk, *pair, ids, options.k),
            "rank_topk, masked": partial(rank_topk, *pair, ids, options.k, data.train),
            "evaluate": partial(evaluate, *pair, data, "test", (10, 20, options.k)),
        }
        seconds = _interleaved(timed, options.repeats, options.device)
        for name, values in seconds.items():
            ratio = _quartiles(values / seconds["bare product and topk"])
            results.append({"case": case, "what": name, "seconds": _quartiles(values), "ratio": ratio})
    return results


def _interleaved(timed: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, np.ndarray]:
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for repeat in range(repeats + 1):
        for name, function in timed.items():
            _wait(device)
            started = time.perf_counter()
            function()
            _wait(device)
            if repeat:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in seconds.items()}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _bare(users: Tensor, items: Tensor, ids: Tensor, k: int) -> None:
    for block in torch.split(ids, BLOCK_BYTES // (4 * len(items))):
        torch.topk(users[block] @ items.T, k)


def _data(options: argparse.Namespace, generator: torch.Generator) -> InteractionData:
    """Random training items of every user and one test item of each of the first ``test_users``."""

    def pairs(users: int, each: int) -> CSR:
        rows = torch.arange(users).repeat_interleave(each)
        chosen = torch.stack([rows, torch.randint(options.items, (len(rows),), generator=generator)], dim=1)
        return CSR.from_pairs(chosen.unique(dim=0), options.users)

    train, test = pairs(options.users, options.train_items), pairs(options.test_users, 1)
    return InteractionData("benchmark", options.users, options.items, train, test, test).to(options.device)


def _quartiles(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def _sizes(options: argparse.Namespace) -> dict[str, int]:
    return {name: getattr(options, name) for name in ("users", "items", "dim", "test_users", "train_items", "k")}


def _table(report: dict[str, Any]) -> str:
    lines = [", ".join(f"{key} {value}" for key, value in report[part].items()) for part in ("machine", "sizes")]
    lines.append(f"\n{'':17}{'':24}{'seconds (quartiles)':>26}{'ratio to bare (quartiles)':>30}")
    for result in report["results"]:
        cells = (
            f"{result[key]['median']:.3f} ({result[key]['low']:.3f} to {result[key]['high']:.3f})"
            for key in ("seconds", "ratio")
        )
        lines.append(f"{result['case']:17}{result['what']:24}" + "{:>26}{:>30}".format(*cells))
    return "\n".join(lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    sizes = {
        "users": 9319,
        "items": 6710,
        "dim": 64,
        "test-users": 6130,
        "train-items": 6,
        "k": 50,
        "repeats": 11,
    }
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; PyTorch's choice by default")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
