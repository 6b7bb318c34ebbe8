"""Do a million users fit? Seconds and peak memory of each stage between a prepared data set and ranked lists.

Random data of the sizes asked for are prepared in a temporary folder by a process of their own, then loaded, trained
on for a few steps with the full MMSSL model and its adversary, ranked, and saved, as `mmssl train` and
`mmssl recommend` do. What grows with users x items (the neighbours of Eq. 8, and ranking) is done for a part of the
users, and the processor seconds for all of them are worked out from it. Peak memory is the process's own at each stage,
Python's libraries included; what of it lies in files, which the system can take back at any time, stands beside what is
held at the end of the stage. On a GPU the most that its tensors took stands there as well.

Example: python -m benchmarks.bench_size --full --json
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.command import Report, add_numbers, columns, listed, parser_for, run
from benchmarks.timing import wait
from mmssl_cli.config import merge_settings, settings_to_toml
from mmssl_cli.data.graph import cosine_topk
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.training.device import peak_memory, reset_peak_memory
from mmssl_cli.training.inference import Ranker
from mmssl_cli.training.loop import TrainingLoop
from mmssl_cli.training.trainer import make_loop
from pipelines.prepared import Features, PreparedDataset, write_prepared
from pipelines.prepared.storage import read_table

NAME = "random"
FULL = {"users": 1_000_000, "items": 200_000, "interactions": 20_000_000}
TENTH = {size: count // 10 for size, count in FULL.items()}
OTHERS = {"feature_dim": 1024, "dim": 64, "batch": 1024, "steps": 2, "refreshed": 5000, "ranked": 5000}
CHUNK = 16_384  # feature rows made at a time
BYTES = {"peak_bytes": "peak GiB", "held_bytes": "held", "in_files_bytes": "in files", "device_bytes": "GPU's peak"}
CPU = torch.device("cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    run(_parser(), arguments, measure, _table)


def measure(options: argparse.Namespace) -> Report:
    """Seconds, peak memory and what is held of every stage, and the processor seconds that all users would take."""
    for size, count in (FULL if options.full else TENTH).items():
        setattr(options, size, getattr(options, size) or count)
    options.ranked, options.refreshed = min(options.ranked, options.users), min(options.refreshed, options.users)
    stages = Stages(torch.device(options.device))
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
            made = processes.submit(prepare_random, folder, options).result()
        stages.add({"stage": "prepare, in another process", **made})
        with stages.stage("load"):
            data = load_interactions(folder / NAME)
        names = {kind: read_table(kind, folder / NAME / f"{kind}.parquet") for kind in ("users", "items")}
        with stages.stage("build the model"):
            loop = _loop(data, options)
        _train(loop, options, stages)
        _rank(loop, options, stages, folder, names)
        with stages.stage("write the checkpoint"):
            saved = RunFolder.create(folder / "runs", "run", settings_to_toml(loop.settings, {}))
            saved.write_state(loop.state())
            saved.save_model(loop.model.state_dict())
    every_user = {
        "neighbours (Eq. 8)": stages.processor_seconds("neighbours") * options.users / options.refreshed,
        "recommend --all": stages.processor_seconds("recommend") * options.users / options.ranked,
    }
    return {
        "sizes": {name: getattr(options, name) for name in (*FULL, *OTHERS, "feature_type")},
        "stages": stages.results,
        "peak_memory_bytes": max(result["peak_bytes"] for result in stages.results[1:]),
        "processor_seconds_for_all_users": every_user,
    }


def _loop(data: InteractionData, options: argparse.Namespace) -> TrainingLoop:
    sizes = {"embedding_dim": options.dim, "batch_size": options.batch}
    settings = merge_settings({"dataset": NAME, "model": "mmssl", "device": options.device, "seed": 0, **sizes})
    return make_loop(settings, data, torch.device(options.device))


def _train(loop: TrainingLoop, options: argparse.Namespace, stages: Stages) -> None:
    model: Any = loop.model
    with stages.stage("features of all nodes (Eq. 2)"), torch.no_grad():
        model.eval()
        features = model.generator()
    with stages.stage(f"neighbours of {options.refreshed:,} users (Eq. 8)"):
        for chosen, (users, items) in zip(model.neighbours, features, strict=True):
            # Neighbours of the others: as many distinct items, so that the graphs have their sizes.
            chosen.copy_(_spread(len(chosen), chosen.shape[1], model.num_items))
            chosen[: options.refreshed] = cosine_topk(users[: options.refreshed], items, chosen.shape[1])
    del features, users, items
    model.train()
    with stages.stage("draw an epoch's triples"):
        batches = iter(loop.sampler.epoch(loop.generator))
        batch = next(batches)
    with stages.stage("first step, modality graphs included"):
        losses = loop._step(batch)
    for _ in range(options.steps):
        batch = next(batches)
        with stages.stage("step"):
            losses = loop._step(batch)
    if not all(bool(loss.isfinite()) for loss in losses.values()):
        raise RuntimeError(f"a loss of the last step is not finite: {losses}")
    if loop.model.adversary_optimizer is None:
        raise RuntimeError("the model has no adversary")


def _spread(rows: int, k: int, num_items: int) -> torch.Tensor:
    return (torch.randint(num_items, (rows, 1)) + torch.arange(k) * (num_items // k)) % num_items


@torch.no_grad()
def _rank(
    loop: TrainingLoop, options: argparse.Namespace, stages: Stages, folder: Path, names: dict[str, pd.DataFrame]
) -> None:
    loop.model.eval()
    with stages.stage("final embeddings"):
        users, items = loop.model.represent()
    with stages.stage(f"evaluate {options.ranked:,} test users"):
        evaluate(users, items, loop.data.train, loop.data.test, (10, 20, 50))
    with stages.stage(f"recommend to {options.ranked:,} users, to parquet"):
        ranker = Ranker(users, items, loop.data.train, names["users"]["id"], names["items"]["id"], None)
        ranker.write(folder / "recommendations.parquet", range(options.ranked), 20)


def prepare_random(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write a prepared data set of random interactions and features; its seconds and the memory it took."""
    started = time.perf_counter(), time.process_time()
    reset_peak_memory(CPU)
    chance = np.random.default_rng(0)
    table = pd.DataFrame({"user": np.arange(options.users, dtype=np.int32)})
    users = table.assign(id="u" + table["user"].astype(str))
    table = pd.DataFrame({"item": np.arange(options.items, dtype=np.int32)})
    items = table.assign(id="i" + table["item"].astype(str))
    present = np.ones(options.items, dtype=bool)
    features = {f"modality{number}": Features(_random_rows(options, chance), present) for number in range(2)}
    write_prepared(PreparedDataset(NAME, users, items, _interactions(options, chance), features), folder / NAME)
    return _figures(started)


