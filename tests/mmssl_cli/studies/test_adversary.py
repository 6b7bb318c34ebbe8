"""`mmssl ablate --adversary`: forms of the adversary, each against the same settings without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmssl_cli.config import build_settings
from mmssl_cli.config.mmssl import AdversarySettings
from mmssl_cli.studies.adversary import FORMS, GENERATOR_LR, form_settings
from tests.conftest import Answer

Cli = Callable[..., Answer]


@pytest.mark.parametrize("omega", [0.0, 0.5])
def test_a_form_differs_from_its_twin_in_the_adversary_alone(omega: float) -> None:
    given = build_settings({"model": "mmssl", "lr": 2e-3, "generator_lr": 1e-5, "omega": omega})
    pairs = form_settings(given)
    assert list(pairs) == list(FORMS)
    assert pairs["as given"].adversary == given
    of_adversary = {"variant", "adversarial_weight", "adversarial_scale", *AdversarySettings.__annotations__}
    for form, pair in pairs.items():
        one, other = pair.adversary.model_dump(), pair.without.model_dump()
        differing = {name for name in one if one[name] != other[name]}
        # Without an adversary a generator that nothing else trains stays as it is, whatever its learning rate.
        idle = not (omega or one["vicreg_weight"] or one["edge_weights"] == "cosine")
        assert differing <= of_adversary | ({"generator_lr"} if idle else set()), form
        assert other["variant"] == "w/o-ASL"
        assert one["generator_lr"] == (GENERATOR_LR if FORMS[form] else 1e-5)
    twins = {pair.without.model_dump_json() for pair in pairs.values()}
    assert len(twins) == (4 if omega else 3)


@pytest.mark.usefixtures("inline_runs")
def test_the_command_trains_every_form_and_shared_twins_once(cli: Cli, demo: Path, tmp_path: Path) -> None:
    flags = ("--dataset", "demo", "--data-dir", demo.parent, "--epochs", 3, "--batch-size", 1024, "--runs", 1)
    answer = cli("ablate", "--adversary", *flags, "--json")
    assert answer.code == 0, answer.err
    accuracy, tests, measures = json.loads(answer.out)["tables"]
    assert {(row["Form"], row["Adversary"]) for row in accuracy["rows"]} == {
        (form, kind) for form in FORMS for kind in ("with", "without")
    }
    assert {row["Form"] for row in tests["rows"]} == set(FORMS)
    assert all(row["p, users"] <= row["Holm, users"] for row in tests["rows"])
    by_form = {row["Form"]: row for row in measures["rows"]}
    assert by_form["weighted edges"]["Turnover"] > by_form["as given"]["Turnover"]
    assert by_form["as given"]["Cosine"] is None and -1 <= by_form["weighted edges"]["Cosine"] <= 1
    report = cli("report", "--dataset", "demo", "--data-dir", demo.parent, "--out", tmp_path)
    assert report.code == 0, report.err
    assert "Forms of the adversary on demo" in (tmp_path / "report.md").read_text()
    again = cli("ablate", "--adversary", *flags, "--dry-run")
    assert again.code == 0 and "9 finished" in again.words, again.words  # six forms and three twins


def test_variants_and_forms_are_not_mixed(cli: Cli) -> None:
    answer = cli("ablate", "--adversary", "--variant", "w/o-GT")
    assert answer.code == 2 and "leave out --variant" in answer.err
