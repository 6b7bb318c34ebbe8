"""The benchmark of the models: all of them in turns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_models, workload


def _measured(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    bench_models.main([*flags, "--models", "mf,bm3", "--threads", "1", "--batch-size", "512", "--json"])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_models_take_turns(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = _measured(capsys, "--data", str(demo), "--epochs", "2")
    mf, bm3 = report["results"]
    assert (mf["model"], bm3["model"], report["sizes"]["batch"]) == ("mf", "bm3", 512)
    for result in (mf, bm3):
        assert 0 < result["seconds"]["low"] <= result["seconds"]["median"] <= result["seconds"]["high"]
        assert result["processor_seconds"]["median"] > 0 and result["peak_memory_bytes"] > 0


def test_random_data_of_a_named_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(workload.RANDOM, "baby-raw", {**workload.SIZES, "feature_dims": (7, 3)})
    loop = workload.training_loop(None, "vbpr", "cpu", size="baby-raw", preset="none")
    assert {name: values.shape[1] for name, values in loop.data.features.items()} == {"modality0": 7, "modality1": 3}


def test_an_unknown_model_is_refused_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench_models.main(["--models", "mf,lightgnc"])
    assert ended.value.code == 2
    assert "lightgcn" in capsys.readouterr().err
