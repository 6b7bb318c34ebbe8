"""`mmssl controls` with real trainings: on the demo, whose features carry a planted signal, they must be worth much."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmssl_cli.config import build_settings
from mmssl_cli.config.forms import control_settings
from tests.conftest import Answer
from tests.helpers.model_cases import write_toy
from tests.helpers.written_runs import write_run

pytestmark = pytest.mark.usefixtures("inline_runs")

Cli = Callable[..., Answer]


def test_features_that_carry_a_signal_are_worth_it(cli: Cli, demo: Path) -> None:
    flags = ("--dataset", "demo", "--data-dir", demo.parent, "--models", "mmssl", "--epochs", 6, "--runs", 2)
    answer = cli("controls", *flags, "--out", "out", "--json")
    assert answer.code == 0, answer.err
    table, tests = json.loads(answer.out)["tables"]
    recall = {row["Features"]: row["Recall@20"] for row in table["rows"]}
    assert set(recall) == {"real", "shuffled", "noise", "none"}
    assert recall["real"] > 1.15 * max(recall[kind] for kind in ("shuffled", "noise", "none"))
    assert {row["Features"] for row in tests["rows"]} == {f"mmssl, {kind}" for kind in ("shuffled", "noise", "none")}
    assert all(row["p, users"] <= row["Holm, users"] for row in tests["rows"])
    assert Path("out/figures/figure-controls-demo.svg").is_file()
    again = cli("controls", *flags, "--dry-run")
    assert again.code == 0 and "8 finished" in again.words, again.words


@pytest.mark.usefixtures("inline_runs")
def test_the_named_metrics_are_shown_and_the_sentences_have_corrected_p_values(cli: Cli, tmp_path: Path) -> None:
    write_toy(tmp_path / "data")
    small = ("--dataset", "toy", "--embedding-dim", 8, "--batch-size", 32, "--epochs", 1, "--ks", 20, "--device", "cpu")
    answer = cli("controls", *small, "--runs", 2, "--metrics", "recall,mrr", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    table, tests = told["tables"]
    names = ("Recall@20", "MRR@20", "Validation")
    assert list(table["rows"][0])[3:] == [column for name in names for column in (name, f"{name} deviation")]
    assert {row["Metric"] for row in tests["rows"]} == {"Recall@20", "MRR@20"}
    for row in tests["rows"][:3]:
        kind = row["Features"].removeprefix("mmssl, ")
        seeds = row["Holm, seeds"]  # None where both seeds have the same difference
        over_seeds = "seed variance untested" if seeds is None else f"{seeds:.2g} over seeds"
        p_values = f"p = {row['Holm, users']:.2g} over users, {over_seeds}"
        assert f"{kind} {row['Difference']:+.1%}".replace("%", "\N{NO-BREAK SPACE}%") in told["text"][0]
        assert p_values in told["text"][0]


def test_the_report_shows_finished_controls_and_never_takes_them_for_the_model(cli: Cli) -> None:
    trained: list[tuple[dict[str, object], float]] = [
        ({"model": "mmssl"}, 0.3),
        ({"model": "mmssl", "feature_control": "shuffled"}, 0.5),
        ({"model": "mmssl", "feature_control": "noise"}, 0.4),
        ({"model": "mmssl", "modalities": ()}, 0.2),
        ({"model": "lattice"}, 0.25),
        ({"model": "lattice", "feature_control": "noise"}, 0.6),
        ({"model": "lightgcn"}, 0.1),
    ]
    for settings, score in trained:
        write_run(Path("runs"), settings=settings, scores=[score], test=score)

    answer = cli("report", "--json")

    assert answer.code == 0, answer.err
    sections = {section["section"]: section["tables"] for section in json.loads(answer.out)}
    models = [row["Model"] for row in sections["Comparison on demo (the paper's Table 2)"][0]["rows"]]
    assert models == ["lightgcn", "lattice", "mmssl"]
    controls, tests = sections["Worth of the item features on demo"]
    shown = {(row["Model"], row["Features"]): row["Recall@20"] for row in controls["rows"]}
    assert shown == {
        ("lattice", "real"): 0.25,
        ("lattice", "noise"): 0.6,
        ("mmssl", "real"): 0.3,
        ("mmssl", "shuffled"): 0.5,
        ("mmssl", "noise"): 0.4,
        ("mmssl", "none"): 0.2,
    }
    assert {row["Features"] for row in tests["rows"]} == {f"{model}, {kind}" for model, kind in shown if kind != "real"}
    listed = [row["Model"] for row in sections["Provenance of demo"][1]["rows"]]
    assert "mmssl (shuffled features)" in listed and "lattice (noise features)" in listed


def test_a_model_that_needs_features_has_no_row_without_them() -> None:
    assert list(control_settings(build_settings({"model": "vbpr"}))) == ["real", "shuffled", "noise"]
    assert list(control_settings(build_settings({"model": "mmssl"}))) == ["real", "shuffled", "noise", "none"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--models", "lightgcn"), "uses no item features"),
        (("--models", "mmsl"), "mmssl"),
        (("--dataset", "toy"), "has no item features to control"),
    ],
)
def test_bad_input_is_answered(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    write_toy(tmp_path / "data", modalities={})
    answer = cli("controls", *arguments)
    assert answer.code == 2 and sentence in answer.words, answer
