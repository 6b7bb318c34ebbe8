"""All-rank top-K and evaluation beside a bare matrix product with ``torch.topk``.

All are timed in turn, repeat by repeat, so that other load on the machine falls on all alike; a ratio is that of one
repeat (above 1: slower than the bare product), and median and quartiles are shown. The default sizes are TikTok's.

Example: python -m benchmarks.bench_ranking --repeats 15 --json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.command import Report, add_numbers, parser_for, run
from benchmarks.timing import in_turn, quartiles
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.evaluation.ranking import BLOCK_BYTES, rank_topk
from mmssl_cli.sparse.csr import CSR

SIZES = {"users": 9319, "items": 6710, "dim": 64, "test_users": 6130, "train_items": 6, "k": 50}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__, "threads", "device")
    add_numbers(parser, **SIZES, repeats=11)
    run(parser, arguments, measure)


def measure(options: argparse.Namespace) -> Report:
    """Return seconds and ratio to the bare product of every case."""
    generator = torch.Generator().manual_seed(0)
    data = _data(options, generator)
    ids = data.test.degrees().nonzero().squeeze(1)
    results = []
    for case in ("distinct scores", "many ties"):
        users = torch.randn(options.users, options.dim, generator=generator)
        items = torch.randn(options.items, options.dim, generator=generator)
        if case == "many ties":  # integers have few different products: most lists are cut at a tie
            users, items = users.round(), items.round()
        pair = users.to(options.device), items.to(options.device)
        timed: dict[str, Callable[[], object]] = {
            "bare product and topk": partial(_bare, *pair, ids, options.k),
            "rank_topk": partial(rank_topk, *pair, ids, options.k),
            "rank_topk, masked": partial(rank_topk, *pair, ids, options.k, data.train),
            "evaluate": partial(evaluate, *pair, data.train, data.test, (10, 20, options.k)),
        }
        seconds = in_turn(timed, options.repeats, options.device)
        for name, values in seconds.items():
            ratio = quartiles(values / seconds["bare product and topk"])
            results.append({"what": f"{case}: {name}", "seconds": quartiles(values), "ratio_to_bare": ratio})
    return {"sizes": {name: getattr(options, name) for name in SIZES}, "results": results}


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


if __name__ == "__main__":
    main()
