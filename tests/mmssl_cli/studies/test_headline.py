"""The headline of a report, and sweeps, compare on shared seeds and say which are missing."""

from __future__ import annotations

from pathlib import Path

from mmssl_cli.reporting.document import Cell, Section, Table, with_notes_once
from mmssl_cli.reporting.plain import notes_of
from mmssl_cli.studies.headline import headline
from tests.helpers.sweep_cases import line, read, section_of
from tests.helpers.written_runs import write_run


def written(tmp_path: Path, model: str, scores: dict[int, tuple[float, float]]) -> None:
    """Write a run a seed: seed -> validation and test Recall@20."""
    for seed, (validation, test) in scores.items():
        write_run(tmp_path, settings={"model": model, "seed": seed}, scores=[validation], test=test)


def test_the_lead_is_measured_on_the_seeds_that_both_have(tmp_path: Path) -> None:
    written(tmp_path, "mf", {1: (0.2, 0.2), 2: (0.2, 0.21)})
    written(tmp_path, "bm3", {1: (0.3, 0.3), 2: (0.3, 0.33), 3: (0.9, 0.9)})
    text = headline("demo", read(tmp_path)[1], "recall@20")
    assert text.startswith(
        "On demo bm3 is the best of 2 models on validation: test Recall@20 0.3150 ± 0.0212 against 0.2050 ± 0.0071 of "
        "the next, mf, +53.7\N{NO-BREAK SPACE}% (p < 1e-300 over users, "
    )
    assert text.endswith("Compared on seeds 1, 2, which all have; mf lacks 3.")


def test_one_seed_leaves_chance_in_training_untested_and_a_lost_lead_is_said(tmp_path: Path) -> None:
    written(tmp_path, "mf", {1: (0.2, 0.5)})
    written(tmp_path, "bm3", {1: (0.3, 0.3)})
    text = headline("demo", read(tmp_path)[1], "recall@20")
    assert "seed variance untested" in text
    assert text.endswith("On test it has no lead.")


def test_models_without_a_common_seed_are_not_compared(tmp_path: Path) -> None:
    written(tmp_path, "mf", {1: (0.2, 0.5)})
    written(tmp_path, "bm3", {2: (0.3, 0.3)})
    assert headline("demo", read(tmp_path)[1], "recall@20").endswith("mf: its lead is not measured.")


def test_one_model_alone_leads_nobody(tmp_path: Path) -> None:
    written(tmp_path, "mf", {1: (0.2, 0.5)})
    assert headline("demo", read(tmp_path)[1], "recall@20") == (
        "On demo only mf has finished runs, with a test Recall@20 of 0.5000: nothing to compare."
    )
    assert headline("demo", [], "recall@20") == ""


def test_a_sweep_compares_its_values_on_shared_seeds(tmp_path: Path) -> None:
    for layers, seed, validation in ((2, 1, 0.38), (2, 2, 0.43), (3, 1, 0.39)):
        write_run(tmp_path, settings={"model": "mmssl", "layers": layers, "seed": seed}, scores=[validation], test=0.1)
    section = section_of(tmp_path, line("layers=2,3"))
    (text,) = section.text
    assert "validation Recall@20 chooses 3 (0.3900)" in text
    assert text.endswith("Compared on seed 1, which all have; 3 lacks 2.")
    assert [row[2].text for row in section.tables[0].rows] == ["1", "1"]


def test_a_sweep_without_a_shared_seed_says_so(tmp_path: Path) -> None:
    for layers, seed in ((2, 1), (3, 2)):
        write_run(tmp_path, settings={"model": "mmssl", "layers": layers, "seed": seed}, scores=[0.1], test=0.1)
    (text,) = section_of(tmp_path, line("layers=2,3")).text
    assert text.endswith("No seed is that of all values: their means are over different seeds.")


def test_a_note_is_below_the_first_table_alone() -> None:
    rows = ((Cell("a", 1.0, mark="best"),),)
    tables = tuple(Table(name, name, ("A",), rows, notes=("Of all.", f"Of {name}.")) for name in ("t", "u"))
    first, second = with_notes_once(Section("s", "S", tables=tables)).tables
    assert notes_of(first, "underlined") == ["Bold is the best of a column.", "Of all.", "Of t."]
    assert notes_of(second, "underlined") == ["Of u."]
