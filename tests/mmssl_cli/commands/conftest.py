"""A run with known rankings, and models of one's own that no other test sees."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mmssl_cli.config import own_names
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


@pytest.fixture
def forgotten_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the modules of a test after it, and the folder they were in."""
    path = list(sys.path)
    modules = set(sys.modules)
    monkeypatch.setenv(own_names.VARIABLE, "")
    monkeypatch.setattr("mmssl_cli.console.errors.OWN_MODULES", own := set[str]())
    monkeypatch.setattr("mmssl_cli.config.own_models.OWN_MODULES", own)
    monkeypatch.setattr("mmssl_cli.app.OWN_MODULES", own)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("my_") or name == "shop_models":
            del sys.modules[name]
