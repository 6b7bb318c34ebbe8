"""Hits and recommendations per item of a run, computed once from its weights and then kept in its folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pandas as pd
import torch

from mmssl_cli.evaluation.items import evaluate_items
from mmssl_cli.runs.results import FinishedRun
from mmssl_cli.training.loading import load_model
from pipelines.errors import InputError


def per_item(run: FinishedRun, data_dir: Path) -> pd.DataFrame:
    """Return one row per item, as ``evaluation.items.evaluate_items`` does, for every K of the run.

    The table is stored as per_item.parquet; a read-only run folder is no error.

    Raises:
        InputError: nothing is stored, and weights or data set are missing, damaged or do not fit each other.
    """
    wanted = {f"{name}@{k}" for name in ("hits", "recommended") for k in run.settings.all_ks}
    with suppress(InputError):  # never computed, or damaged
        stored = run.folder.read_per_item()
        if wanted <= set(stored):
            return stored
    table = _compute(run, data_dir)
    with suppress(InputError):
        run.folder.write_per_item(table)
    return table


def _compute(run: FinishedRun, data_dir: Path) -> pd.DataFrame:
    model, data, settings = load_model(run.folder.path, data_dir)
    with torch.inference_mode():
        return evaluate_items(model.ranking(), data.num_items, data.train, data.test, settings.all_ks)
