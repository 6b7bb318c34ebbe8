"""Seconds of an epoch of the full MMSSL model and of its parts, beside a dense transcription and the machine's floor.

Training is that of `mmssl train` with the settings of TikTok, on TikTok or random data of its sizes. Within one run:
  - the parts of an epoch, timed in place in epochs of their own, each without those inside it;
  - a plain dense transcription of the same equations (``dense_reference.py``): its steps and those of the model take
    turns from the same state and random numbers and must give the same losses, and so must the refreshes of Eq. 8;
  - the floor of the machine (``floor.py``): steps, a large matrix product and a large triad take turns.

Example: python -m benchmarks.bench_epoch --data data/tiktok --json
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.command import Report, add_numbers, parser_for, run
from benchmarks.dense_reference import DenseMMSSL
from benchmarks.floor import Counter, matrix_product, triad
from benchmarks.step_breakdown import REFRESH, SAMPLING, in_parts
from benchmarks.timing import Stopwatch, in_turn, quartiles, seconds
from benchmarks.workload import DATA_HELP, batches, refresh, sizes_of, training_loop
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.training.device import peak_memory
from mmssl_cli.training.loop import TrainingLoop

REST = "rest: ranking loss, sums"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print tables or JSON."""
    parser = parser_for(__doc__, "threads", "device", "set")
    parser.add_argument("--data", type=Path, help=DATA_HELP)
    add_numbers(parser, epochs=3, repeats=5)
    parser.add_argument("--compared-steps", type=int, help="steps of the dense transcription; default a whole epoch")
    run(parser, arguments, measure)


def measure(options: argparse.Namespace) -> Report:
    """Return seconds of epochs and evaluation, peak memory, parts, and ratios to the floor and the transcription."""
    loop = training_loop(options.data, "mmssl", options.device, options.set)
    loop.model.train()
    refresh(loop.model)
    for batch in batches(loop, 2):  # warm-up
        loop._step(batch)
    times = [{"what": "an epoch", **_epochs(loop, options.epochs)}]
    if loop.cuda_graph is not None:  # the rest looks into a step, which a replay hides
        loop.cuda_graph = None
        times.append({"what": "an epoch, not recorded", **_epochs(loop, options.epochs)})
    evaluation = in_turn({"evaluation": lambda: _evaluate(loop)}, options.repeats, options.device)["evaluation"]
    times.append({"what": "an evaluation", "seconds": quartiles(evaluation)})
    peak = peak_memory(loop.device)  # before the dense matrices and the arrays of the triad
    loop.model.train()
    floor, of_parts = measure_floor(loop, options.repeats)
    return {
        "data": loop.data.name,
        "sizes": sizes_of(loop),
        "times": times,
        "peak_memory_bytes": peak,
        "parts": measure_parts(loop, options.epochs, of_parts),
        **floor,
        **compare_with_dense(loop, options.compared_steps),
    }


def measure_parts(loop: TrainingLoop, epochs: int, floors: dict[str, float]) -> list[dict[str, Any]]:
    """Return the seconds of each part per epoch, longest first, beside the floor of its operators in a step."""
    watch, whole = Stopwatch(loop.device.type), 0.0
    with in_parts(loop, watch):
        for _ in range(epochs):
            whole += loop.run_epoch()["train_seconds"]
    watch.seconds[REST] = whole - sum(watch.seconds.values())
    rows = []
    for part, taken in sorted(watch.seconds.items(), key=lambda part: -part[1]):
        row = {"part of an epoch": part, "seconds": taken / epochs, "share": taken / whole}
        floor = floors.get(part, 0.0) * loop.sampler.steps
        if floor and part not in (REFRESH, SAMPLING):
            row |= {"floor_of_operators": floor, "times": row["seconds"] / floor}
        rows.append(row)
    return rows


def measure_floor(loop: TrainingLoop, repeats: int) -> tuple[Report, dict[str, float]]:
    """Return the floors of a step with its ratios to them, and the floor of each part operator by operator."""
    device, watch = loop.device.type, Stopwatch()
    counter = Counter(lambda: watch.part or REST)
    warm, counted, *rest = batches(loop, 2 + repeats + 1)
    loop._step(warm)
    with in_parts(loop, watch), counter:
        loop._step(counted)
    steps = iter(rest)
    (product, flops), (stream, moved) = matrix_product(device), triad(device)
    taken = in_turn({"step": lambda: loop._step(next(steps)), "product": product, "triad": stream}, repeats, device)
    speeds = list(zip(flops / taken["product"], moved / taken["triad"], strict=True))
    median = float(np.median(flops / taken["product"])), float(np.median(moved / taken["triad"]))
    floors = {
        "operations and persistent bytes": [counter.floor(*speed) for speed in speeds],
        "operator by operator": [sum(counter.operator_floors(*speed).values()) for speed in speeds],
    }
    report = {
        "a_step": {
            "gigaflop in products": counter.flops / 1e9,
            "megabytes of weights, moments, graphs and features": counter.persistent_bytes / 1e6,
            "megabytes through all operators": counter.operator_bytes / 1e6,
        },
        "attained": {"gigaflop/s in a product": median[0] / 1e9, "gigabytes/s in a triad": median[1] / 1e9},
        "floor": [
            {
                "floor of a step": name,
                "floor_ms": quartiles(1e3 * np.array(floor)),
                "step_ms": quartiles(1e3 * taken["step"]),
                "ratio": quartiles(taken["step"] / np.array(floor)),
            }
            for name, floor in floors.items()
        ],
    }
    return report, counter.operator_floors(*median)


