"""How long is an epoch of the full MMSSL model, and where does it go? On TikTok, or random data of its sizes.

Training is that of `mmssl train`; its parts are timed in place, without what they call that has a row of its own.
Steps with the adversary as it is and steps with a plain dense transcription of it (``dense_reference.py``) take
turns, so that what else the machine does falls on both; the ratio is that of a pair of neighbours.

Example: python -m benchmarks.bench_epoch --data data/tiktok --json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.dense_reference import DenseAdversary
from benchmarks.machine import describe_machine, peak_memory
from mmssl_cli.config import merge_settings
from mmssl_cli.data.csr import CSR
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.data.sampling import Batch
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.models.registry import build_model
from mmssl_cli.training.loop import TrainingLoop
from pipelines.manifest import MANIFEST
from pipelines.prepare import prepare

PREPARED = Path("data/tiktok")
SIZES = {"users": 9308, "items": 6710, "interactions": 59541, "test_users": 6130, "dim": 128}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    options = _parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    report = {"machine": describe_machine(), **measure(options)}
    print(json.dumps(report, indent=2) if options.json else _table(report))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of epochs and their parts, of evaluation, peak memory, and the ratio to the dense transcription."""
    data = load(options.data)
    settings = merge_settings({"dataset": "tiktok", "model": "mmssl", "device": "cpu", "batch_size": 1024, "seed": 0})
    torch.manual_seed(0)
    loop = TrainingLoop(build_model(data, settings), data, settings)
    epochs = _epochs(loop, options.epochs)
    evaluation = [_seconds(lambda: _evaluate(loop)) for _ in range(options.repeats + 1)][1:]
    peak = peak_memory()  # before the dense blocks
    return {
        "data": data.name,
        "sizes": {
            "users": data.num_users,
            "items": data.num_items,
            "training interactions": len(data.train),
            "test users": int((data.test.degrees() > 0).sum()),
            "modalities": {name: values.shape[1] for name, values in data.features.items()},
            "steps": loop.sampler.steps,
            "batch": loop.sampler.batch_size,
        },
        "epoch": epochs,
        "evaluation_seconds": _quartiles(evaluation),
        "peak_memory_bytes": peak,
        "dense": _against_dense(loop, options.compared_steps),
    }


def load(folder: Path | None) -> InteractionData:
    """A prepared folder, a folder of the published layout, or random data of TikTok's sizes where it is None."""
    if folder is None:
        return load_interactions(PREPARED) if (PREPARED / MANIFEST).is_file() else random_data(**SIZES)
    if (folder / MANIFEST).is_file():
        return load_interactions(folder)
    with tempfile.TemporaryDirectory() as place:
        return load_interactions(prepare("tiktok", source_dir=folder, data_dir=Path(place)).folder)


