"""`mmssl compare` with real trainings on a small data set."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from mmssl_cli.runs.folder import RunFolder
from tests.conftest import Answer
from tests.helpers.model_cases import write_toy

Cli = Callable[..., Answer]
SMALL = [
    "--dataset",
    "toy",
    "--embedding-dim",
    "8",
    "--batch-size",
    "32",
    "--epochs",
    "2",
    "--device",
    "cpu",
    "--ks",
    "5,20",
]


@pytest.fixture
def compare(cli: Cli, tmp_path: Path) -> Cli:
    write_toy(tmp_path / "data")
    return lambda *arguments: cli("compare", *SMALL, *arguments)


def test_models_are_compared_and_one_that_fails_does_not_stop_the_rest(compare: Cli) -> None:
    answer = compare("--models", "mf", "lightgcn", "--runs", 2, "--jobs", 2, "--json", "--out", "out")
    assert answer.code == 0, answer.err
    table = json.loads(answer.out)["tables"][0]["rows"]
    assert {row["Model"] for row in table} == {"mf", "lightgcn"}
    saved = [RunFolder.open(path) for path in Path("runs").iterdir()]
    for row in table:
        values = [run.read_result()["test"]["recall@20"] for run in saved if run.read_result()["model"] == row["Model"]]
        assert row["Recall@20"] == pytest.approx(statistics.mean(values))
        assert row["Recall@20 deviation"] == pytest.approx(statistics.stdev(values))
    assert Path("out/tables/table2-comparison-toy.csv").exists() and Path("out/comparison-toy.tex").exists()

    failing = compare("--models", "lightgcn,mf,ngcf", "--layers", 0, "--dry-run", "--json")
    status_of = {run["run"].split()[0]: run["status"] for run in json.loads(failing.out)["runs"]}
    assert status_of == {"lightgcn": "missing", "mf": "finished", "ngcf": "missing"}
    mishap = compare("--models", "mf,lightgcn", "--lr", "1e30")
    assert mishap.code == 1 and "failed" in mishap.err and "log.jsonl" in mishap.err
    assert not mishap.out  # no heading without results


@pytest.mark.usefixtures("inline_runs")
def test_no_other_model_is_tested_where_the_reference_failed(compare: Cli) -> None:
    Path("broken.toml").write_text('model = "mf"\nlr = 1e30\n')
    mishap = compare("--models", "lightgcn,pop,mf", "--reference", "mf", "--config", "broken.toml")
    assert mishap.code == 1
    assert "No run of --reference mf is finished, so the tests against it are left out." in mishap.words
    assert "Test metrics on toy" in mishap.words and "against the other models" not in mishap.words


@pytest.mark.usefixtures("inline_runs")
def test_one_model_is_tested_against_each_other_and_finished_runs_are_ranked_again(compare: Cli) -> None:
    plain = compare("--models", "mf,lightgcn,pop", "--runs", 2)
    assert plain.code == 0 and " against the other models on toy" in plain.words, plain.words
    saved = sorted(path.name for path in Path("runs").iterdir() if path.is_dir())

    metrics = ("--metrics", "mrr,coverage,similarity")
    answer = compare("--models", "mf,lightgcn,pop", "--runs", 2, "--reference", "mf", *metrics, "--json")

    assert answer.code == 0, answer.err
    assert sorted(path.name for path in Path("runs").iterdir() if path.is_dir()) == saved
    accuracy, tests = json.loads(answer.out)["tables"][:2]
    assert {"MRR@20", "Coverage@20", "Similarity@20"} <= set(accuracy["rows"][0]) and "Recall@20" not in accuracy[
        "rows"
    ][0]
    assert all(0 < row["Coverage@20"] <= 1 for row in accuracy["rows"])
    assert {row["Against"] for row in tests["rows"]} == {"lightgcn", "pop"}
    by_metric = {row["Metric"]: row for row in tests["rows"] if row["Against"] == "lightgcn"}
    values = {row["Model"]: row["MRR@20"] for row in accuracy["rows"]}
    assert by_metric["MRR@20"]["Difference"] == pytest.approx(values["mf"] / values["lightgcn"] - 1)
    assert by_metric["Coverage@20"]["p, users"] is None  # of all lists together
    assert (
        by_metric["Coverage@20"]["Interval, absolute low"] is None
        and len({frozenset(row) for row in tests["rows"]}) == 1
    )
    for row in tests["rows"]:
        assert row["Holm, seeds"] is None or row["Holm, seeds"] >= row["p, seeds"]
    again = compare("--models", "mf", "--metrics", "mrr", "--select-on", "mrr@5", "--json")
    run = json.loads(again.out)["tables"][0]["rows"][0]
    assert run["MRR@5"] >= 0 and run["Validation"] >= 0


def test_all_models_are_those_the_data_have_enough_for(compare: Cli) -> None:
    planned = json.loads(compare("--dry-run", "--json").out)["runs"]
    names = {run["run"].split()[0] for run in planned}
    assert {"mmssl", "mf", "vbpr"} <= names
    bare = compare("--models", "all", "--modalities", "none", "--dry-run", "--json")
    without = {run["run"].split()[0] for run in json.loads(bare.out)["runs"]}
    assert {"mmssl", "mf", "lightgcn"} <= without and "vbpr" not in without
    assert "Left out, as --modalities none leaves them without item features: " in bare.err and "vbpr" in bare.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--models", "lightgcm"), "did you mean lightgcn"),
        (("--models", "all,mf"), "or names of models, not both"),
        (("--models", "mf,pop", "--reference", "lightgcn"), "--reference 'lightgcn' is none of the compared models"),
        (("--models", "mf", "--metrics", "mmr"), "there is no metric 'mmr': did you mean mrr"),
        (
            ("--models", "mf", "--select-on", "coverage@20"),
            "expected recall@K, precision@K, ndcg@K, hit@K, mrr@K or map@K",
        ),
        (("--models", "mf", "--layers", 2), "Model 'mf' has no setting 'layers'"),
        (("--out", "data/toy/manifest.json"), "manifest.json"),
    ],
)
def test_bad_input_is_answered_before_anything_is_trained(
    compare: Cli, arguments: tuple[str, ...], sentence: str
) -> None:
    answer = compare(*arguments)
    assert answer.code in (1, 2) and sentence in answer.words, answer
    assert not Path("runs").exists()
