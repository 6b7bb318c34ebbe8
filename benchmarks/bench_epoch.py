"""How long is an epoch of the full MMSSL model, where does it go, and how far is it from what could be?

Training is that of `mmssl train` with the settings of TikTok, on TikTok or random data of its sizes. Three questions,
each answered within the run:
  - its parts, timed in place in epochs of their own, each without those inside it;
  - a plain dense transcription of the same equations (``dense_reference.py``): its steps and those of the model take
    turns from the same state and random numbers, must give the same losses, and so do the refreshes of Eq. 8;
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

from benchmarks import environment as machine
from benchmarks.command import Report, add_numbers, columns, listed, parser_for, run, spread
from benchmarks.dense_reference import DenseMMSSL
from benchmarks.floor import Counter
from benchmarks.step_breakdown import REFRESH, SAMPLING, in_parts
from benchmarks.timing import Stopwatch, in_turn, quartiles, seconds
from benchmarks.workload import DATA_HELP, batches, refresh, sizes_of, training_loop
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.training.device import peak_memory
from mmssl_cli.training.loop import TrainingLoop

REST = "rest: ranking loss, sums"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__, "threads", "device", "set")
    parser.add_argument("--data", type=Path, help=DATA_HELP)
    add_numbers(parser, epochs=3, repeats=5)
    parser.add_argument("--compared-steps", type=int, help="steps of the dense transcription; default a whole epoch")
    run(parser, arguments, measure, _table)


def measure(options: argparse.Namespace) -> Report:
    """Seconds of epochs and evaluation, peak memory, the parts, and the ratios to transcription and floor."""
    loop = training_loop(options.data, "mmssl", options.device, options.set)
    loop.model.train()
    refresh(loop.model)
    for batch in batches(loop, 2):  # warms up
        loop._step(batch)
    epochs: dict[str, Any] = _epochs(loop, options.epochs)
    if loop.recorded is not None:  # what follows looks into a step, which a replay hides
        loop.recorded = None
        plain = _epochs(loop, options.epochs)
        epochs = {**epochs, **{f"unrecorded_{name}": taken for name, taken in plain.items()}}
    evaluation = in_turn({"evaluation": lambda: _evaluate(loop)}, options.repeats, options.device)["evaluation"]
    report = {
        "data": loop.data.name,
        "sizes": sizes_of(loop),
        **epochs,
        "evaluation_seconds": quartiles(evaluation),
        "peak_memory_bytes": peak_memory(loop.device),  # before the dense matrices and the arrays of the triad
    }
    loop.model.train()
    floor, operators = measure_floor(loop, options.repeats)
    parts = measure_parts(loop, options.epochs)
    parts["floor_seconds_a_step"] = operators
    return {**report, "parts": parts, "floor": floor, "dense": compare_with_dense(loop, options.compared_steps)}


def measure_parts(loop: TrainingLoop, epochs: int) -> dict[str, Any]:
    """Seconds of each part an epoch, the longest first."""
    watch, whole = Stopwatch(loop.device.type), 0.0
    with in_parts(loop, watch):
        for _ in range(epochs):
            whole += loop.run_epoch()["train_seconds"]
    watch.seconds[REST] = whole - sum(watch.seconds.values())
    ordered = sorted(watch.seconds.items(), key=lambda part: -part[1])
    return {"seconds_an_epoch": {name: taken / epochs for name, taken in ordered}}


def measure_floor(loop: TrainingLoop, repeats: int) -> tuple[dict[str, Any], dict[str, float]]:
    """The floors of a step with its ratios to them, and the floor of each part operator by operator."""
    device, watch = loop.device.type, Stopwatch()
    counter = Counter(lambda: watch.part or REST)
    warm, counted, *rest = batches(loop, 2 + repeats + 1)
    loop._step(warm)
    with in_parts(loop, watch), counter:
        loop._step(counted)
    steps = iter(rest)
    product, flops = machine.matrix_product(device)
    triad, moved = machine.triad(device)
    turns = {"step": lambda: loop._step(next(steps)), "product": product, "triad": triad}
    taken = in_turn(turns, repeats, device)
    speeds = list(zip(flops / taken["product"], moved / taken["triad"], strict=True))
    median = float(np.median(flops / taken["product"])), float(np.median(moved / taken["triad"]))
    floors = np.array([counter.floor(*speed) for speed in speeds])
    by_operator = np.array([sum(counter.operator_floors(*speed).values()) for speed in speeds])
    floor = {
        "flops": counter.flops,
        "persistent_bytes": counter.persistent_bytes,
        "operator_bytes": counter.operator_bytes,
        "flops_a_second": median[0],
        "bytes_a_second": median[1],
        "step_seconds": quartiles(taken["step"]),
        "floor_seconds": quartiles(floors),
        "operator_floor_seconds": quartiles(by_operator),
        "ratio": quartiles(taken["step"] / floors),
        "operator_ratio": quartiles(taken["step"] / by_operator),
    }
    return floor, counter.operator_floors(*median)


def compare_with_dense(loop: TrainingLoop, steps: int | None) -> dict[str, Any]:
    """Refreshes and steps of the model and of its dense transcription in turn, and how far their losses differ."""
    data, settings, device = loop.data, loop.settings.model_copy(update={"cuda_graph": False}), loop.device.type
    loop.sampler.width = None  # the transcription knows no padding
    dense = TrainingLoop(DenseMMSSL(data, settings).to(loop.device), data, settings)  # type: ignore[arg-type]
    model, twin = cast(Any, loop.model), cast(Any, dense.model)
    dense.restore(copy.deepcopy(loop.state()))
    twin.train()
    taken: dict[str, list[float]] = {"as it is": [], "dense": []}
    refreshes = in_turn({"as it is": lambda: refresh(model), "dense": lambda: refresh(twin)}, 3, device)
    common = _common(model.neighbours, twin.neighbours)
    twin.neighbours.copy_(model.neighbours)
    twin.forget_graphs()
    twin.views()
    difference = 0.0
    for batch in batches(loop, steps or loop.sampler.steps):
        _same_state(dense, loop)
        losses: dict[str, dict[str, Tensor]] = {}
        with torch.random.fork_rng():
            taken["as it is"].append(seconds(lambda: losses.update(ours=loop._step(batch)), device))  # noqa: B023
        taken["dense"].append(seconds(lambda: losses.update(dense=dense._step(batch)), device))  # noqa: B023
        for name, expected in losses["dense"].items():
            apart = abs(float(losses["ours"][name]) - float(expected)) / max(abs(float(expected)), 1e-3)
            difference = max(difference, apart)
    ratios = np.array(taken["dense"]) / np.array(taken["as it is"])
    epochs = {
        kind: float(np.median(refreshes[kind]) + loop.sampler.steps * np.mean(values)) for kind, values in taken.items()
    }
    return {
        "steps": len(ratios),
        "step_seconds": {kind: quartiles(values) for kind, values in taken.items()},
        "step_ratio": quartiles(ratios),
        "refresh_seconds": {kind: quartiles(values) for kind, values in refreshes.items()},
        "refresh_ratio": quartiles(refreshes["dense"] / refreshes["as it is"]),
        "epoch_seconds": epochs,
        "epoch_ratio": epochs["dense"] / epochs["as it is"],
        "largest_relative_difference_of_losses": difference,
        "neighbours_in_common": common,
    }


def _epochs(loop: TrainingLoop, count: int) -> dict[str, Any]:
    wall, cpu = [], []
    for _ in range(count):
        before = time.process_time()
        wall.append(loop.run_epoch()["train_seconds"])
        cpu.append(time.process_time() - before)
    return {"epoch_seconds": quartiles(wall), "epoch_cpu_seconds": quartiles(cpu)}


@torch.no_grad()
def _evaluate(loop: TrainingLoop) -> None:
    loop.model.eval()
    evaluate(*loop.model.represent(), loop.data.train, loop.data.test, loop.settings.all_ks)


@torch.no_grad()
def _same_state(to: TrainingLoop, of: TrainingLoop) -> None:
    """Weights, statistics and moments of one loop into another; ``restore`` would also forget the graphs."""
    for target, value in zip(_tensors(to), _tensors(of), strict=True):
        target.copy_(value)


def _tensors(loop: TrainingLoop) -> Iterator[Tensor]:
    yield from loop.model.state_dict().values()
    for optimizer in filter(None, (loop.optimizer, loop.model.adversary_optimizer)):
        for moments in optimizer.state.values():
            yield from moments.values()


def _common(ours: Tensor, theirs: Tensor) -> float:
    """The share of each user's neighbours that both found."""
    return float((ours.unsqueeze(3) == theirs.unsqueeze(2)).any(dim=3).double().mean())


