"""Seconds and peak memory against the size of the data, up to a million users; growth with each factor.

Random data of the given sizes are prepared in a temporary folder by a process of their own, then loaded, trained on for
a few steps with the full MMSSL model and its adversary, ranked, and saved, as `mmssl train` and `mmssl recommend` do.
Work that grows with users x items (the neighbours of Eq. 8, and ranking) is done for a part of the users, and the
processor seconds for all of them are extrapolated. Peak memory is that of the process at each stage, Python's libraries
included; beside it stand the memory held at the end of the stage and the part of it that lies in files, which the
system can take back at any time. On a GPU the peak of its tensors stands there too.

With ``--grow`` one factor after the other grows instead, and the slopes of a step's cost are shown; see ``growth.py``.
With ``--search`` only the neighbours of Eq. 8 are searched, in several ways; see ``search.py``.

Example: python -m benchmarks.bench_size --full --json
Example: python -m benchmarks.bench_size --grow users,batch --multiples 1,2,4,8
Example: python -m benchmarks.bench_size --search --threads 1
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.command import Report, add_numbers, child, parser_for, run, settings_given
from benchmarks.growth import START, measure_growth
from benchmarks.search import SIZES as SEARCHED
from benchmarks.search import measure_search
from benchmarks.timing import wait
from benchmarks.workload import random_pairs
from mmssl_cli.config import merge_settings, settings_to_toml
from mmssl_cli.data.graph import cosine_topk
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.evaluation.metrics import evaluate_ranking
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.training.device import peak_memory, reset_peak_memory
from mmssl_cli.training.loop import TrainingLoop
from mmssl_cli.training.ranker import Ranker
from mmssl_cli.training.trainer import make_loop
from pipelines.prepared import Features, PreparedDataset, write_prepared
from pipelines.prepared.storage import read_table

NAME = "random"
FULL = {"users": 1_000_000, "items": 200_000, "interactions": 20_000_000, "modalities": 2, "batch": 1024, "dim": 64}
TENTH = {**FULL, **{size: FULL[size] // 10 for size in ("users", "items", "interactions")}}
OTHERS = {"steps": 2, "feature_dim": 1024, "refreshed": 5000, "ranked": 5000}
CHUNK = 16_384  # feature rows generated at a time
CPU = torch.device("cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print tables or JSON."""
    parser = parser_for(__doc__, "threads", "device", "set")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--full", action="store_true", help="a million users instead of a tenth of everything")
    modes.add_argument("--grow", metavar="FACTORS", help=f"grow these one by one: all, or some of {','.join(START)}")
    modes.add_argument("--search", action="store_true", help="the search of Eq. 8 alone: exact and approximate")
    for size, count in FULL.items():
        shown = f"default {TENTH[size]:,}, {count:,} with --full, {START[size]:,} with --grow"
        shown += f", {SEARCHED[size]:,} with --search" if size in SEARCHED else ""
        parser.add_argument(f"--{size}", type=int, help=shown)
    add_numbers(parser, **OTHERS)
    parser.add_argument("--feature-type", choices=("float16", "float32"), default="float16", help="default float16")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    parser.add_argument("--multiples", default="1,2,4,8", help="with --grow: of the first size, default 1,2,4,8")
    parser.add_argument("--rounds", type=int, default=3, help="with --grow and --search: default 3")
    parser.add_argument("--unclustered", action="store_true", help="with --search: random features")
    run(parser, arguments, measure)


def measure(options: argparse.Namespace) -> Report:
    """Return what the stages of one size took, what each size took as a factor grows, or what each search took."""
    if options.search:
        return measure_search(options)
    return measure_growth(options) if options.grow else measure_stages(options)


def measure_stages(options: argparse.Namespace) -> Report:
    """Return seconds and memory of every stage, and the processor seconds extrapolated to all users."""
    for size, count in (FULL if options.full else TENTH).items():
        setattr(options, size, getattr(options, size) or count)
    options.ranked, options.refreshed = min(options.ranked, options.users), min(options.refreshed, options.users)
    stages = Stages(torch.device(options.device))
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        with child(options.threads) as process:
            stages.add("prepare, in another process", process.submit(prepare_random, folder, options).result())
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
    return {
        "sizes": {name: getattr(options, name) for name in (*FULL, *OTHERS, "feature_type")},
        "stages": stages.results,
        "peak_memory_bytes": max(result["peak_bytes"] for result in stages.results[1:]),
        "processor_seconds_for_all_users": {
            "neighbours (Eq. 8)": stages.processor_seconds("neighbours") * options.users / options.refreshed,
            "recommend --all": stages.processor_seconds("recommend") * options.users / options.ranked,
        },
    }


