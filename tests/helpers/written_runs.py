"""Run folders with made-up numbers, written as a training writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mmssl_cli.config import build_settings, settings_to_toml
from mmssl_cli.runs.folder import RunFolder


def write_run(
    runs_dir: Path,
    *,
    settings: dict[str, Any],
    scores: Sequence[float],
    test: float | None = None,
    seconds: Sequence[float] | float = 2.0,
    started: str = "2026-01-01T10:00:00",
    device: str = "cpu (test)",
    processor_seconds: float | None = None,
    content: str = "c",
) -> RunFolder:
    """A run whose validation Recall@20 is ``scores``, an epoch each (NaN: not validated), NDCG@20 half of it.

    Args:
        test: test Recall@20, NDCG@20 is half of it; without it the run is not over.
        seconds: of each epoch, or of all.
        processor_seconds: of each epoch; without it, as in earlier runs, they are not recorded.
        content: digest of the data set.
    """
    chosen = build_settings({"epochs": 100, **settings})
    toml = settings_to_toml(chosen, {**DATA, "content_digest": content, "device": device, "started": started})
    run = RunFolder.create(runs_dir, f"run-{sum(1 for _ in runs_dir.glob('*')):03}", toml)
    values = np.array(scores, dtype=float)
    epochs = np.arange(1, len(values) + 1)
    frame = {"epoch": epochs, "loss/bpr": 1 / epochs, "loss/total": 2 / epochs}
    if processor_seconds is not None:
        frame["processor_seconds"] = np.full(len(values), processor_seconds)
    validation = {f"validation/{name}": values * part for name, part in PARTS.items()}
    run.write_metrics(pd.DataFrame({**frame, **validation, "seconds": np.broadcast_to(seconds, len(values))}))
    if test is None:
        return run
    best = int(np.nanargmax(values))
    run.save_model({"weight": torch.zeros(2)})
    users = {"user": np.arange(3, dtype=np.int32), "train_degree": np.array([1, 2, 3], dtype=np.int32)}
    run.write_per_user(pd.DataFrame({**users, **{name: np.full(3, test * part) for name, part in PARTS.items()}}))
    run.write_result(
        {
            "status": "finished",
            "model": chosen.model,
            "variant": getattr(chosen, "variant", None),
            "dataset": chosen.dataset,
            "seed": chosen.seed,
            "epochs": len(values),
            "best_epoch": best + 1,
            "validation": {name: float(values[best] * part) for name, part in PARTS.items()},
            "test": {name: test * part for name, part in PARTS.items()},
        }
    )
    return run


#: Metrics, as parts of Recall@20.
PARTS = {"recall@20": 1.0, "ndcg@20": 0.5}
#: What a run remembers of its data set.
DATA = {"manifest_digest": "m", "content_digest": "c"}
