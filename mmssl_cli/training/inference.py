"""Use of a trained model: its metrics on a split, and the best items of each user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch

from mmssl_cli.data.catalog import catalog_of
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.evaluation.metrics import evaluate_ranking, user_metric_names
from mmssl_cli.evaluation.ranking import Ranking
from mmssl_cli.evaluation.splits import Split
from mmssl_cli.evaluation.warm_cold import WarmCold
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.results import FinishedRun
from mmssl_cli.runs.tables import records
from mmssl_cli.text import ACCURACY
from mmssl_cli.training.loading import load_model, modalities_of
from pipelines.errors import UsageError
from pipelines.prepared.storage import read_table


def evaluate_split(
    ranking: Ranking,
    data: InteractionData,
    split: Split,
    ks: Sequence[int],
    metrics: Sequence[str],
    on_progress: Callable[[pd.DataFrame], object] | None = None,
) -> tuple[dict[str, float], pd.DataFrame, dict[str, Any]]:
    """Return the means of metrics on a split, a table of them by user, and those of warm and cold items apart.

    Raises:
        UsageError: a K is above the number of items, or a metric needs features and the data set has none.
        InputError: no user has a held-out item, or the scores have another shape or hold NaN.
    """
    relevant, catalog = getattr(data, split), catalog_of(data, metrics)
    warm_cold = WarmCold(data.train, relevant, ks, metrics)
    means, per_user = evaluate_ranking(ranking, data.train, relevant, ks, on_progress, warm_cold.add, metrics, catalog)
    return means, per_user, warm_cold.result()


def measured(run: FinishedRun, metrics: Sequence[str], data_dir: Path) -> FinishedRun:
    """Return a run with all of some metrics; those it was trained without are computed again from its weights.

    Raises:
        InputError: the run or its data set is damaged, or they do not fit each other.
    """
    ks = run.settings.all_ks
    lacking = [name for name in metrics if any(f"{name}@{k}" not in run.test for k in ks)]
    if not lacking:
        return run
    model, data, _ = load_model(run.folder.path, data_dir)
    result, accuracy = dict(run.result), [name for name in lacking if name in ACCURACY]
    with torch.inference_mode():
        means, per_user, warm_cold = evaluate_split(model.ranking(), data, "test", ks, lacking)
        result["test"] = {**run.test, **means}
        if accuracy:
            validation = evaluate_split(model.ranking(), data, "validation", ks, accuracy)[0]
            result["validation"] = {**result["validation"], **validation}
    if kinds := result.get("warm_cold"):
        result["warm_cold"] = {
            kind: {**old, "metrics": {**old["metrics"], **warm_cold[kind]["metrics"]}} for kind, old in kinds.items()
        }
    found = replace(run, result=result)
    new = per_user.set_index("user").drop(columns="train_degree")
    vars(found)["per_user"] = run.per_user.drop(columns=new.columns, errors="ignore").join(new, on="user")
    return found


def evaluate_run(
    run: RunFolder,
    data_dir: Path,
    split: Split,
    ks: Sequence[int] | None = None,
    out: Path | None = None,
    metrics: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the metrics of a run's model as plain values: ``metrics``, ``users``, and what was evaluated.

    ``warm_cold`` has the metrics of warm and of cold items apart, as :class:`WarmCold`; None without cold ones.

    Args:
        ks: cut-offs; None for those of the run.
        out: .parquet, .csv or .jsonl for the metrics of each user.
        metrics: their names; None for those of the run.

    Raises:
        UsageError: ``out`` has another ending.
        InputError: the run has no model yet, it or its data set is damaged, or the file cannot be written.
    """
    model, data, settings = load_model(run.path, data_dir)
    cutoffs, names = ks or settings.ks, metrics or settings.all_metrics
    of_users = user_metric_names(cutoffs, names)
    if out is not None and not of_users:
        raise UsageError(f"--out is for metrics of each user, and {' and '.join(names)} have none; leave it out.")
    with torch.inference_mode(), _per_user_file(out, data_dir / settings.dataset, of_users) as write:
        means, per_user, warm_cold = evaluate_split(model.ranking(), data, split, cutoffs, names, write)
    return {
        "run": run.id,
        "model": settings.model,
        "variant": getattr(settings, "variant", None),
        "label": settings.label,
        "dataset": settings.dataset,
        "modalities": modalities_of(settings, data),
        "split": split,
        "users": len(per_user),
        "metrics": means,
        "warm_cold": warm_cold or None,
        "per_user": str(out) if out is not None else None,
    }


@contextmanager
def _per_user_file(
    out: Path | None, dataset: Path, metrics: Sequence[str]
) -> Iterator[Callable[[pd.DataFrame], None] | None]:
    """Yield a function that adds rows of users to the file ``out``, with their ids; None where no file is wanted."""
    if out is None:
        yield None
        return
    ids = read_table("users", dataset / "users.parquet")["id"]
    counts = {"user": pa.int32(), "id": pa.string(), "train_degree": pa.int32()}
    schema = pa.schema({**counts, **dict.fromkeys(metrics, pa.float64())})

    def add_named(rows: pd.DataFrame) -> None:
        named = rows.assign(id=ids.to_numpy()[rows["user"]])
        add(pa.Table.from_pandas(named, schema, preserve_index=False).replace_schema_metadata())

    with records(out, schema) as add:
        yield add_named
