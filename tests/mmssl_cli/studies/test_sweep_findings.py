"""Sentences of `mmssl sweep` (choice on validation, ties, the paper's best), and the representative of a model."""

from __future__ import annotations

from pathlib import Path

from mmssl_cli.config import merge_settings
from mmssl_cli.studies.run_selection import best_of_each_model
from tests.helpers.sweep_cases import line, read, section_of
from tests.helpers.written_runs import write_run


def texts_of(tmp_path: Path, parameter: str, scores: dict[int, tuple[float, float]], *given: str) -> str:
    """The sentence of a line with one seed a value: value -> validation and test Recall@20."""
    for value, (validation, test) in scores.items():
        write_run(tmp_path, settings={"model": "mmssl", "layers": 2, parameter: value}, scores=[validation], test=test)
    (text,) = section_of(tmp_path, line(*given)).text
    return text


def test_the_best_of_the_paper_is_named_and_what_of_it_was_not_tried(tmp_path: Path) -> None:
    scores = {1: (0.2, 0.3), 2: (0.3, 0.2)}
    text = texts_of(tmp_path, "layers", scores, "layers=1,2")
    assert text.endswith("The paper finds 2 or 3 best (Sec. 4.4); 3 was not tried here.")
    text = texts_of(tmp_path, "layers", {3: (0.1, 0.1)}, "layers=2,3")
    assert text.endswith("The paper finds 2 or 3 best (Sec. 4.4).")
    text = texts_of(tmp_path, "zeta", {10: (0.2, 0.2), 20: (0.1, 0.1)}, "zeta=10,20")
    assert text.endswith("The paper finds 100 best (Sec. 4.4); 100 was not tried here.")
    assert "paper" not in texts_of(tmp_path, "zeta", {}, "variant=w/o-CL")


def test_one_value_alone_is_compared_with_no_other(tmp_path: Path) -> None:
    write_run(tmp_path, settings={"model": "mf"}, scores=[0.1], test=0.1)
    text = texts_of(tmp_path, "zeta", {100: (0.3, 0.2)}, "zeta=100,7")
    assert text == (
        "zeta (ζ): only 100 is finished (validation Recall@20 0.3000), whose test Recall@20 is 0.2000. The paper finds "
        "100 best (Sec. 4.4). No run is finished for 1, 7."
    )


def test_of_equals_the_first_is_chosen_and_the_others_are_named(tmp_path: Path) -> None:
    scores = {1: (0.2, 0.1), 2: (0.2, 0.3), 3: (0.2, 0.3)}
    text = texts_of(tmp_path, "layers", scores, "layers=1,2,3")
    assert "chooses 1 (0.2000; as good: 2, 3), whose test Recall@20 is 0.1000." in text


def test_the_settings_with_the_most_seeds_stand_for_a_model(tmp_path: Path) -> None:
    shipped = merge_settings({"model": "mf", "dataset": "demo"})
    for settings, validation in (
        ({"model": "lightgcn", "layers": 1, "seed": 1}, 0.9),  # a lucky seed
        ({"model": "lightgcn", "layers": 2, "seed": 1}, 0.2),
        ({"model": "lightgcn", "layers": 2, "seed": 2}, 0.3),
        ({"model": "lightgcn", "layers": 3, "seed": 1}, 0.2),
        ({"model": "lightgcn", "layers": 3, "seed": 2}, 0.2),
        ({"model": "mf", "lr": 0.5}, 0.28),
        (shipped.model_dump(), 0.28),
        ({"model": "mf", "lr": 0.25}, 0.28),
        ({"model": "mmssl", "variant": "w/o-CL"}, 0.1),
    ):
        write_run(tmp_path, settings=settings, scores=[validation], test=0.1)
    chosen = best_of_each_model(read(tmp_path)[1])
    assert [each.label for each in chosen] == ["mmssl (w/o-CL)", "lightgcn", "mf"]  # by rising validation
    assert chosen[1].settings.layers == 2  # type: ignore[attr-defined]
    assert chosen[2].settings == shipped
    assert best_of_each_model(read(tmp_path)[1][::-1])[2].settings == shipped
