"""The demo and one short run in Python; only to be read."""

from __future__ import annotations

from pathlib import Path

import pytest

import mmssl_cli as mmssl


@pytest.fixture(scope="module")
def data(demo: Path) -> mmssl.Dataset:
    return mmssl.load_dataset(demo)


@pytest.fixture(scope="module")
def run(data: mmssl.Dataset, tmp_path_factory: pytest.TempPathFactory) -> mmssl.Run:
    """Two epochs of MF, trained once; only to be read."""
    return mmssl.train("mf", data, epochs=2, ks=(10, 20), device="cpu", runs_dir=tmp_path_factory.mktemp("runs"))