def compare_with_dense(loop: TrainingLoop, steps: int | None) -> Report:
    """Run refreshes and steps of the model and of its dense transcription in turn, and compare seconds and losses."""
    data, settings, device = loop.data, loop.settings.model_copy(update={"cuda_graph": False}), loop.device.type
    loop.sampler.width = None  # the transcription knows no padding
    dense = TrainingLoop(DenseMMSSL(data, settings).to(loop.device), data, settings)  # type: ignore[arg-type]
    model, twin = cast(Any, loop.model), cast(Any, dense.model)
    dense.restore(copy.deepcopy(loop.state()))
    twin.train()
    taken: dict[str, list[float]] = {"ours": [], "dense": []}
    refreshes = in_turn({"ours": lambda: refresh(model), "dense": lambda: refresh(twin)}, 3, device)
    common = _common(model.neighbours, twin.neighbours)
    twin.neighbours.copy_(model.neighbours)
    twin.forget_graphs()
    twin.views()
    difference = 0.0
    for batch in batches(loop, steps or loop.sampler.steps):
        _same_state(dense, loop)
        losses: dict[str, dict[str, Tensor]] = {}
        with torch.random.fork_rng():
            taken["ours"].append(seconds(lambda: losses.update(ours=loop._step(batch)), device))  # noqa: B023
        taken["dense"].append(seconds(lambda: losses.update(dense=dense._step(batch)), device))  # noqa: B023
        for name, expected in losses["dense"].items():
            apart = abs(float(losses["ours"][name]) - float(expected)) / max(abs(float(expected)), 1e-3)
            difference = max(difference, apart)
    rows = []
    for what, values in (("a step", taken), ("a refresh of Eq. 8", refreshes)):
        ratios = np.array(values["dense"]) / np.array(values["ours"])
        of_kinds = {kind: quartiles(values[kind]) for kind in ("ours", "dense")}
        rows.append({"against dense": what, **of_kinds, "ratio": quartiles(ratios)})
    epoch = {
        kind: float(np.median(refreshes[kind]) + loop.sampler.steps * np.mean(values)) for kind, values in taken.items()
    }
    return {
        "dense": [*rows, {"against dense": "an epoch", **epoch, "ratio": epoch["dense"] / epoch["ours"]}],
        "agreement": {
            "steps": len(taken["ours"]),
            "largest_relative_difference_of_losses": difference,
            "neighbours_in_common": common,
        },
    }


def _epochs(loop: TrainingLoop, count: int) -> dict[str, Any]:
    wall, cpu = [], []
    for _ in range(count):
        before = time.process_time()
        wall.append(loop.run_epoch()["train_seconds"])
        cpu.append(time.process_time() - before)
    return {"seconds": quartiles(wall), "processor_seconds": quartiles(cpu)}


@torch.no_grad()
def _evaluate(loop: TrainingLoop) -> None:
    loop.model.eval()
    evaluate(*loop.model.represent(), loop.data.train, loop.data.test, loop.settings.all_ks)


@torch.no_grad()
def _same_state(to: TrainingLoop, of: TrainingLoop) -> None:
    """Copy weights, statistics and moments of one loop into another; ``restore`` would also forget the graphs."""
    for target, value in zip(_tensors(to), _tensors(of), strict=True):
        target.copy_(value)


def _tensors(loop: TrainingLoop) -> Iterator[Tensor]:
    yield from loop.model.state_dict().values()
    for optimizer in filter(None, (loop.optimizer, loop.model.auxiliary_optimizer)):
        for moments in optimizer.state.values():
            yield from moments.values()


def _common(ours: Tensor, theirs: Tensor) -> float:
    """The share of each user's neighbours that both found."""
    return float((ours.unsqueeze(3) == theirs.unsqueeze(2)).any(dim=3).double().mean())


if __name__ == "__main__":
    main()
