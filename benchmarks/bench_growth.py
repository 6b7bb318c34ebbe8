"""How does the cost of the full MMSSL model grow? Random data; one factor grows while the others stay.

For each factor, seconds of a training step and of a refresh of the modality graphs (Eq. 8), and the memory that data
and training take, with their slopes in double logarithms: 1 is linear. Beside them stand the slope of the
multiplications that A.3 of the paper counts for a step at these very sizes, and that of those counted for this
implementation. A slope below A.3's says that fixed costs still matter at these sizes; that of the last two sizes is
nearer to what it tends to. Each size is measured in a process of its own; the sizes take turns, round after round.

Example: python -m benchmarks.bench_growth --factors users,batch --multiples 1,2,4,8
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch

from benchmarks.children import child
from benchmarks.command import Report, add_numbers, columns, listed, parser_for, run, spread
from benchmarks.timing import in_turn, quartiles
from benchmarks.workload import batches, random_data, refresh, settings_of
from mmssl_cli.models.mmssl.model import MMSSL
from mmssl_cli.studies.diagnostics.cost import complexity, growth
from mmssl_cli.training.device import peak_memory, reset_peak_memory
from mmssl_cli.training.trainer import make_loop
from pipelines.errors import UsageError

#: Where every factor starts.
START = {"users": 8192, "items": 4096, "interactions": 65536, "modalities": 2, "batch": 1024, "dim": 64}
#: The terms of A.3 that a factor is in.
PAPER = {
    "users": "|M| |Â| d + |U| |M|² d + |M| B |U| d",
    "items": "|I| Σ d_m d + B |M| |I| d + B |I|",
    "interactions": "L |A| d",
    "modalities": "|I| Σ d_m d + B |M| |I| d + |M| |Â| d + |U| |M|² d + |M| B |U| d",
    "batch": "B |M| |I| d + B |I| + B d + |M| B d + |M| B |U| d",
    "dim": "all but B |I|; A.3 leaves out the d x d maps of Eq. 9, (|U| + |I|) |M| d²",
}
MEASURES = ("step_seconds", "refresh_seconds", "memory_bytes")
FEATURE_DIM = 128


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__, "threads", "device", "set")
    parser.add_argument("--factors", default=",".join(START), help=f"default {','.join(START)}")
    parser.add_argument("--multiples", default="1,2,4,8", help="of the first size, ascending; default 1,2,4,8")
    for name, size in START.items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"first size, default {size}")
    add_numbers(parser, steps=10, rounds=3)
    run(parser, arguments, measure, _table)


def measure(options: argparse.Namespace) -> Report:
    """Each factor's sizes, with median and quartiles of what each took, and the slopes."""
    start = {name: getattr(options, name) for name in START}
    factors, multiples = _chosen(options)
    grown = {name: [{**start, name: start[name] * multiple} for multiple in multiples] for name in factors}
    points = {_key(sizes): sizes for all_sizes in grown.values() for sizes in all_sizes}
    rounds: list[dict[str, dict[str, Any]]] = []
    for number in range(1, options.rounds + 1):
        rounds.append({})
        for key, sizes in points.items():
            print(f"round {number} of {options.rounds}: {listed(sizes)}", file=sys.stderr, flush=True)
            with child(options.threads) as process:
                rounds[-1][key] = process.submit(_measure_one, sizes, options).result()
    results = {name: _grown(name, [(sizes[name], _key(sizes)) for sizes in grown[name]], rounds) for name in factors}
    return {"start": start, "steps": options.steps, "rounds": options.rounds, "factors": results}


def _chosen(options: argparse.Namespace) -> tuple[list[str], list[int]]:
    factors = options.factors.split(",")
    unknown = [name for name in factors if name not in START]
    multiples = [int(part) for part in options.multiples.split(",") if part.isdigit()]
    if unknown or len(multiples) < 2 or multiples != sorted(set(multiples)) or not multiples[0]:
        raise UsageError(
            f"Factors are {options.factors!r} and multiples {options.multiples!r}; expected some of "
            f"{', '.join(START)}, and two or more whole numbers, ascending, such as 1,2,4."
        )
    return factors, multiples