def _loop(data: InteractionData, options: argparse.Namespace) -> TrainingLoop:
    sizes = {"embedding_dim": options.dim, "batch_size": options.batch, **settings_given(options.set)}
    settings = merge_settings({"dataset": NAME, "model": "mmssl", "device": options.device, "seed": 0, **sizes})
    return make_loop(settings, data, torch.device(options.device))


def _train(loop: TrainingLoop, options: argparse.Namespace, stages: Stages) -> None:
    model: Any = loop.model
    with stages.stage("features of all nodes (Eq. 2)"), torch.no_grad():
        model.eval()
        features = model.generator()
    with stages.stage(f"neighbours of {options.refreshed:,} users (Eq. 8)"):
        for neighbours, (users, items) in zip(model.neighbours, features, strict=True):
            # Neighbours of the others: as many distinct items, so that the graphs have their sizes.
            neighbours.copy_(_spread(len(neighbours), neighbours.shape[1], model.num_items))
            neighbours[: options.refreshed] = cosine_topk(users[: options.refreshed], items, neighbours.shape[1])
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
    if loop.model.auxiliary_optimizer is None:
        raise RuntimeError("the model has no adversary")


def _spread(rows: int, k: int, num_items: int) -> torch.Tensor:
    return (torch.randint(num_items, (rows, 1)) + torch.arange(k) * (num_items // k)) % num_items


@torch.no_grad()
def _rank(
    loop: TrainingLoop, options: argparse.Namespace, stages: Stages, folder: Path, names: dict[str, pd.DataFrame]
) -> None:
    loop.model.eval()
    ids = (names[kind]["id"] for kind in ("users", "items"))
    ranker = Ranker(loop.model, loop.data.train, *ids, None, loop.data.cold, False)
    with stages.stage("final embeddings"):
        ranking = ranker.ranking
    with stages.stage(f"evaluate {options.ranked:,} test users"):
        evaluate_ranking(ranking, loop.data.train, loop.data.test, loop.settings.all_ks)
    with stages.stage(f"recommend to {options.ranked:,} users, to parquet"):
        ranker.write(folder / "recommendations.parquet", range(options.ranked), 20)


def prepare_random(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write a prepared data set of random interactions and features; return seconds and memory."""
    started = time.perf_counter(), time.process_time()
    reset_peak_memory(CPU)
    chance = np.random.default_rng(0)
    pairs = random_pairs(chance, options.users, options.items, options.interactions, least=3).astype(np.int32)
    split = np.zeros(len(pairs), dtype=np.int8)
    at = np.searchsorted(pairs[:, 0], np.arange(options.ranked))
    split[at], split[at + 1] = 1, 2  # of a user's three or more pairs, one for validation and one for test
    names = pd.Categorical.from_codes(split, ["train", "validation", "test"]).astype(str)
    interactions = pd.DataFrame({"user": pairs[:, 0], "item": pairs[:, 1], "split": names})
    present = np.ones(options.items, dtype=bool)
    features = {f"modality{at}": Features(_random_rows(options, chance), present) for at in range(options.modalities)}
    users, items = _numbered("user", options.users), _numbered("item", options.items)
    write_prepared(PreparedDataset(NAME, users, items, interactions, features), folder / NAME)
    return _figures(started)


def _numbered(kind: str, count: int) -> pd.DataFrame:
    table = pd.DataFrame({kind: np.arange(count, dtype=np.int32)})
    return table.assign(id=kind[0] + table[kind].astype(str))


def _random_rows(options: argparse.Namespace, chance: np.random.Generator) -> np.ndarray:
    values = np.empty((options.items, options.feature_dim), dtype=options.feature_type)
    for start in range(0, len(values), CHUNK):
        block = values[start : start + CHUNK]
        block[:] = chance.standard_normal(block.shape, dtype=np.float32)
    return values


@dataclass
class Stages:
    """Seconds and memory of each stage."""

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
        self.add(name, {**_figures(started), **on_device})

    def add(self, name: str, figures: dict[str, Any]) -> None:
        """Keep a result and print it to standard error, for a stage may take long."""
        self.results.append({"stage": name, **figures})
        print(f"{name}: {figures['seconds']:.1f} s", file=sys.stderr, flush=True)

    def processor_seconds(self, start: str) -> float:
        """Return the processor seconds of the first stage whose name starts so."""
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


if __name__ == "__main__":
    main()