def random_data(users: int, items: int, interactions: int, test_users: int, dim: int) -> InteractionData:
    """Random pairs with a few popular items, at least one a user, and two modalities of random features."""
    chance = np.random.default_rng(0)
    popularity = 1 / np.arange(1, items + 1) ** 0.7
    found = np.arange(users) * items + chance.integers(items, size=users)
    while len(found) < interactions:
        wanted = interactions - len(found)
        drawn = chance.choice(items, size=wanted, p=popularity / popularity.sum())
        found = np.unique(np.concatenate([found, chance.integers(users, size=wanted) * items + drawn]))
    train = CSR.from_pairs(np.stack([found // items, found % items], axis=1), users)
    held_out = np.stack([np.arange(test_users), chance.integers(items, size=test_users)], axis=1)
    test = CSR.from_pairs(held_out, users)
    features = {name: torch.from_numpy(chance.random((items, dim), np.float32)) for name in ("visual", "acoustic")}
    present = {name: torch.ones(items, dtype=torch.bool) for name in features}
    return InteractionData("random data of TikTok's sizes", users, items, train, test, test, features, present)


class Stopwatch:
    """Seconds spent in named parts, each without the parts inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[float] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a ``with`` block."""
        self._open.append(0.0)
        started = time.perf_counter()
        try:
            yield
        finally:
            took, inside = time.perf_counter() - started, self._open.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + took - inside
            if self._open:
                self._open[-1] += took

    def timed(self, function: Callable[..., Any], name: str, nested: bool = True) -> Callable[..., Any]:
        """``function`` as a part; inside another part it belongs to that one where ``nested`` is False."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            if self._open and not nested:
                return function(*arguments, **named)
            with self.part(name):
                return function(*arguments, **named)

        return wrapped


@contextmanager
def in_parts(loop: TrainingLoop, watch: Stopwatch) -> Iterator[None]:
    """Time the parts of ``loop.run_epoch`` for a ``with`` block."""
    model: Any = loop.model
    draw = loop.sampler.epoch
    parts = [
        (model, "begin_epoch", "neighbours and graphs, once an epoch (Eq. 8)"),
        (model, "views", "views, attention and propagation (Eq. 8 to 10)"),
        (model, "_final", "views, attention and propagation (Eq. 8 to 10)"),
        (model.generator, "forward", "generator's features (Eq. 2)"),
        (model.adversary, "transformed_rows", "Gumbel transform (Eq. 5)"),
        (model.adversary, "discriminator_step", "discriminator's update (Eq. 4, 7)"),
        (model.adversary, "generator_loss", "generator's loss (Eq. 7)"),
        (model, "_contrast", "contrast (Eq. 11)"),
        (loop.optimizer, "step", "optimiser"),
    ]
    with ExitStack() as stack:
        for owner, name, part in parts:
            stack.enter_context(mock.patch.object(owner, name, watch.timed(getattr(owner, name), part)))
        sampling = watch.timed(lambda generator: list(draw(generator)), "sampling")
        stack.enter_context(mock.patch.object(loop.sampler, "epoch", sampling))
        # The discriminator's own backward pass is part of its update.
        backward = watch.timed(torch.Tensor.backward, "backward pass of all terms", nested=False)
        stack.enter_context(mock.patch.object(torch.Tensor, "backward", lambda *a, **k: backward(*a, **k)))
        yield


def _epochs(loop: TrainingLoop, count: int) -> dict[str, Any]:
    loop.model.train()
    loop.model.begin_epoch(1)
    for batch in _batches(loop, 2):  # warms up
        loop._step(batch)
    wall, cpu, watch = [], [], Stopwatch()
    with in_parts(loop, watch):
        for _ in range(count):
            before = time.process_time()
            wall.append(loop.run_epoch()["train_seconds"])
            cpu.append(time.process_time() - before)
    parts = {name: seconds / count for name, seconds in watch.seconds.items()}
    parts["rest: ranking loss, sums"] = sum(wall) / count - sum(parts.values())
    ordered = dict(sorted(parts.items(), key=lambda part: -part[1]))
    return {"seconds": _quartiles(wall), "cpu_seconds": _quartiles(cpu), "parts_seconds": ordered}


def _batches(loop: TrainingLoop, count: int) -> list[Batch]:
    return [batch for batch, _ in zip(loop.sampler.epoch(loop.generator), range(count), strict=False)]


def _against_dense(loop: TrainingLoop, steps: int) -> dict[str, Any]:
    """Steps with either adversary in turn, from the same random state and weights."""
    model: Any = loop.model
    model.train()
    dense = DenseAdversary(model.adversary)
    dense_methods = {name: getattr(dense, name) for name in ("discriminator_step", "generator_loss")}
    seconds: dict[str, list[float]] = {"as it is": [], "dense": []}
    difference = 0.0
    for batch in _batches(loop, steps):
        state, losses = loop.state(), {}
        # Deep copies: an optimiser's state is updated in place.
        state = {name: _copied(value) for name, value in state.items()}
        for kind in seconds:
            loop.restore({name: _copied(value) for name, value in state.items()})
            with mock.patch.multiple(model.adversary, **dense_methods) if kind == "dense" else ExitStack():
                seconds[kind].append(_seconds(lambda: losses.update({kind: loop._step(batch)})))  # noqa: B023
        for name in ("discriminator", "adversarial", "total"):
            ours, theirs = float(losses["as it is"][name]), float(losses["dense"][name])
            difference = max(difference, abs(ours - theirs) / max(abs(theirs), 1e-12))
    ratio = np.array(seconds["dense"]) / np.array(seconds["as it is"])
    return {
        "step_seconds": {kind: _quartiles(values) for kind, values in seconds.items()},
        "ratio": _quartiles(ratio),
        "largest_relative_difference_of_losses": difference,
    }


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


@torch.no_grad()
def _evaluate(loop: TrainingLoop) -> None:
    loop.model.eval()
    evaluate(*loop.model.represent(), loop.data, "test", (10, 20, 50))


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _quartiles(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def _table(report: dict[str, Any]) -> str:
    def shown(q: dict[str, float]) -> str:
        return f"{q['median']:.3f} (quartiles {q['low']:.3f} to {q['high']:.3f})"

    epoch, dense = report["epoch"], report["dense"]
    lines = [
        ", ".join(f"{key} {value}" for key, value in report["machine"].items()),
        f"{report['data']}: " + ", ".join(f"{key} {value}" for key, value in report["sizes"].items()),
        "",
        f"seconds an epoch          {shown(epoch['seconds'])}",
        f"CPU seconds an epoch      {shown(epoch['cpu_seconds'])}",
        f"seconds of an evaluation  {shown(report['evaluation_seconds'])}",
        f"peak memory               {report['peak_memory_bytes'] / 1e9:.2f} GB",
        "",
    ]
    whole = sum(epoch["parts_seconds"].values())
    for part, seconds in epoch["parts_seconds"].items():
        lines.append(f"{part:48}{seconds:8.2f} s{100 * seconds / whole:7.1f} %")
    lines += ["", *(f"a step, adversary {kind:9} {shown(q)} s" for kind, q in dense["step_seconds"].items())]
    lines.append(f"dense / as it is            {shown(dense['ratio'])}")
    lines.append(f"losses differ by at most {dense['largest_relative_difference_of_losses']:.1e} of their size")
    return "\n".join(lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help=f"prepared or published folder; else {PREPARED}, else random data")
    parser.add_argument("--epochs", type=int, default=3, help="epochs to time (3)")
    parser.add_argument("--repeats", type=int, default=5, help="evaluations to time (5)")
    parser.add_argument("--compared-steps", type=int, default=9, help="steps against the dense transcription (9)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; PyTorch's choice by default")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