def _key(sizes: dict[str, int]) -> str:
    return json.dumps(sizes)


def _measure_one(sizes: dict[str, int], options: argparse.Namespace) -> dict[str, float]:
    """In a process of its own: what a size takes."""
    device = torch.device(options.device)
    reset_peak_memory(device)
    before = peak_memory(device)
    data = random_data(sizes["users"], sizes["items"], sizes["interactions"], 0, FEATURE_DIM, sizes["modalities"])
    own = {"embedding_dim": sizes["dim"], "batch_size": sizes["batch"], "feature_scaling": "none"}
    loop = make_loop(settings_of("mmssl", options.device, options.set, **own), data, device)
    model = cast(MMSSL, loop.model)
    model.train()
    refresh(model)
    drawn = batches(loop, options.steps + 1)
    steps = iter(drawn)
    taken = in_turn({"step": lambda: loop._step(next(steps))}, options.steps, options.device)["step"]
    refreshes = in_turn({"refresh": lambda: refresh(model)}, 2, options.device)["refresh"]
    distinct = round(sum(len(batch.distinct_users) for batch in drawn) / len(drawn))
    parts = complexity(model, len(data.train), loop.sampler.batch_size, distinct)
    return {
        "step_seconds": float(np.median(taken)),
        "refresh_seconds": float(np.median(refreshes)),
        "memory_bytes": float(peak_memory(device) - before),
        "paper": float(sum(part.printed for part in parts)),
        "own": float(sum(part.own for part in parts)),
    }


def _grown(name: str, sizes: list[tuple[int, str]], rounds: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    values = [size for size, _ in sizes]
    points = []
    for size, key in sizes:
        measured = {measure: quartiles([found[key][measure] for found in rounds]) for measure in MEASURES}
        points.append({name: size, **measured})

    def slopes(measure: str, last: int = 0) -> list[float]:
        return [growth(values[-last:], [found[key][measure] for _, key in sizes[-last:]]) for found in rounds]

    return {
        "points": points,
        "slopes": {measure: quartiles(slopes(measure)) for measure in MEASURES},
        "last_slopes": {measure: quartiles(slopes(measure, last=2)) for measure in MEASURES},
        "counted_slopes": {count: slopes(count)[0] for count in ("paper", "own")},
        "last_counted_slopes": {count: slopes(count, last=2)[0] for count in ("paper", "own")},
        "terms_of_the_paper": PAPER[name],
    }


def _table(report: Report) -> str:
    lines = [f"start: {listed(report['start'])}; {report['rounds']} rounds of {report['steps']} steps a size", ""]
    rows = []
    for name, result in report["factors"].items():
        for point in result["points"]:
            taken = (spread(_scaled(point[m], 1e3 if m.endswith("seconds") else 1e-6), 1) for m in MEASURES)
            rows.append((f"{name} {point[name]:,}", *taken))
    lines += [columns(("", "a step, ms", "refresh of Eq. 8, ms", "memory, MB"), rows), ""]
    rows = []
    for name, result in report["factors"].items():
        for which, kind, count in (("all sizes", "slopes", "counted_slopes"), ("the last two", "last_slopes", "")):
            counted = result[count or "last_counted_slopes"]
            rows.append(
                (
                    f"{name}, {which}",
                    *(spread(result[kind][m], 2) for m in MEASURES),
                    *(f"{counted[c]:.2f}" for c in ("paper", "own")),
                )
            )
    head = ("slope", "step", "refresh", "memory", "step, A.3's count", "step, own count")
    lines += [columns(head, rows), "", "terms of a step in A.3:"]
    lines += [f"  {name}: {result['terms_of_the_paper']}" for name, result in report["factors"].items()]
    lines.append("refresh: |M| |U| |I| d, the relation generation of A.3 for all users instead of B, once an epoch")
    return "\n".join(lines)


def _scaled(values: dict[str, float], factor: float) -> dict[str, float]:
    return {name: factor * value for name, value in values.items()}


if __name__ == "__main__":
    main()
