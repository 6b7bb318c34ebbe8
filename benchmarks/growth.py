"""Growth of the cost of the full MMSSL model: random data, one factor grows while the others stay.

For each factor, the median of the training steps, a refresh of the modality graphs (Eq. 8), and the memory that data
and training take, with their slopes in double logarithms: 1 is linear. Beside them stand the slopes of the
multiplications of a step at these very sizes, as A.3 of the paper counts them and as this implementation makes them.
Below A.3's slope, fixed costs still matter at these sizes; the slope of the last two sizes is nearer to the limit. Each
size is measured in a process of its own; the sizes take turns, round after round, and each value is the median of the
rounds.
"""

from __future__ import annotations

import argparse
import sys

import pandas as pd
import torch

from benchmarks.command import Report, child, listed
from benchmarks.workload import random_data, settings_of
from mmssl_cli.studies.diagnostics.cost import growth, measure_point
from mmssl_cli.training.device import peak_memory, reset_peak_memory
from pipelines.errors import UsageError

#: Starting value of every factor.
START = {"users": 8192, "items": 4096, "interactions": 65536, "modalities": 2, "batch": 1024, "dim": 64}
FEATURE_DIM = 128


def measure_growth(options: argparse.Namespace) -> Report:
    """Return what each size took, and the slopes of each factor."""
    factors, multiples = chosen(options.grow, options.multiples)
    start = {name: getattr(options, name) or size for name, size in START.items()}
    grown = {name: [{**start, name: start[name] * multiple} for multiple in multiples] for name in factors}
    measured: dict[tuple[int, ...], list[dict[str, float]]] = {}
    for number in range(1, options.rounds + 1):
        for sizes in {tuple(sizes.values()): sizes for points in grown.values() for sizes in points}.values():
            print(f"round {number} of {options.rounds}: {listed(sizes)}", file=sys.stderr, flush=True)
            with child(options.threads) as process:
                taken = process.submit(_measure_one, sizes, options).result()
            measured.setdefault(tuple(sizes.values()), []).append(taken)
    points, slopes = [], []
    for name, all_sizes in grown.items():
        medians = [pd.DataFrame(measured[tuple(sizes.values())]).median().to_dict() for sizes in all_sizes]
        values = [sizes[name] for sizes in all_sizes]
        points += [{"what": f"{name} {value}", **median} for value, median in zip(values, medians, strict=True)]
        slopes.append({"slope": f"{name}, all sizes", **slopes_of(values, medians)})
        slopes.append({"slope": f"{name}, the last two", **slopes_of(values[-2:], medians[-2:])})
    return {"start": start, "rounds": options.rounds, "steps": options.steps, "points": points, "slopes": slopes}


def slopes_of(sizes: list[int], measured: list[dict[str, float]]) -> dict[str, float]:
    """Return the slope of every measure, without its unit."""
    return {
        name.removesuffix("_seconds").removesuffix("_bytes"): growth(sizes, [point[name] for point in measured])
        for name in measured[0]
    }


def chosen(factors: str, multiples: str) -> tuple[list[str], list[int]]:
    """Parse ``users,batch`` or ``all``, and ``1,2,4``.

    Raises:
        UsageError: an unknown factor, or multiples that do not ascend.
    """
    names = list(START) if factors == "all" else factors.split(",")
    numbers = [int(part) for part in multiples.split(",") if part.isdigit()]
    if not set(names) <= set(START) or len(numbers) < 2 or numbers != sorted(set(numbers)) or not numbers[0]:
        raise UsageError(
            f"Factors are {factors!r} and multiples {multiples!r}; expected some of {', '.join(START)}, and two or "
            "more whole numbers, ascending, such as 1,2,4."
        )
    return names, numbers


def _measure_one(sizes: dict[str, int], options: argparse.Namespace) -> dict[str, float]:
    """Measure one size, in a process of its own."""
    device = torch.device(options.device)
    reset_peak_memory(device)
    before = peak_memory(device)
    dimensions = [FEATURE_DIM] * sizes["modalities"]
    data = random_data(sizes["users"], sizes["items"], sizes["interactions"], 0, dimensions)
    own = {"embedding_dim": sizes["dim"], "batch_size": sizes["batch"], "feature_scaling": "none"}
    point = measure_point(
        data.to(device), settings_of("mmssl", options.device, options.set, **own), timed=options.steps
    )
    assert point.refresh_seconds is not None
    return {
        "step_seconds": point.median,
        "refresh_seconds": point.refresh_seconds,
        "memory_bytes": float(peak_memory(device) - before),
        "multiplications_of_A.3": float(sum(part.printed for part in point.parts)),
        "multiplications_here": float(sum(part.own for part in point.parts)),
    }
