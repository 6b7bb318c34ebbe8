"""`mmssl runs`: filters, differences, and one run shown, annotated and removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer
from tests.helpers.model_cases import write_toy

Cli = Callable[..., Answer]
SMALL = "--dataset toy --embedding-dim 8 --batch-size 32 --ks 3,5 --select-on recall@5 --epochs 1 --device cpu"


@pytest.fixture
def trained(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Three runs: two of MF that differ in the learning rate, and one of LightGCN."""
    monkeypatch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)
    write_toy(tmp_path / "data")
    for words in ("mf --lr 0.01", "mf --lr 0.02", "lightgcn"):
        assert cli("train", *SMALL.split(), "--model", *words.split()).code == 0
    return cli


def test_filters_and_differences(trained: Cli) -> None:
    listed = trained("runs", "--model", "MF", "--dataset", "TOY", "--status", "finished")
    ids = [
        run["run"] if "run" in run else run["id"] for run in json.loads(trained("runs", "--model", "mf", "--json").out)
    ]
    assert len(ids) == 2
    assert "lightgcn" not in listed.out
    assert "Runs of mf on toy differ in:" in listed.out
    assert [f"  {run}: lr {lr}" in listed.out for run, lr in zip(ids, ("0.02", "0.01"), strict=True)] == [True, True]
    assert "differ" not in trained("runs", "--model", "lightgcn").out
    assert trained("runs", "--status", "running").out == (
        "runs holds no runs of status running; it holds some of status finished.\n"
    )


def test_one_run_is_shown_annotated_and_removed(trained: Cli) -> None:
    [run] = json.loads(trained("runs", "--model", "lightgcn", "--json").out)
    noted = trained("runs", "note", run["id"], "first try\x1b[2J")
    assert (noted.code, noted.out) == (0, f"{run['id']}: first try\\x1b[2J\n")
    shown = trained("runs", "show", run["id"])
    assert all(word in shown.words for word in ("first try", "layers", "manifest-digest", "validation recall@5"))
    assert all(word in shown.words for word in ("best-epoch", "parameters", "peak-memory-bytes", "most epochs"))
    assert json.loads(trained("runs", "show", run["id"], "--json").out)["note"] == "first try\x1b[2J"
    assert trained("runs", "note", run["id"], "").out == f"The note of {run['id']} is removed.\n"
    assert trained("runs", "note", run["id"], "first try\x1b[2J").code == 0
    assert "first try" in trained("runs").out

    asked = trained("runs", "rm", run["id"])
    assert asked.code == 2 and f"add --yes to remove runs/{run['id']}" in asked.words
    assert (Path("runs") / run["id"]).is_dir()
    removed = trained("runs", "rm", run["id"], "--yes")
    assert (removed.code, removed.out) == (0, f"Removed runs/{run['id']}.\n")
    assert len(json.loads(trained("runs", "--json").out)) == 2
    assert not (Path("runs") / run["id"]).exists()


def test_a_folder_that_is_no_run_is_not_removed(cli: Cli) -> None:
    site = Path("site")
    site.mkdir()
    (site / "config.toml").write_text('title = "A web site"\n')
    refused = cli("runs", "rm", "./site", "--yes")
    assert refused.code == 1 and "lacks model, data set or provenance of the run" in refused.err
    assert (site / "config.toml").exists()


def test_a_damaged_run_can_be_removed(cli: Cli) -> None:
    folder = Path("runs/broken")
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("=")
    assert cli("runs", "rm", "broken", "--yes").code == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["shw"], "There is no action 'shw': did you mean show?"),
        (["rm"], "`mmssl runs rm` needs a run"),
        (["note", "latest"], "takes a note in quotes"),
        (["show", "none"], "There is no run 'none'"),
    ],
)
def test_wrong_actions(cli: Cli, words: list[str], sentence: str) -> None:
    answer = cli("runs", *words)
    assert answer.code == 2
    assert sentence in answer.err
