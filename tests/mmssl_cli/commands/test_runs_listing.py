"""`mmssl runs` on runs that are there, unfinished or missing."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from mmssl_cli.runs.folder import RunFolder
from tests.conftest import Answer
from tests.helpers.known_run import PROVENANCE

Cli = Callable[..., Answer]


def _finished(run: RunFolder) -> None:
    run.write_result(
        {
            "status": "stopped",
            "model": "lightgcn",
            "dataset": "shop",
            "seed": 1,
            "epochs": 8,
            "best_epoch": 5,
            "seconds_per_epoch": 2.5,
            "validation": {"recall@20": 0.25},
            "test": {"recall@20": 0.2, "ndcg@20": 0.125},
        }
    )


def test_runs_lists_what_there_is(cli: Cli, run: RunFolder) -> None:
    _finished(run)
    torn = RunFolder.create(run.path.parent, "torn", "model =")

    answer = cli("runs")

    rows = {line.split()[0]: line.split()[1:] for line in answer.out.splitlines() if line.strip()}
    scores = ["8", "0.2500", "0.2000", "0.1250", "20.0"]
    assert rows[run.id] == ["lightgcn", "shop", "stopped", *scores]
    assert rows[torn.id][0] == "is"  # the sentence below the table
    assert "torn is damaged: " in answer.out
    records = {record["id"]: record for record in json.loads(cli("runs", "--json").out)}
    assert records[run.id]["test"] == {"recall@20": 0.2, "ndcg@20": 0.125}
    assert records[run.id]["seconds"] == 20.0
    assert records["torn"]["status"] == "damaged"


def test_runs_that_stopped_early_are_finished_too(cli: Cli, run: RunFolder) -> None:
    _finished(run)
    for status, found in (("finished", [run.id]), ("Stopped", [run.id]), ("diverged", [])):
        assert [one["id"] for one in json.loads(cli("runs", "--status", status, "--json").out)] == found
    refused = cli("runs", "--status", "finishd")
    assert refused.code == 2 and "--status cannot be 'finishd': did you mean finished" in refused.words


def test_damaged_runs_are_listed_whatever_their_data_set(cli: Cli, run: RunFolder) -> None:
    _finished(run)
    RunFolder.create(run.path.parent, "torn", "model =")
    for flags in (["--dataset", "shop"], ["--model", "lightgcn"], ["--dataset", "shop", "--status", "damaged"]):
        found = [one["id"] for one in json.loads(cli("runs", *flags, "--json").out)]
        assert "torn" in found and (run.id in found) == ("--status" not in flags)


@pytest.mark.parametrize("columns", [50, 80, 300])
def test_the_id_of_a_run_is_on_one_line_however_narrow_the_terminal(
    cli: Cli, run: RunFolder, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    _finished(run)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    lines = cli("runs").out.splitlines()
    assert sum(run.id in line for line in lines) == 1
    scores = next(line for line in lines if "0.2500" in line)
    assert ("recall@20 0.2500 / 0.2000" in scores) == (columns == 50)


def test_runs_that_are_not_there_are_said_beside_those_that_are(cli: Cli, run: RunFolder) -> None:
    _finished(run)
    answer = cli("runs", "--model", "mff", "--dataset", "shop")
    assert answer.code == 0
    assert (
        "runs holds no runs of dataset shop, model mff; it holds some of dataset shop; model lightgcn." in answer.words
    )


def test_runs_on_two_preparations_of_a_data_set_are_told_apart(cli: Cli, run: RunFolder) -> None:
    config = (run.path / "config.toml").read_text()
    assert "differ in" not in cli("runs").out
    RunFolder.create(run.path.parent, "other", config.replace('manifest_digest = ""', 'manifest_digest = "f"'))
    assert f"{run.id}: preparation of the data " in cli("runs").words


def test_why_a_run_failed_is_listed(cli: Cli, run: RunFolder) -> None:
    run.append_log({"event": "failed", "problem": "name 'x' is not defined"})
    assert f"{run.id} failed: name 'x' is not defined" in cli("runs", "--status", "failed").words
    assert run.id not in cli("runs", "--status", "interrupted").out
    run.append_log({"event": "start"})
    assert "failed" not in cli("runs").out
    (run.path / "log.jsonl").write_text("{")
    assert "failed" not in cli("runs").out


def test_runs_show_the_metrics_that_selected_them(cli: Cli, run: RunFolder) -> None:
    _finished(run)
    config = 'model = "mf"\ndataset = "shop"\nselect-on = "ndcg@5"\nks = [5]\n' + PROVENANCE
    other = RunFolder.create(run.path.parent, "other", config)
    result = {**run.read_result(), "validation": {"ndcg@5": 0.5}, "test": {"ndcg@5": 0.375, "recall@5": 0.75}}
    other.write_result({**result, "model": "mf"})

    lines = [line.split() for line in cli("runs").out.splitlines()]

    assert lines[0] == ["Val", "Val", "Test", "Test", "Test", "Test"]
    headers = lines[1][lines[1].index("Epochs") + 1 : -1]
    shown = {line[0]: dict(zip(enumerate(headers), line[-7:-1], strict=True)) for line in lines[2:]}
    assert {name: value for name, value in shown["other"].items() if value != "-"} == {
        (headers.index("NDCG@5"), "NDCG@5"): "0.5000",
        (headers.index("NDCG@5", 2), "NDCG@5"): "0.3750",
        (headers.index("Recall@5"), "Recall@5"): "0.7500",
    }
    assert {name: value for name, value in shown[run.id].items() if value != "-"} == {
        (headers.index("Recall@20"), "Recall@20"): "0.2500",
        (headers.index("Recall@20", 2), "Recall@20"): "0.2000",
        (headers.index("NDCG@20"), "NDCG@20"): "0.1250",
    }


def test_runs_show_the_best_validation_of_a_run_that_is_not_over(cli: Cli, run: RunFolder) -> None:
    def row() -> list[str]:
        return next(line.split() for line in cli("runs").out.splitlines() if line.startswith(run.id))

    epochs = [{"epoch": epoch, "seconds": 1.5} for epoch in range(1, 5)]
    run.write_metrics(epochs[:1])
    assert row()[4:6] == ["1", "-"]
    for epoch, score in ((2, 0.25), (3, 0.125)):
        epochs[epoch - 1] |= {"validation/recall@20": score, "validation/ndcg@20": score / 2}
    run.write_metrics(epochs)
    assert row()[3:] == ["interrupted", "4", "0.2500", "-", "-", "6.0"]
    with run.lock():
        [record] = json.loads(cli("runs", "--json").out)
    assert (record["status"], record["validation"]) == ("running", {"recall@20": 0.25, "ndcg@20": 0.125})


def test_runs_of_an_empty_folder(cli: Cli) -> None:
    assert cli("runs").out == "runs holds no runs; `mmssl train` makes one.\n"
    assert json.loads(cli("runs", "--json", "--runs-dir", "elsewhere").out) == []
