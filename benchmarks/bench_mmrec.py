"""Processor seconds of an epoch and of an evaluation, ours and MMRec's in turn: same data, batches and layers.

MMRec (https://github.com/enoche/MMRec) is not part of this project; ``--mmrec`` names a checkout of it, which needs
``pip install lmdb pyyaml``. Each program has a process of its own and computes on one thread; a turn is an epoch and an
evaluation of the test split of each, and the first is not counted. A ratio is MMRec's seconds divided by ours.

Settings of MMRec are those of its files, the first of several values, but for ``--set NAME=VALUE``; ours are the
defaults, which are the references' forms.

Example: python -m benchmarks.bench_mmrec --mmrec ../MMRec --data data/tiktok --models lightgcn,bm3
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.command import Report, add_numbers, child, parser_for, run
from benchmarks.mmrec import NAME, MMRec, given_settings, write_data
from benchmarks.timing import quartiles
from benchmarks.workload import DATA_HELP, LARGE, load, random_data, settings_of
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.evaluation.metrics import evaluate_ranking
from mmssl_cli.training.loop import TrainingLoop
from mmssl_cli.training.trainer import make_loop
from pipelines.errors import UsageError

#: Model -> its name in MMRec, and settings there and here that make both train alike.
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "lightgcn": ("LightGCN", {"n_layers": 2}, {"layers": 2}),
    "mf": ("BPR", {}, {}),
    "freedom": (
        "FREEDOM",
        {"n_ui_layers": 2, "dropout": 0.8},
        {"layers": 2, "item_layers": 1, "train_features": True, "l2_weight": 0.0},  # MMRec's has no L2
    ),
    "bm3": ("BM3", {"n_layers": 1, "dropout": 0.3}, {"layers": 1, "dropout": 0.3}),
    "mgcn": ("MGCN", {"n_ui_layers": 2}, {"layers": 2}),
}
KS, METRICS = (5, 10, 20, 50), ("recall", "ndcg", "precision", "map")
#: The program of this process, between its turns.
_programs: dict[str, Any] = {}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__)
    parser.add_argument("--mmrec", type=Path, required=True, metavar="FOLDER", help="a checkout of MMRec")
    parser.add_argument("--data", type=Path, help=DATA_HELP)
    parser.add_argument("--large", action="store_true", help=f"random data: {LARGE['users']:,} users, and so on")
    parser.add_argument("--models", default=",".join(MODELS), help="comma-separated; default all")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of MMRec; repeatable"
    )
    add_numbers(parser, batch_size=2048, epochs=5, seed=2023)
    run(parser, arguments, measure)


def measure(options: argparse.Namespace) -> Report:
    """Return the seconds of both programs with their ratios."""
    models = options.models.split(",")
    if unknown := [model for model in models if model not in MODELS]:
        raise UsageError(f"--models {unknown[0]} is not compared; choose from {', '.join(MODELS)}.")
    options.mmrec = options.mmrec.absolute()
    with tempfile.TemporaryDirectory() as folder:
        write_data(_data(options), Path(folder) / NAME)
        results = [row for model in models for row in _beside(model, options, Path(folder))]
    return {"results": results}


def _data(options: argparse.Namespace) -> InteractionData:
    if options.large:
        return random_data(**LARGE)
    return load(options.data, settings_of("lightgcn", "cpu", feature_scaling="none"))


def _beside(model: str, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Rows of the epoch and of the evaluation, in turn."""
    with ExitStack() as stack:
        theirs, ours = (stack.enter_context(child(1)) for _ in range(2))
        theirs.submit(_begin_theirs, model, options, folder).result()
        ours.submit(_begin_ours, model, options).result()
        taken: dict[str, list[tuple[float, float]]] = {"epoch": [], "evaluation": []}
        for _ in range(options.epochs + 1):
            for what, seconds in taken.items():
                seconds.append((theirs.submit(_turn, what).result(), ours.submit(_turn, what).result()))
    rows = []
    for what, seconds in taken.items():
        their, our = torch.tensor(seconds[1:], dtype=torch.float64).T.numpy()
        row = {"model": model, "what": what, "mmrec": quartiles(their), "ours": quartiles(our)}
        rows.append({**row, "ratio": quartiles(their / our)})
    return rows


def _begin_theirs(model: str, options: argparse.Namespace, folder: Path) -> None:
    name, settings, _ = MODELS[model]
    given = {
        "train_batch_size": options.batch_size,
        "seed": [options.seed],
        "topk": list(KS),
        **settings,
        **given_settings(options.set),
    }
    _programs["turn"] = MMRec(options.mmrec, folder, name, given)


def _begin_ours(model: str, options: argparse.Namespace) -> None:
    given = {"batch_size": options.batch_size, "feature_scaling": "none", "seed": options.seed, "preset": "none"}
    settings = settings_of(model, "cpu", **{**given, **MODELS[model][2]})
    _programs["turn"] = make_loop(settings, _data(options), torch.device("cpu"))


def _turn(what: str) -> float:
    program = _programs["turn"]
    if isinstance(program, MMRec):
        return program.epoch() if what == "epoch" else program.evaluate()[0]
    started = time.process_time()
    if what == "epoch":
        program.run_epoch()
    else:
        _evaluate(program)
    return time.process_time() - started


def _evaluate(loop: TrainingLoop) -> None:
    loop.model.eval()
    with torch.no_grad():
        evaluate_ranking(loop.model.ranking(), loop.data.train, loop.data.test, KS, metrics=METRICS)


if __name__ == "__main__":
    main()
