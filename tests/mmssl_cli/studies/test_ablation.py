"""Sentences of the ablation: which variants the tests tell apart from the full model."""

from __future__ import annotations

from pathlib import Path

from mmssl_cli.runs.results import configurations, finished_runs
from mmssl_cli.studies.ablation import ablation_section
from tests.helpers.written_runs import write_run


def texts_of(runs_dir: Path, scores: dict[str, list[float]]) -> tuple[str, ...]:
    """Write the runs, one per seed, and return the text of the section."""
    for variant, tests in scores.items():
        for seed, test in enumerate(tests):
            settings = {"model": "mmssl", "variant": variant, "seed": seed}
            write_run(runs_dir, settings=settings, scores=[0.1], test=test)
    found = {one.settings.variant: one for one in configurations(finished_runs(runs_dir)[0])}  # type: ignore[attr-defined]
    return ablation_section(found["full"].settings, found).text


def test_variants_are_sorted_by_what_the_tests_tell(tmp_path: Path) -> None:
    scores = {"full": [0.3, 0.31, 0.32], "w/o-CL": [0.1, 0.12, 0.11], "w/o-GT": [0.4, 0.41, 0.43]}
    recall, ndcg, settings = texts_of(tmp_path, {**scores, "w/o-ASL": [0.31, 0.3, 0.32]})
    assert recall == (
        "Recall@20: clearly behind the full model: w/o-CL; clearly ahead of the full model: w/o-GT; not told apart "
        "from the full model: w/o-ASL."
    )
    assert ndcg == recall.replace("Recall", "NDCG")
    assert (
        settings.startswith("Settings that differ from the defaults: ") or settings == "All settings are the defaults."
    )


def test_a_single_seed_is_said_not_to_test_chance_in_training(tmp_path: Path) -> None:
    *_, note, _ = texts_of(tmp_path, {"full": [0.3], "w/o-CL": [0.1]})
    assert note == "With one seed, seed variance is not tested: another seed may reverse the order."
    assert len(texts_of(tmp_path / "alone", {"full": [0.3]})) == 1