def _table(report: Report) -> str:
    parts, floor, dense = report["parts"], report["floor"], report["dense"]
    steps = report["sizes"]["steps"]
    head = ("seconds", "median (quartiles)")
    rows = [
        ("an epoch", spread(report["epoch_seconds"])),
        ("an epoch, processor", spread(report["epoch_cpu_seconds"])),
        *[("an epoch, not recorded", spread(report[key])) for key in ("unrecorded_epoch_seconds",) if key in report],
        ("an evaluation", spread(report["evaluation_seconds"])),
    ]
    lines = [f"{report['data']}: {listed(report['sizes'])}", "", columns(head, rows)]
    lines += [f"peak memory {report['peak_memory_bytes'] / 1e9:.2f} GB", "", _parts_table(parts, steps), ""]
    lines += [
        f"a step: {floor['flops'] / 1e9:.2f} Gflop in products, {floor['persistent_bytes'] / 1e6:.1f} MB of weights, "
        f"moments, graphs and features, {floor['operator_bytes'] / 1e6:.0f} MB through all operators",
        f"the machine: {floor['flops_a_second'] / 1e9:.0f} Gflop/s in a product of matrices, "
        f"{floor['bytes_a_second'] / 1e9:.1f} GB/s in a triad",
        columns(
            ("a step", "floor, ms", "step, ms", "step / floor"),
            [
                (name, spread(_ms(floor[least]), 2), spread(_ms(floor["step_seconds"]), 2), spread(floor[ratio], 2))
                for name, least, ratio in (
                    ("operations and bytes", "floor_seconds", "ratio"),
                    ("operator by operator", "operator_floor_seconds", "operator_ratio"),
                )
            ],
        ),
        "",
        columns(
            (f"against dense, {dense['steps']} steps", "as it is, s", "dense, s", "dense / as it is"),
            [
                (name, *(spread(dense[f"{name}_seconds"][k]) for k in ("as it is", "dense")), spread(dense[ratio], 2))
                for name, ratio in (("step", "step_ratio"), ("refresh", "refresh_ratio"))
            ]
            + [
                ("epoch", *(f"{taken:.2f}" for taken in dense["epoch_seconds"].values()), f"{dense['epoch_ratio']:.2f}")
            ],
        ),
        f"losses differ by at most {dense['largest_relative_difference_of_losses']:.1e} of their size; "
        f"{100 * dense['neighbours_in_common']:.3f} % of the neighbours are the same",
    ]
    return "\n".join(lines)


def _parts_table(parts: dict[str, Any], steps: int) -> str:
    taken, floors = parts["seconds_an_epoch"], parts["floor_seconds_a_step"]
    whole, rows = sum(taken.values()), []
    for name, value in taken.items():
        floor = floors.get(name, 0.0) * steps
        counted = (f"{floor:.3f}", f"{value / floor:.1f}") if floor and name not in (REFRESH, SAMPLING) else ("", "")
        rows.append((name, f"{value:.3f}", f"{100 * value / whole:.1f} %", *counted))
    return columns(("an epoch's parts", "seconds", "share", "floor of its operators", "times"), rows)


def _ms(values: dict[str, float]) -> dict[str, float]:
    return {name: 1000 * value for name, value in values.items()}


if __name__ == "__main__":
    main()
