"""Accuracy of ours and of MMRec's models, trained with the same settings on the same data and seeds.

MMRec (https://github.com/enoche/MMRec) is not part of this project; ``--mmrec`` names a checkout of it, which needs
``pip install lmdb pyyaml``, for GRCN and MMGCN ``torch-geometric`` as well. Both programs train on one thread, keep the
best epoch by Recall@20 on validation, end after ``--patience`` epochs without a better one, and are tested at the best.
``--out`` has a row a training in results.csv, and MMRec's epochs with their processor seconds in epochs.csv, for
``bench_quality --against``. The same command goes on where it was interrupted, and trains nothing twice.

Example: python -m benchmarks.bench_parity --mmrec ../MMRec --data data/tiktok --models lightgcn,bm3 --out parity
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.command import Report, add_numbers, child, parser_for, run
from benchmarks.mmrec import NAME, MMRec, given_settings, write_data
from benchmarks.workload import PREPARED, load, settings_of
from mmssl_cli.config import merge_settings
from mmssl_cli.console.training import Reporter
from mmssl_cli.training.trainer import train_run
from pipelines.errors import InputError, UsageError
from pipelines.io.files import atomic_file

#: Model -> its name in MMRec, and settings there and here that make both train alike, values of MMRec's files.
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "lightgcn": ("LightGCN", {"n_layers": 2, "reg_weight": 1e-4}, {"layers": 2, "l2_weight": 2e-6}),
    "mf": ("BPR", {"reg_weight": 1e-3}, {"l2_weight": 2e-5}),
    "vbpr": ("VBPR", {"reg_weight": 1e-3}, {"l2_weight": 2e-5}),
    "lattice": (
        "LATTICE",
        {"learning_rate": 1e-3, "reg_weight": 1e-4},
        {"lr": 1e-3, "layers": 2, "l2_weight": 1e-4, "lr_decay": 0.96},
    ),
    "slmrec": (
        "SLMRec",
        {"learning_rate": 1e-3, "ssl_temp": 0.2, "ssl_alpha": 0.1},
        {"lr": 1e-3, "contrast_temperature": 0.2, "contrast_weight": 0.1, "feature_scaling": "l2"},
    ),
    "grcn": ("GRCN", {"learning_rate": 1e-3, "reg_weight": 1e-3}, {"lr": 1e-3, "l2_weight": 1.6e-5}),
    "mmgcn": ("MMGCN", {"learning_rate": 1e-3, "reg_weight": 0.0}, {"lr": 1e-3}),
    "freedom": (
        "FREEDOM",
        {"n_ui_layers": 2, "dropout": 0.8, "reg_weight": 1e-3},
        {"layers": 2, "item_layers": 1, "edge_dropout": 0.8, "feature_weight": 1e-3},
    ),
    "bm3": (
        "BM3",
        {"n_layers": 2, "dropout": 0.3, "reg_weight": 0.1},
        {"layers": 2, "dropout": 0.3, "l2_weight": 0.1},
    ),
    "mgcn": ("MGCN", {"n_ui_layers": 2, "cl_loss": 0.01}, {"layers": 2, "contrast_weight": 0.01, "lr_decay": 0.96}),
    "smore": (
        "SMORE",
        {"n_ui_layers": 3, "image_knn_k": 10, "text_knn_k": 10, "reg_weight": 1e-4, "dropout_rate": 0.0},
        {"layers": 3, "graph_topk": 10, "l2_weight": 1e-4, "lr_decay": 0.96},
    ),
    "lgmrec": ("LGMRec", {}, {}),
}
_METRICS = ("validation", "recall@20", "ndcg@20")
_EPOCHS, _RESULTS = "epochs.csv", "results.csv"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, then print a table or JSON."""
    parser = parser_for(__doc__)
    parser.add_argument("--mmrec", type=Path, required=True, metavar="FOLDER", help="a checkout of MMRec")
    parser.add_argument("--data", type=Path, default=PREPARED, help=f"a prepared data set; default {PREPARED}")
    parser.add_argument("--models", default=",".join(MODELS), help="comma-separated; default all")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of MMRec; repeatable"
    )
    add_numbers(parser, runs=3, seed=2023, batch_size=2048, epochs=1000, patience=20)
    run(parser, arguments, measure)


