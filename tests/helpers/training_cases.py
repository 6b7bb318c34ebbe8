"""Settings of short trainings on the toy data set, and what two of them have in common."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mmssl_cli.config import TrainSettings, build_settings


def toy_settings(model: str = "mf", **values: Any) -> TrainSettings:
    common: dict[str, Any] = {"embedding_dim": 8, "batch_size": 32, "lr": 0.02, "epochs": 3, "device": "cpu"}
    common |= {"ks": (3, 5), "select_on": "recall@5", "dataset": "toy", "model": model}
    return build_settings(common | ({"graph_topk": 3, "omega": 0.3} if model == "mmssl" else {}) | values)


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """metrics.parquet without what the clock decides."""
    return table.drop(columns=[name for name in table if "seconds" in name])
