"""A run with known rankings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmssl_cli.runs.folder import RunFolder
from tests.helpers.known_run import PROVENANCE, load_fixed_model, prepare_shop


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run for which every user's scores fall with the item's index: 0 is the best item, 5 the last."""
    for module in ("inference", "ranker"):
        monkeypatch.setattr(f"mmssl_cli.training.{module}.load_model", load_fixed_model)
    prepare_shop(tmp_path / "data")
    config = 'model = "lightgcn"\ndataset = "shop"\nseed = 1\nks = [1, 2]\nselect-on = "recall@20"\n' + PROVENANCE
    folder = RunFolder.create(tmp_path / "runs", "20260101-000000-shop-lightgcn-s1", config)
    folder.save_model({"users": torch.ones(3, 1), "items": torch.arange(6, 0, -1).float().reshape(6, 1)})
    return folder
