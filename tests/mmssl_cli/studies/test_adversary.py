"""`mmssl ablate --adversary`: forms of the adversary, each against the same settings without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mmssl_cli.config import build_settings
from mmssl_cli.studies.adversary import FORMS, GENERATOR_LR, form_settings
from tests.conftest import Answer

Cli = Callable[..., Answer]


def test_a_form_differs_from_its_twin_in_the_adversary_alone() -> None:
    given = build_settings({"model": "mmssl", "lr": 2e-3, "generator_lr": 1e-5})
    pairs = form_settings(given)
    assert list(pairs) == list(FORMS)
    assert pairs["as given"].adversary == given
    plain = build_settings({**given.model_dump(), "variant": "w/o-ASL"})
    for form, pair in pairs.items():
        weighted = pair.adversary.model_dump()["edge_weights"] == "cosine"
        moved = {"edge_weights": "cosine", "generator_lr": GENERATOR_LR}
        assert pair.without == (build_settings({**plain.model_dump(), **moved}) if weighted else plain), form


def test_the_command_trains_every_form_and_shared_twins_once(cli: Cli, demo: Path) -> None:
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
    again = cli("ablate", "--adversary", *flags, "--dry-run")
    assert again.code == 0 and "7 finished" in again.words, again.words  # five forms and two twins


def test_variants_and_forms_are_not_mixed(cli: Cli) -> None:
    answer = cli("ablate", "--adversary", "--variant", "w/o-GT")
    assert answer.code == 2 and "leave out --variant" in answer.err
