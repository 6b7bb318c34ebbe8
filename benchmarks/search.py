"""Search for the neighbours of Eq. 8 on the CPU: exact beside bare products, approximate beside exact.

Items lie around one centre a hundred of them, and a user is the mean of five items around two of these; with
``--unclustered`` both are random, the worst case of an index. Processor seconds are medians of ``--rounds``, with the
works in turn, after one to warm up; the index is made once. A share of the peak is one of the speed of a large product.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.command import Report
from benchmarks.floor import matrix_product
from mmssl_cli.data.graph import BLOCK_ELEMENTS, cosine_topk
from mmssl_cli.evaluation.ann_index import check_installed, cosine_index, nearest_by

SIZES = {"users": 2000, "items": 200_000, "dim": 64}
K = 10


def measure_search(options: argparse.Namespace) -> Report:
    """Return the processor seconds of each way to search, and the recall of the approximate one."""
    check_installed("--search", "another benchmark")
    sizes = {name: getattr(options, name) or size for name, size in SIZES.items()}
    queries, keys = _features(**sizes, clustered=not options.unclustered)
    product, flops = matrix_product("cpu")
    started = time.process_time()
    index, _ = cosine_index(queries, keys, K)
    rows = [{"search": "faiss: the index, once", "processor_seconds": time.process_time() - started}]
    works: dict[str, Callable[[], object]] = {
        "a large product": product,
        "products alone": partial(_blocked, queries, keys, 0),
        "products and torch.topk": partial(_blocked, queries, keys, K),
        "exact: cosine_topk": partial(cosine_topk, queries, keys, K),
        "faiss: the search": partial(nearest_by, index, queries, K),
    }
    turns = [[_processor_seconds(work) for work in works.values()] for _ in range(options.rounds + 1)][1:]
    taken = dict(zip(works, np.median(turns, axis=0).tolist(), strict=True))
    speed = flops / taken.pop("a large product")
    for name, seconds in taken.items():
        row = {"search": name, "processor_seconds": seconds, "microseconds_a_user": 1e6 * seconds / sizes["users"]}
        if not name.startswith("faiss"):
            row["share_of_peak"] = 2 * sizes["users"] * sizes["items"] * sizes["dim"] / seconds / speed
        rows.append(row)
    exact, found = cosine_topk(queries, keys, K), nearest_by(index, queries, K)
    recall = (exact.unsqueeze(2) == found.unsqueeze(1)).any(2)[exact >= 0].double().mean()
    return {"sizes": sizes, "gigaflop/s_in_a_large_product": speed / 1e9, "recall": float(recall), "results": rows}


def _features(users: int, items: int, dim: int, clustered: bool) -> tuple[Tensor, Tensor]:
    """Features of users [U, dim] and items [I, dim]."""
    chance = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=chance)
    if not clustered:
        return draw(users, dim), draw(items, dim)
    centres = draw(max(2, items // 100), dim)
    rows = centres[torch.arange(items) % len(centres)] + 0.7 * draw(items, dim)
    two = torch.randint(len(centres), (users, 2), generator=chance)
    near = two.repeat(1, 3)[:, :5] + len(centres) * torch.randint(items // len(centres), (users, 5), generator=chance)
    return rows[near].mean(1), rows


def _blocked(queries: Tensor, keys: Tensor, k: int) -> None:
    """Products in blocks as ``cosine_topk`` makes them, with PyTorch's own search of the largest unless ``k`` is 0."""
    columns = normalize(keys, dim=1).T.contiguous()
    for block in queries.split(max(1, BLOCK_ELEMENTS // len(keys))):
        cosines = block @ columns
        if k:
            torch.topk(cosines, k, dim=1, sorted=False)


def _processor_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