def _interactions(options: argparse.Namespace, chance: np.random.Generator) -> pd.DataFrame:
    """Distinct pairs with a few popular items: three a user at least, of which held-out users give up two."""
    users, items = options.users, options.items
    first = np.arange(users) * items
    keys = np.sort(np.concatenate([first + (chance.integers(items, size=users) + s) % items for s in range(3)]))
    chances = np.cumsum(1 / np.arange(1, items + 1) ** 0.7)
    while len(keys) < options.interactions:
        wanted = options.interactions - len(keys)
        drawn = np.searchsorted(chances, chance.random(wanted) * chances[-1])
        keys = np.unique(np.concatenate([keys, chance.integers(users, size=wanted) * items + drawn]))
    user, item = (part.astype(np.int32) for part in np.divmod(keys, items))
    split = np.zeros(len(keys), dtype=np.int8)
    at = np.searchsorted(user, np.arange(options.ranked))
    split[at], split[at + 1] = 1, 2
    names = pd.Categorical.from_codes(split, ["train", "validation", "test"])
    return pd.DataFrame({"user": user, "item": item, "split": names.astype(str)})


def _random_rows(options: argparse.Namespace, chance: np.random.Generator) -> np.ndarray:
    values = np.empty((options.items, options.feature_dim), dtype=options.feature_type)
    for start in range(0, len(values), CHUNK):
        block = values[start : start + CHUNK]
        block[:] = chance.standard_normal(block.shape, dtype=np.float32)
    return values


@dataclass
class Stages:
    """What each stage took."""

    device: torch.device
    results: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a ``with`` block."""
        gc.collect()
        for device in {CPU, self.device}:
            reset_peak_memory(device)
        started = time.perf_counter(), time.process_time()
        yield
        wait(self.device.type)
        on_device = {"device_bytes": peak_memory(self.device)} if self.device.type == "cuda" else {}
        self.add({"stage": name, **_figures(started), **on_device})

    def add(self, result: dict[str, Any]) -> None:
        """Keep a result, and say on standard error that it is there: a stage may take long."""
        self.results.append(result)
        print(f"{result['stage']}: {result['seconds']:.1f} s", file=sys.stderr, flush=True)

    def processor_seconds(self, start: str) -> float:
        """The processor seconds of the first stage whose name starts so."""
        return float(next(r["processor_seconds"] for r in self.results if r["stage"].startswith(start)))


def _figures(started: tuple[float, float]) -> dict[str, Any]:
    status = Path("/proc/self/status")
    held = dict(line.split(":") for line in status.read_text().splitlines()) if status.is_file() else {}
    kib = {name: int(held[key].split()[0]) for name, key in (("held", "VmRSS"), ("in_files", "RssFile")) if key in held}
    return {
        "seconds": time.perf_counter() - started[0],
        "processor_seconds": time.process_time() - started[1],
        "peak_bytes": peak_memory(CPU),
        **{f"{name}_bytes": value * 1024 for name, value in kib.items()},
    }


def _table(report: Report) -> str:
    shown = {key: head for key, head in BYTES.items() if key in report["stages"][-1]}
    rows = []
    for result in report["stages"]:
        gib = (f"{result[key] / 2**30:.2f}" if key in result else "" for key in shown)
        rows.append((result["stage"], f"{result['seconds']:.1f}", f"{result['processor_seconds']:.1f}", *gib))
    lines = [listed(report["sizes"]), "", columns(("", "seconds", "processor's", *shown.values()), rows)]
    lines.append(f"most of all after the preparation: {report['peak_memory_bytes'] / 2**30:.2f} GiB")
    for name, seconds in report["processor_seconds_for_all_users"].items():
        lines.append(f"{name} for all users, worked out: {seconds:,.0f} processor seconds")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = parser_for(__doc__, "threads", "device")
    parser.add_argument(
        "--full", action="store_true", help=", ".join(f"{count:,} {size}" for size, count in FULL.items())
    )
    for size in FULL:
        parser.add_argument(f"--{size}", type=int, help=f"default {TENTH[size]:,}, or {FULL[size]:,} with --full")
    add_numbers(parser, **OTHERS)
    parser.add_argument("--feature-type", choices=("float16", "float32"), default="float16", help="default float16")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    return parser


if __name__ == "__main__":
    main()
