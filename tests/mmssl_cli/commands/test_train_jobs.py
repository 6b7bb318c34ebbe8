"""`mmssl train --runs N --jobs M`: seeds that are trained at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer
from tests.helpers.model_cases import write_toy

Cli = Callable[..., Answer]
FLAGS = ("--model", "mf", "--dataset", "toy", "--embedding-dim", 8, "--epochs", 2, "--ks", 5, "--select-on", "recall@5")


def test_seeds_trained_at_once_have_the_numbers_of_those_trained_in_turn(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)
    write_toy(tmp_path / "data")
    asked = ("train", *FLAGS, "--device", "cpu", "--seed", 3, "--runs", 2, "--json")
    in_turn, at_once = cli(*asked, "--runs-dir", "a"), cli(*asked, "--runs-dir", "b", "--jobs", 2)
    assert (in_turn.code, at_once.code) == (0, 0), at_once.err
    a, b = json.loads(in_turn.out), json.loads(at_once.out)
    assert [run["seed"] for run in b["runs"]] == [3, 4]
    assert a["mean"] == pytest.approx(b["mean"]) and a["deviation"] == pytest.approx(b["deviation"])
    again = cli(*asked, "--runs-dir", "b", "--jobs", 2)
    assert json.loads(again.out) == b  # what is finished counts


def test_a_seed_that_fails_is_named_and_the_others_are_shown(cli: Cli, tmp_path: Path) -> None:
    write_toy(tmp_path / "data")
    answer = cli("train", *FLAGS, "--device", "cpu", "--lr", "1e30", "--runs", 2, "--jobs", 2)
    assert answer.code == 1 and "2 runs failed" in answer.words and "usually help" in answer.words, answer


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--model", "vbpr", "--modalities", "none"), "and --modalities none leaves it without; leave the flag out"),
        (("--ks", "5,999"), "K is 999, but data set 'toy' has only"),
        (("--modalities", "smell"), "Data set 'toy' has no modality 'smell'"),
        (("--model", "mmssl", "--variant", "w/o-CL", "--modalities", "none"), "Variant 'w/o-CL' changes a part"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused_alike(
    cli: Cli, tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    write_toy(tmp_path / "data")
    asked = ("train", *FLAGS, "--device", "cpu", *flags, "--runs", 2)
    in_turn, at_once = cli(*asked), cli(*asked, "--jobs", 2)
    assert (in_turn.code, at_once.code) == (2, 2)
    assert said in in_turn.words and in_turn.words == at_once.words


@pytest.mark.parametrize("flag", [("--resume", "latest"), ("--distributed",)])
def test_one_run_is_not_trained_at_once(cli: Cli, flag: tuple[str, ...]) -> None:
    answer = cli("train", *FLAGS, *flag, "--jobs", 2)
    assert answer.code == 2 and "leave out --resume and --distributed" in answer.words
