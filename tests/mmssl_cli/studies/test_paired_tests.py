"""Differences between configurations over users and seeds."""

from __future__ import annotations

from pathlib import Path

from mmssl_cli.runs.results import configurations, finished_runs
from mmssl_cli.studies.paired_tests import corrected
from tests.helpers.written_runs import write_run


def test_models_that_chance_does_not_change_are_not_tested_over_seeds(tmp_path: Path) -> None:
    scores = {"ngcf": [0.1, 0.1, 0.1], "lightgcn": [0.3, 0.3, 0.3], "mf": [0.2, 0.21, 0.19]}
    for model, tests in scores.items():
        for seed, test in enumerate(tests):
            write_run(tmp_path, settings={"model": model, "seed": seed}, scores=[0.1], test=test)
    found = {one.label: one for one in configurations(finished_runs(tmp_path)[0])}
    fixed, drawn = corrected([(found["lightgcn"], found["ngcf"]), (found["mf"], found["ngcf"])], "recall@20")
    assert fixed.over_seeds is None and fixed.holm_seeds is None
    assert fixed.text.endswith("seed variance untested)")
    assert drawn.over_seeds is not None and drawn.over_seeds == drawn.holm_seeds < 0.05


def test_differences_that_are_equal_but_for_rounding_are_not_tested_over_seeds(tmp_path: Path) -> None:
    tests = {"lightgcn": [0.2333333333, 0.3333333333], "ngcf": [0.2083333333, 0.3083333333]}
    assert tests["lightgcn"][0] - tests["ngcf"][0] != tests["lightgcn"][1] - tests["ngcf"][1]
    for model, scores in tests.items():
        for seed, test in enumerate(scores):
            write_run(tmp_path, settings={"model": model, "seed": seed}, scores=[0.1], test=test)
    found = {one.label: one for one in configurations(finished_runs(tmp_path)[0])}
    (difference,) = corrected([(found["lightgcn"], found["ngcf"])], "recall@20")
    assert difference.over_seeds is None
