"""`mmssl sparsity` on a small data set: what is reused, what is trained, what is shown and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from mmssl_cli.app import app
from mmssl_cli.runs.listing import list_runs
from pipelines.sources import demo
from tests.conftest import Answer
from tests.helpers.shared_folder import made_once

pytestmark = pytest.mark.usefixtures("inline_runs")

Cli = Callable[..., Answer]
FLAGS = ("--epochs", "1", "--ks", "5,20", "--embedding-dim", "8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo of 60 users, prepared, and a run of mmssl and one of lightgcn on it."""
    return made_once(tmp_path_factory, "sparsity", _train)


def _train(folder: Path) -> None:
    places = ["--data-dir", str(folder / "data"), "--runs-dir", str(folder / "runs")]
    generate = demo.generate_shop
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "generate_shop", lambda seed: generate(seed, num_users=60, num_items=80))
        patch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)
        for model in ("mmssl", "lightgcn"):
            answer = CliRunner().invoke(app, ["train", "--model", model, *FLAGS, *places], prog_name="mmssl")
            assert answer.exit_code == 0, answer.output


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """The same, to be written to; the command line runs in it."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (folder / "runs").glob("*/*.parquet")}


def test_finished_runs_are_read_and_none_is_trained(cli: Cli, folder: Path) -> None:
    runs = {run.id for run in list_runs(folder / "runs")}
    answer = cli("sparsity", "--runs-of", "mmssl", "lightgcn", *FLAGS, "--buckets", "0,4,6,100", "--json")
    assert answer.code == 0, answer.err
    users, _, items = json.loads(answer.out)["tables"]
    assert {run.id for run in list_runs(folder / "runs")} == runs

    for row, model in ((1, "mmssl"), (2, "lightgcn")):
        [path] = (folder / "runs").glob(f"*-{model}-*")
        table = pd.read_parquet(path / "per_user.parquet")
        for label, low, high in (("[0, 4)", 0, 3), ("[4, 6)", 4, 5), ("[6, 100]", 6, 100)):
            inside = [u["ndcg@20"] for _, u in table.iterrows() if low <= u["train_degree"] <= high]
            assert users["rows"][0][label] == len(inside) > 0
            assert users["rows"][row][label] == pytest.approx(sum(inside) / len(inside))

        counts = pd.read_parquet(path / "per_item.parquet")
        for k in (5, 20):
            assert counts[f"hits@{k}"].sum() == pytest.approx((table[f"precision@{k}"] * k).sum())
            assert counts[f"recommended@{k}"].sum() == k * len(table)
        covered = 100 * (counts["recommended@20"] > 0).mean()
        assert items["rows"][row - 1]["Items recommended (%)"] == pytest.approx(covered)

    before = _files(folder)
    again = cli("sparsity", "--runs-of", "mmssl,lightgcn", *FLAGS, "--buckets", "0,4,6,100", "--json")
    assert (again.code, json.loads(again.out)) == (0, json.loads(answer.out))
    assert _files(folder) == before


def test_another_metric_and_its_k(cli: Cli, folder: Path) -> None:
    answer = cli("sparsity", "lightgcn", *FLAGS, "--metric", "Recall@5", "--json")
    users, items = json.loads(answer.out)["tables"]
    assert "Recall@5 by training items" in users["table"]
    assert "first 5 of each test user" in items["table"]
    [path] = (folder / "runs").glob("*-lightgcn-*")
    table = pd.read_parquet(path / "per_user.parquet")
    counts, means = list(users["rows"][0].values())[1:], list(users["rows"][1].values())[1:]
    whole = sum(count * mean for count, mean in zip(counts, means, strict=True)) / sum(counts)
    assert sum(counts) == len(table)  # the default buckets hold everyone
    assert whole == pytest.approx(table["recall@5"].mean())


def test_what_has_no_run_is_trained_and_stands_beside_the_rest(cli: Cli, folder: Path) -> None:
    before = {run.id for run in list_runs(folder / "runs")}
    planned = cli("sparsity", *FLAGS, "mf", "mmssl", "--dry-run")
    assert planned.code == 0, planned.err
    assert "missing" in planned.out and "finished" in planned.out
    assert {run.id for run in list_runs(folder / "runs")} == before

    answer = cli("sparsity", "mf", "mmssl", *FLAGS, "--out", "results")
    assert answer.code == 0, answer.err
    [new] = [run for run in list_runs(folder / "runs") if run.id not in before]
    assert (new.model, new.status) == ("mf", "finished")
    assert "mmssl over mf" in answer.out
    names = {path.name for path in (folder / "results").rglob("*")}
    assert {"table4-sparsity-demo.csv", "figure1a-users-demo.svg", "figure1bc-items-demo.svg"} <= names

    # What has runs of these settings is compared without being named.
    rows = json.loads(cli("sparsity", *FLAGS, "--json").out)["tables"][0]["rows"]
    assert [row["Model"] for row in rows] == ["test users", "mmssl", "mf", "lightgcn"]


def test_a_damaged_run_is_trained_again_and_the_rest_kept(cli: Cli, folder: Path) -> None:
    [torn] = (folder / "runs").glob("*-lightgcn-*")
    [kept] = (folder / "runs").glob("*-mmssl-*")
    (torn / "per_user.parquet").write_bytes(b"torn")
    answer = cli("sparsity", "mmssl", "lightgcn", *FLAGS, "--json")
    assert answer.code == 0, answer.err
    assert torn.name in answer.err
    assert {run.id for run in list_runs(folder / "runs") if run.model == "mmssl"} == {kept.name}
    assert len([run for run in list_runs(folder / "runs") if run.model == "lightgcn"]) == 2


def test_a_variant_is_named_with_its_model(cli: Cli, folder: Path) -> None:
    planned = cli("sparsity", "--runs-of", "mmssl:w/o-CL", "mmssl", *FLAGS, "--dry-run")
    assert planned.code == 0, planned.err
    assert "mmssl (w/o-CL) on demo" in planned.words


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--metric", "ndgc@20"], 2, "There is no metric 'ndgc@20': expected one of recall, precision, ndcg"),
        (["--metric", "ndcg@0"], 2, "There is no metric 'ndcg@0'"),
        (["--metric", "ndcg@7", "--ks", "5,20"], 2, "ndcg@7 is not measured: the cut-offs of mmssl are 5,20; add"),
        (["--buckets", "0,6,4"], 2, "The buckets 0,6,4 are not valid"),
        (["--buckets", "few"], 2, "buckets cannot be 'few'"),
        (["--buckets", "5000,6000"], 1, "No test user of data set 'demo' is in the buckets 5000,6000"),
        (["--runs-of", "mmsl"], 2, "There is no model 'mmsl': did you mean mmssl or"),
        (["mf:w/o-CL"], 2, "Model 'mf' has no variants"),
        (["mmssl:w/o-CLL"], 2, "There is no variant 'w/o-CLL' of mmssl: did you mean w/o-CL"),
        (["mf", "lightgcn", "--heads", "2"], 2, "None of mf, lightgcn has a setting 'heads'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    cli: Cli, folder: Path, arguments: list[str], code: int, sentence: str
) -> None:
    before = {run.id for run in list_runs(folder / "runs")}
    answer = cli("sparsity", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert sentence in answer.words
    assert {run.id for run in list_runs(folder / "runs")} == before


def test_a_flag_reaches_the_models_that_have_it(cli: Cli, folder: Path) -> None:
    planned = cli("sparsity", "mmssl", "lightgcn", *FLAGS, "--heads", "2", "--dry-run")
    assert planned.code == 0, planned.err
    stands = {line.split()[0]: line for line in planned.out.splitlines() if " on demo, seed" in line}
    assert "missing" in stands["mmssl"] and "finished" in stands["lightgcn"]


def test_items_may_be_averaged_over_the_epochs_and_a_resumed_run_ends_with_the_same(cli: Cli, folder: Path) -> None:
    flags = ("--model", "lightgcn", "--ks", "5,20", "--embedding-dim", "8", "--seed", "7", "--item-epochs")
    tables = []
    for runs, first in (("whole", 3), ("resumed", 2)):
        assert cli("train", *flags, "--epochs", first, "--runs-dir", runs).code == 0
        if first == 2:
            assert cli("train", "--resume", "latest", "--epochs", 3, "--runs-dir", runs).code == 0
        [path] = Path(runs).glob("*/per_item_epochs.parquet")
        tables.append(pd.read_parquet(path))
    whole, resumed = tables
    pd.testing.assert_frame_equal(whole, resumed)
    assert (whole["epochs"] == 3).all()
    assert (whole["hits@5"] <= whole["hits@20"]).all() and (whole["hits@20"] <= 3 * whole["relevant"]).all()
    records = pd.concat(pd.read_parquet(path) for path in Path("whole").glob("*/metrics.parquet"))
    assert whole["hits@20"].sum() > 0 and len(records) == 3

    answer = cli("sparsity", "--models", "lightgcn", *flags[2:], "--epochs", 3, "--runs-dir", "whole", "--out", "out")
    assert answer.code == 0, answer.err
    [written] = Path("out").glob("*.md")
    assert "Averaged over all validated epochs, as in the paper: lightgcn." in " ".join(written.read_text().split())
    plain = cli("sparsity", "--models", "lightgcn", *FLAGS, "--out", "plain")
    assert plain.code == 0, plain.err
    [written] = Path("plain").glob("*.md")
    assert "Of the selected epoch; --item-epochs averages" in " ".join(written.read_text().split())
