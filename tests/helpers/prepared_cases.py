"""Prepared data sets: a small one in memory, and the real ones beside the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.prepared import Features, PreparedDataset
from tests.conftest import ROOT

REAL = ROOT.parent / "shared" / "data"


def small(name: str = "small") -> PreparedDataset:
    """Three users, five items, two modalities."""
    rows = [
        (0, 0, "train"),
        (1, 1, "train"),
        (2, 4, "train"),
        (0, 3, "train"),
        (0, 1, "validation"),
        (1, 2, "test"),
    ]
    values = np.arange(10, dtype=np.float32).reshape(5, 2) + 1
    half = np.ones((5, 3), dtype=np.float16)
    half[3] = 0
    return PreparedDataset(
        name=name,
        users=pd.DataFrame({"user": np.arange(3, dtype=np.int32), "id": ["ann", "bob", "eve"]}),
        items=pd.DataFrame(
            {"item": np.arange(5, dtype=np.int32), "id": list("vwxyz"), "title": ["a", None, "c", "d", ""]}
        ),
        interactions=pd.DataFrame(rows, columns=["user", "item", "split"]).astype({"user": "int32", "item": "int32"}),
        features={
            "visual": Features(half, np.array([True, True, True, False, True]), {"name": "test", "file": "a.npy"}),
            "textual": Features(values, np.ones(5, dtype=bool), {"name": "test"}),
        },
        settings={"source": "published", "cold_users": "refuse"},
        sources={"train.json": "0" * 64},
    )


def real(name: str) -> Path:
    """The folder of a real data set in the published layout; the test is skipped where there is none."""
    if not (REAL / name / "train.json").is_file():
        pytest.skip(f"the real data set {name} is not at ../shared/data/{name}")
    return REAL / name
