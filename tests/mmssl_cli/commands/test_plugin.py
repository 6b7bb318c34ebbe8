"""`mmssl plugin` with real trainings, and Table 5 in the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmssl_cli.reporting.published import published_plugins
from tests.conftest import Answer
from tests.helpers.model_cases import write_toy

pytestmark = pytest.mark.usefixtures("inline_runs")

Cli = Callable[..., Answer]
FLAGS = ("--dataset", "toy", "--models", "slmrec,bm3", "--epochs", 2, "--ks", 5, "--select-on", "recall@5", "--runs", 2)


def test_each_model_is_trained_alone_and_with_either_module(cli: Cli, tmp_path: Path) -> None:
    write_toy(tmp_path / "data")
    answer = cli("plugin", *FLAGS, "--embedding-dim", 8, "--batch-size", 32, "--out", "out", "--json")
    assert answer.code == 0, answer.err
    section = json.loads(answer.out)
    table, tests = section["tables"]
    assert [(row["Model"], row["Plug-in"]) for row in table["rows"]] == [
        (model, kind) for model in ("slmrec", "bm3") for kind in ("plain", "+ASL", "+CL")
    ]
    labels = {f"{model} {kind}" for model in ("slmrec", "bm3") for kind in ("+ASL", "+CL")}
    assert {row["Model"] for row in tests["rows"]} == labels
    assert len(section["text"]) == 4
    assert any("Table 5" in path.read_text(encoding="utf-8") for path in Path("out").glob("*.md"))

    report = cli("report", "--out", "report", "--json")
    assert report.code == 0, report.err
    found = next(one for one in json.loads(report.out) if one["section"].startswith("MMSSL's modules"))
    by_model = sorted(table["rows"], key=lambda row: row["Model"])
    assert sorted(found["tables"][0]["rows"], key=lambda row: row["Model"]) == by_model


@pytest.mark.parametrize("command", ["plugin", "ablate"])
def test_the_named_metrics_are_shown(cli: Cli, tmp_path: Path, command: str) -> None:
    write_toy(tmp_path / "data")
    small = ("--dataset", "toy", "--embedding-dim", 8, "--batch-size", 32, "--epochs", 1, "--device", "cpu", "--json")
    at = json.loads(cli(command, *small, "--ks", "5,10", "--select-on", "recall@10").out)
    shown = {column for table in at["tables"] for row in table["rows"] for column in row}
    assert {"Recall@5", "Recall@10", "NDCG@5", "NDCG@10"} <= shown
    answer = cli(command, *small, "--ks", 20, "--metrics", "recall,mrr,coverage")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    columns = {column for table in told["tables"] for row in table["rows"] for column in row}
    assert {"Recall@20", "MRR@20", "Coverage@20"} <= columns and "NDCG@20" not in columns
    tested = next(table for table in told["tables"] if "p, users" in table["rows"][0])
    assert {row["Metric"] for row in tested["rows"]} == {"Recall@20", "MRR@20", "Coverage@20"}
    assert not any("Coverage" in sentence and "behind" in sentence for sentence in told["text"])


def test_the_published_rows_are_those_of_the_paper() -> None:
    assert published_plugins("tiktok") == {
        "slmrec": {
            "plain": {"recall@20": 0.0845, "precision@20": 0.0042, "ndcg@20": 0.0353},
            "+ASL": {"recall@20": 0.0871, "ndcg@20": 0.0366},
            "+CL": {"recall@20": 0.0853, "ndcg@20": 0.0359},
        }
    }
    assert published_plugins("toy") == {}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--models", "vbpr"), "Nothing can be plugged into 'vbpr': it has no projection of each modality"),
        (("--models", "lightgcn"), "Choose among lightgcn-m, lattice"),
        (("--models", "mmssl"), "it has both by itself"),
        (("--models", "grcn"), "it ranks by all modalities side by side"),
        (("--models", "damrs"), "it compares items by raw content"),
        (("--models", "mmgcn"), "it has layers of content of another size"),
        (("--models", "diffmm"), "it trains its denoisers"),
        (("--models", "slmrek"), "slmrec"),
        (("--dataset", "toy"), "has no modality here"),
    ],
)
def test_bad_input_is_answered(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    write_toy(tmp_path / "data", modalities={})
    answer = cli("plugin", *arguments)
    assert answer.code == 2 and sentence in answer.words, answer
