"""Table 2 from written runs: its costs, its tests, and their sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmssl_cli.runs.results import Configuration, configurations, finished_runs
from mmssl_cli.studies.comparison import comparison_section
from mmssl_cli.studies.paired_tests import Difference
from tests.helpers.written_runs import write_run


@pytest.fixture
def models(tmp_path: Path) -> list[Configuration]:
    """Mf with two seeds, which recorded its processor time, and an earlier run of lightgcn, which did not."""
    for seed, seconds in ((1, 90.0), (2, 30.0)):
        settings = {"model": "mf", "seed": seed}
        write_run(tmp_path, settings=settings, scores=[0.1, 0.2], test=0.2, processor_seconds=seconds)
    write_run(tmp_path, settings={"model": "lightgcn", "seed": 1}, scores=[0.3], test=0.3)
    return sorted(configurations(finished_runs(tmp_path)[0]), key=lambda one: one.label)


def test_processor_time_is_shown_and_summed_where_it_was_recorded(models: list[Configuration]) -> None:
    section = comparison_section("demo", models)
    costs = section.tables[-1]
    at = costs.columns.index("Processor minutes")
    assert [row[at].text for row in costs.rows] == ["-", "2.0 ± 1.4"]  # 3 and 1 minutes
    assert section.text[-1] == "2 runs took 4.0 minutes of processor time in all; 1 earlier run did not record it."


def test_tests_are_left_out_where_there_is_nothing_to_test_against(models: list[Configuration]) -> None:
    tested, plain = (comparison_section("demo", models, tested=tested) for tested in (True, False))
    assert next(table.name for table in tested.tables if table not in plain.tables).startswith("table2-tests")
    assert len(plain.tables) == len(tested.tables) - 1 and len(plain.text) == len(tested.text) - 1


def test_a_sentence_has_the_corrected_p_values() -> None:
    plain = Difference(0.1, over_users=0.02, over_seeds=0.03, holm_users=0.02, holm_seeds=0.03)
    assert plain.is_clear and plain.text == "+10.0\N{NO-BREAK SPACE}% (p = 0.02 over users, 0.03 over seeds)"
    corrected = Difference(0.1, over_users=0.02, holm_users=0.06)
    assert corrected.text == (
        "+10.0\N{NO-BREAK SPACE}% (corrected p = 0.06 over users, seed variance untested; not significant)"
    )
