"""Hits and recommendations of each item in a run: computed once from its weights, then kept in its folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from mmssl_cli.runs.results import FinishedRun


def per_item(run: FinishedRun, data_dir: Path) -> pd.DataFrame:
    """A row an item, as ``evaluation.items.evaluate_items`` gives it, for every K of the run.

    They are stored as per_item.parquet; a run folder that cannot be written is read all the same.

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
    import torch

    from mmssl_cli.evaluation.items import evaluate_items
    from mmssl_cli.training.loading import load_model

    model, data, settings = load_model(run.folder.path, data_dir)
    with torch.inference_mode():
        users, items = model.represent()
        return evaluate_items(users, items, data, settings.all_ks)