def measure(options: argparse.Namespace) -> Report:
    """Return the trainings of both programs, and their means over the seeds."""
    models = options.models.split(",")
    if unknown := [model for model in models if model not in MODELS]:
        raise UsageError(f"--models {unknown[0]} is not compared; choose from {', '.join(MODELS)}.")
    options.mmrec, options.out = options.mmrec.absolute(), options.out.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    done = _read(options.out / _RESULTS)
    with tempfile.TemporaryDirectory() as folder:
        write_data(load(options.data, settings_of("lightgcn", "cpu", feature_scaling="none")), Path(folder) / NAME)
        for seed in range(options.seed, options.seed + options.runs):
            for model in models:
                for program, train in (("mmrec", _train_theirs), ("mmssl", _train_ours)):
                    key = {"model": model, "program": program, "seed": str(seed)}
                    if any(key.items() <= row.items() for row in done):
                        continue
                    with child(1) as process:
                        epochs, found = process.submit(train, model, seed, options, Path(folder)).result()
                    _write(options.out / _EPOCHS, [*_read(options.out / _EPOCHS), *({**key, **one} for one in epochs)])
                    done.append({**key, **{name: str(value) for name, value in found.items()}})
                    _write(options.out / _RESULTS, done)
    rows = pd.DataFrame([row for row in done if row["model"] in models]).astype(dict.fromkeys(_METRICS, float))
    groups = rows.groupby(["model", "program"], sort=False)
    means = [
        {"model": model, "program": program, "runs": len(group)} | {name: _mean(group[name]) for name in _METRICS}
        for (model, program), group in groups
    ]
    return {"results": rows.to_dict("records"), "means": means}


def _mean(values: pd.Series[float]) -> str:
    deviation = f" ± {values.std():.4f}" if len(values) > 1 else ""
    return f"{values.mean():.4f}{deviation}"


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError) as problem:
        raise InputError(f"Cannot read {path}: {problem}; choose another --out.") from problem


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with atomic_file(path) as part:
        pd.DataFrame(rows).to_csv(part, index=False)


def _train_theirs(
    model: str, seed: int, options: argparse.Namespace, folder: Path
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Return the epochs of MMRec until its patience ends, and the metrics of the best."""
    name, settings, _ = MODELS[model]
    common = {"train_batch_size": options.batch_size, "seed": [seed], "topk": [20]}
    program = MMRec(options.mmrec, folder, name, {**common, **settings, **given_settings(options.set)})
    epochs: list[dict[str, float]] = []
    best: dict[str, float] = {}
    while len(epochs) < options.epochs and (not best or len(epochs) - best["best_epoch"] < options.patience):
        seconds = program.epoch()
        took, validation = program.evaluate("validation")
        epochs.append({"epoch": len(epochs) + 1, "seconds": seconds + took, "score": validation[program.metric]})
        if not best or epochs[-1]["score"] > best["validation"]:
            tested = program.evaluate("test")[1]
            shown = {metric: float(tested[metric]) for metric in _METRICS[1:]}
            best = {"best_epoch": len(epochs), "validation": float(epochs[-1]["score"]), **shown}
    return epochs, {"epochs": len(epochs), "minutes": sum(one["seconds"] for one in epochs) / 60, **best}


def _train_ours(
    model: str, seed: int, options: argparse.Namespace, folder: Path
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Return no epochs, and the metrics of the best."""
    names = ("batch_size", "epochs", "patience")
    common = {name: getattr(options, name) for name in names} | {"seed": seed, "preset": "none", "lr_decay": 1.0}
    given = {"model": model, "dataset": options.data.name, "feature_scaling": "none", "device": "cpu", "ks": (20,)}
    settings = merge_settings({**given, **common, **MODELS[model][2]})
    done = train_run(settings, options.data.absolute().parent, folder / "runs", reporter=Reporter())
    record, metrics = done.record, pd.read_parquet(done.folder / "metrics.parquet")
    tested = {name: record["test"][name] for name in _METRICS[1:]}
    minutes = float(metrics["processor_seconds"].sum()) / 60
    found = {"epochs": len(metrics), "minutes": minutes, "best_epoch": record["best_epoch"]}
    return [], {**found, "validation": record["validation"]["recall@20"], **tested}


if __name__ == "__main__":
    main()
