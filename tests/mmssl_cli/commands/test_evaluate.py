"""`mmssl evaluate` on a run with known rankings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mmssl_cli.runs.folder import RunFolder
from tests.conftest import Answer
from tests.helpers.known_run import PROVENANCE, prepare_shop

Cli = Callable[..., Answer]


def test_evaluate_ranks_all_items_but_those_of_training(cli: Cli, run: RunFolder) -> None:
    answer = cli("evaluate", "latest", "--json")

    result = json.loads(answer.out)
    assert (result["run"], result["split"], result["users"]) == (run.id, "test", 2)
    # ann's list without item 0: 1, 2, ...; bob's: 0, 1, 2, 3. Only ann's item 2 is among the first two.
    assert result["metrics"]["recall@1"] == 0.0
    assert result["metrics"]["recall@2"] == 0.5
    assert result["metrics"]["precision@2"] == 0.25
    assert result["metrics"]["ndcg@2"] == pytest.approx(0.5 / np.log2(3))
    assert set(result["metrics"]) == {f"{name}@{k}" for name in ("recall", "precision", "ndcg") for k in (1, 2)}


def test_evaluate_on_the_other_split_at_other_cutoffs(cli: Cli, run: RunFolder) -> None:
    answer = cli("evaluate", run.id[:9], "--split", "validation", "--ks", "4, 1", "--json")

    metrics = json.loads(answer.out)["metrics"]
    assert set(metrics) == {f"{name}@{k}" for name in ("recall", "precision", "ndcg") for k in (1, 4)}
    assert metrics["recall@1"] == 1.0


def test_evaluate_shows_a_table_and_writes_each_users_metrics(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    answer = cli("evaluate", run.path, "--out", "users.parquet")

    lines = [line.split() for line in answer.out.splitlines()]
    assert ["K", "Recall", "Precision", "NDCG"] in lines
    assert ["2", "0.5000", "0.2500", "0.3155"] in lines
    assert answer.out.splitlines()[0].rstrip() == f"lightgcn on shop, test, 2 users, run {run.id}"
    table = pd.read_parquet(tmp_path / "users.parquet")
    assert table["user"].tolist() == [0, 1]
    assert table["id"].tolist() == ["ann", "bob"]
    assert table["train_degree"].tolist() == [1, 2]
    assert table["recall@2"].tolist() == [1.0, 0.0]


def test_evaluate_writes_csv_and_json_lines(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    for file in ("users.csv", "users.jsonl"):
        assert cli("evaluate", "latest", "--ks", "2", "--metrics", "recall", "--out", file).code == 0

    assert (tmp_path / "users.csv").read_text() == "user,id,train_degree,recall@2\n0,ann,1,1.0\n1,bob,2,0.0\n"
    parsed = [json.loads(line) for line in (tmp_path / "users.jsonl").read_text().splitlines()]
    assert parsed[0] == {"user": 0, "id": "ann", "train_degree": 1, "recall@2": 1.0}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--split", "tset"], 2, "There is no split 'tset' to evaluate on: did you mean test?"),
        (["--ks", "ten"], 2, "ks cannot be 'ten': expected cut-offs of at least 1, such as 10,20,50."),
        (["--ks", "0"], 2, "ks cannot be '0'"),
        (["--ks", "1" * 5000], 2, "expected cut-offs of at least 1, such as 10,20,50."),
        (["--ks", "7"], 2, "K is 7, but the data set has 6 items; choose a K from 1 to 6."),
        (["--out", "data"], 2, "--out cannot be 'data': expected a file that ends in .parquet, .csv or .jsonl."),
        (["--metrics", "coverage,gini", "--out", "q.csv"], 2, "metrics of each user, and coverage and gini have none"),
        (["--out", "data/shop/manifest.json/users.csv"], 1, "Cannot write data/shop/manifest.json/users.csv"),
    ],
)
def test_evaluate_answers_wrong_input_with_a_sentence(
    cli: Cli, run: RunFolder, arguments: list[str], code: int, sentence: str
) -> None:
    answer = cli("evaluate", "latest", *arguments)

    assert answer.code == code
    assert sentence in answer.words
    assert answer.out == ""


def test_evaluate_on_a_run_that_is_not_there_or_torn(cli: Cli, run: RunFolder) -> None:
    unknown = cli("evaluate", "20260101-000000-shop-lightgcn-s2")
    assert unknown.code == 2
    assert f"did you mean {run.id}?" in unknown.words

    (run.path / "model.safetensors").write_bytes(b"torn")
    torn = cli("evaluate", "latest")
    assert torn.code == 1
    assert "model.safetensors is damaged or truncated; train the run again." in torn.words


def test_published_numbers_stand_beside_test_metrics_at_20(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    prepare_shop(tmp_path / "data", "tiktok", num_items=25)
    config = 'model = "mmssl"\nvariant = "w/o-GT"\ndataset = "tiktok"\nks = [20]\n' + PROVENANCE
    tiktok = RunFolder.create(run.path.parent, "tiktok", config)
    tiktok.save_model({"users": torch.ones(3, 1), "items": torch.arange(25, 0, -1).float().reshape(25, 1)})

    lines = [line.split() for line in cli("evaluate", "tiktok").out.splitlines()]

    assert ["MMHCL", "0.1139", "-", "0.0492"] in [line[:4] for line in lines]
    ours = [line for line in lines if line[:2] == ["mmssl", "(w/o-GT)"]][-1]  # the title begins with it too
    assert (ours[2], ours[-2:]) == ("1.0000", ["this", "run"])
    assert "MMHCL" not in cli("evaluate", "tiktok", "--split", "validation").out
    assert "MMHCL" not in cli("evaluate", "tiktok", "--ks", "10").out
    assert "MMHCL" not in cli("evaluate", run.id).out


def test_a_title_is_one_line_on_a_narrow_screen(cli: Cli, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert cli("evaluate", run.id).out.splitlines()[0].rstrip() == f"lightgcn on shop, test, 2 users, run {run.id}"
