"""Use of a trained model: its metrics on a split, and the best items of each user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch

from mmssl_cli.evaluation.metrics import evaluate_ranking, metric_names
from mmssl_cli.evaluation.splits import Split
from mmssl_cli.evaluation.warm_cold import WarmCold
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.tables import row_groups
from mmssl_cli.training.loading import load_model, modalities_of
from pipelines.prepared.storage import read_table


def evaluate_run(
    run: RunFolder, data_dir: Path, split: Split, ks: Sequence[int] | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Return the metrics of a run's model as plain values: ``metrics``, ``users``, and what was evaluated.

    ``warm_cold`` has the metrics of warm and of cold items apart, as :class:`WarmCold`; None without cold ones.

    Args:
        ks: cut-offs; None for those of the run.
        out: parquet file for the metrics of each user.

    Raises:
        InputError: the run has no model yet, it or its data set is damaged, or the file cannot be written.
    """
    model, data, settings = load_model(run.path, data_dir)
    cutoffs = ks or settings.ks
    with torch.inference_mode(), _per_user_file(out, data_dir / settings.dataset, cutoffs) as write:
        warm_cold = WarmCold(data.train, relevant := getattr(data, split), cutoffs)
        means, per_user = evaluate_ranking(model.ranking(), data.train, relevant, cutoffs, write, warm_cold.add)
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
        "warm_cold": warm_cold.result() or None,
        "per_user": str(out) if out is not None else None,
    }


@contextmanager
def _per_user_file(
    out: Path | None, dataset: Path, ks: Sequence[int]
) -> Iterator[Callable[[pd.DataFrame], None] | None]:
    """Yield a function that adds rows of users to the file ``out``, with their ids; None where no file is wanted."""
    if out is None:
        yield None
        return
    ids = read_table("users", dataset / "users.parquet")["id"]
    counts = {"user": pa.int32(), "id": pa.string(), "train_degree": pa.int32()}
    schema = pa.schema({**counts, **dict.fromkeys(metric_names(ks), pa.float64())})

    def add_named(rows: pd.DataFrame) -> None:
        named = rows.assign(id=ids.to_numpy()[rows["user"]])
        add(pa.Table.from_pandas(named, schema, preserve_index=False).replace_schema_metadata())

    with row_groups(out, schema) as add:
        yield add_named
