"""Every command of the evaluation on the demo, one after the other: from nothing, again, and after a mishap."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer

Command = Callable[..., Answer]
SHORT = ("--dataset", "demo", "--epochs", 1)


def runs_in(folder: Path) -> dict[str, str]:
    """The runs of a folder: id -> the content of result.json."""
    return {path.parent.name: path.read_text() for path in folder.glob("*/result.json")}


@pytest.mark.slow
@pytest.mark.usefixtures("inline_runs")
def test_from_nothing_to_the_report_again_and_after_damage(process: Command, cli: Command, tmp_path: Path) -> None:
    first = process("ablate", *SHORT, "--jobs", 2, "--json")
    assert first.code == 0, first.err
    assert "5 runs: 5 to train" in first.err
    table = json.loads(first.out)["tables"][0]["rows"]
    assert [row["Variant"] for row in table] == ["full", "w/o-ASL", "w/o-CL", "w/o-GT", "r/p-GAE"]
    runs = runs_in(tmp_path / "runs")
    assert len(runs) == 5

    again = cli("ablate", *SHORT, "--json")
    assert again.code == 0 and again.out == first.out and "5 runs: 5 finished before" in again.err
    assert runs_in(tmp_path / "runs") == runs

    sparsity = cli("sparsity", *SHORT, "--runs-of", "mmssl", "lightgcn", "--json")
    assert sparsity.code == 0, sparsity.err
    assert "2 runs: 1 finished before, 1 to train" in sparsity.err
    sweep = cli("sweep", *SHORT, "--param", "layers=1,3", "--json")
    assert sweep.code == 0, sweep.err
    assert "2 runs: 1 finished before, 1 to train" in sweep.err
    for command in ("sweep --param layers=1,3", "sparsity --runs-of mmssl lightgcn"):
        reused = cli(*command.split(), *SHORT, "--json")
        assert reused.code == 0 and "2 runs: 2 finished before" in reused.err, reused.err
        assert reused.out == (sweep if command.startswith("sweep") else sparsity).out
    curves = cli("curves", "--dataset", "demo", "--out", "curves")
    assert curves.code == 0 and list((tmp_path / "curves/figures").glob("figure3-*.svg")), curves.err
    analyze = cli("analyze", "--no-cost", "--users", 50)
    assert analyze.code == 0, analyze.err
    runs = runs_in(tmp_path / "runs")
    assert len(runs) == 7

    report = cli("report")
    assert report.code == 0, report.err
    assert "gradients, transferability" not in report.out and "--param layers=2,4 " in report.out
    with (tmp_path / "report/tables/table3-ablation-demo-recall-20.csv").open(newline="") as file:
        shown = {row["Variant"]: float(row["Recall@20"]) for row in csv.DictReader(file)}
    variant_of = {json.loads(text)["variant"]: json.loads(text)["test"]["recall@20"] for text in runs.values()}
    assert set(shown) == {"full", "w/o-ASL", "w/o-CL", "w/o-GT", "r/p-GAE"}
    assert all(shown[variant] == variant_of[variant] for variant in shown if variant != "full")

    [damaged] = [run for run in runs if "w-o-GT" in run]
    weights = tmp_path / "runs" / damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    mended = cli("ablate", *SHORT, "--json")
    assert mended.code == 0, mended.err
    assert re.search(rf"Run {damaged} .*damaged", mended.err) and "4 finished before, 1 to train" in mended.err
    assert json.loads(mended.out)["tables"][0]["rows"] == table
    kept = runs_in(tmp_path / "runs")
    assert len(kept) == 8 and all(kept[run] == runs[run] for run in runs)
