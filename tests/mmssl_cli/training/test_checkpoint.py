"""A training without a run, cut off and resumed from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from mmssl_cli.training import checkpoint as module
from mmssl_cli.training.checkpoint import Checkpoint
from mmssl_cli.training.trainer import fit
from tests.helpers.model_cases import write_toy
from tests.helpers.training_cases import numbers, toy_settings


class _CutOffError(Exception):
    pass


@pytest.fixture(autouse=True)
def _saved_after_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.0)
    monkeypatch.setattr(module, "_RATIO", 0.0)


def _fit(settings: Any, tmp_path: Path, path: Path | None, until: int | None = None) -> tuple[Any, list[Any]]:
    calls: list[tuple[int, float]] = []

    def on_validation(epoch: int, score: float) -> bool:
        calls.append((epoch, score))
        if epoch == until:
            raise _CutOffError
        return True

    state, whole = fit(settings, tmp_path / "data", on_validation, path and Checkpoint(path))
    assert whole
    return state, calls


@pytest.mark.parametrize(
    "settings", [{"model": "mmssl"}, {"model": "diffmm"}, {"model": "mf", "weight_averaging": 0.9}, {"model": "ncl"}]
)
def test_the_numbers_are_those_of_one_that_was_not_cut_off(tmp_path: Path, settings: dict[str, Any]) -> None:
    write_toy(tmp_path / "data")
    given, path = toy_settings(**{"epochs": 6, "evaluate_every": 2, **settings}), tmp_path / "folder/state.pt"
    whole, calls = _fit(given, tmp_path, None)
    with pytest.raises(_CutOffError):
        _fit(given, tmp_path, path, until=6)
    torch.manual_seed(777)  # whatever this process did before is no part of the training
    resumed, again = _fit(given, tmp_path, path)
    assert again == calls and len(calls) == 3
    one, other = (numbers(pd.DataFrame(of.records)) for of in (whole, resumed))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert resumed.best_epoch == whole.best_epoch


def test_the_time_before_counts(tmp_path: Path) -> None:
    write_toy(tmp_path / "data")
    given, path = toy_settings(model="mf", epochs=4), tmp_path / "state.pt"
    with pytest.raises(_CutOffError):
        _fit(given, tmp_path, path, until=3)
    checkpoint = Checkpoint(path)
    state, _ = fit(given, tmp_path / "data", lambda epoch, score: True, checkpoint)
    assert checkpoint.processor_seconds == sum(record["processor_seconds"] for record in state.records[:2]) > 0


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_a_damaged_file_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    write_toy(tmp_path / "data")
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    given = toy_settings(model="mf", epochs=2)
    assert _fit(given, tmp_path, path)[1] == _fit(given, tmp_path, None)[1]


def test_one_is_written_every_few_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy(tmp_path / "data")
    monkeypatch.setattr(module, "_SECONDS", 1000.0)
    _fit(toy_settings(model="mf", epochs=2), tmp_path, tmp_path / "state.pt")
    assert not (tmp_path / "state.pt").exists()
