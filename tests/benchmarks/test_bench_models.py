"""The benchmark of the models: all of them in turns, beside the figures of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import bench_models
from benchmarks.bench_models import read_others
from pipelines.errors import InputError

SHIPPED = Path(bench_models.__file__).with_name("mmrec_tiktok.csv")


def test_models_take_turns_and_are_shown_beside_others(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data", str(demo), "--models", "mf,bm3", "--epochs", "2", "--threads", "1", "--batch-size", "512"]
    bench_models.main([*flags, "--against", str(SHIPPED), "--json"])
    report = json.loads(capsys.readouterr().out)
    mf, bm3 = report["results"]
    assert (mf["model"], bm3["model"], report["sizes"]["batch"]) == ("mf", "bm3", 512)
    for result in (mf, bm3):
        assert 0 < result["seconds"]["low"] <= result["seconds"]["median"] <= result["seconds"]["high"]
        assert result["processor_seconds"]["median"] > 0 and result["peak_memory_bytes"] > 0
    assert "ratio" not in mf
    assert bm3["theirs"] == 1.7 and "MMRec" in bm3["source"]
    assert bm3["ratio"]["high"] == pytest.approx(1.7 / bm3["seconds"]["low"], rel=0.5)
    assert bm3["processor_ratio"]["low"] > 0


def test_the_shipped_figures_name_models_there_are() -> None:
    others = read_others(SHIPPED)
    assert set(others) <= set(bench_models.SETTINGS)
    assert others["lattice"]["seconds"] == 57
    assert all(other["source"] for other in others.values())


@pytest.mark.parametrize("text", ["model,seconds\nbm3,1\n", "model,seconds,source\nbm3,fast,here\n", None])
def test_files_with_nothing_to_compare_with_are_refused(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "others.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match="model, seconds and source"):
        read_others(path)


def test_an_unknown_model_is_refused_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench_models.main(["--models", "mf,lightgnc"])
    assert ended.value.code == 2
    assert "lightgcn" in capsys.readouterr().err
