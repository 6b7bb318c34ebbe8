"""`mmssl controls` with real trainings: on the demo, whose features carry a planted signal, they must be worth much."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmssl_cli.config import build_settings
from mmssl_cli.studies.controls import control_settings
from tests.conftest import Answer
from tests.helpers.model_cases import write_toy

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
