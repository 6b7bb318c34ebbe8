"""What `mmssl sweep` says of its values: verdicts, ties, the paper's claims; and which settings stand for a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmssl_cli.config import merge_settings
from mmssl_cli.studies.run_selection import representatives
from tests.helpers.written_runs import write_run
from tests.mmssl_cli.studies.test_sweep import line, read, section_of


def texts_of(tmp_path: Path, parameter: str, scores: dict[int, tuple[float, float]], *given: str) -> str:
    """The sentence of a line with one seed a value: value -> validation and test Recall@20."""
    for value, (validation, test) in scores.items():
        write_run(tmp_path, settings={"model": "mmssl", parameter: value}, scores=[validation], test=test)
    (text,) = section_of(tmp_path, line(*given)).text
    return text


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ({100: (0.3, 0.3), 1: (0.2, 0.2)}, "the choice on validation agrees, the best on test agrees; at 100 test is"),
        ({100: (0.2, 0.3), 1: (0.3, 0.2)}, "the choice on validation does not agree, the best on test agrees;"),
        ({100: (0.2, 0.2), 1: (0.3, 0.3)}, "the choice on validation does not agree, the best on test does not agree"),
        ({100: (0.2, 0.3), 1: (0.2, 0.3)}, "validation agrees (tied with another), the best on test agrees (tied"),
    ],
)
def test_a_verdict_on_the_paper_is_given_where_its_value_and_another_were_tried(
    tmp_path: Path, scores: dict[int, tuple[float, float]], verdict: str
) -> None:
    text = texts_of(tmp_path, "zeta", scores, "zeta=1,100")
    assert "The paper finds 100 best (Sec. 4.4): " in text and verdict in text
    assert "deviate" not in text  # one seed


def test_no_verdict_is_given_on_what_was_not_tried(tmp_path: Path) -> None:
    scores = {1: (0.2, 0.3), 2: (0.3, 0.2)}
    text = texts_of(tmp_path, "layers", scores, "layers=1,2")
    assert "The paper finds 2 or 3 best (Sec. 4.4), of which 3 was not tried here; at 2 test is 0.2000." in text
    text = texts_of(tmp_path, "layers", {3: (0.1, 0.1)}, "layers=3")
    assert "The paper finds 2 or 3 best (Sec. 4.4); no other value was tried here." in text
    text = texts_of(tmp_path, "zeta", {10: (0.2, 0.2), 20: (0.1, 0.1)}, "zeta=10,20")
    assert "The paper finds 100 best (Sec. 4.4), which was not tried here." in text
    assert "agree" not in text and "No run is finished for 0, 50." not in text
    assert "paper" not in texts_of(tmp_path, "zeta", {}, "variant=w/o-CL")


def test_one_value_alone_is_compared_with_no_other(tmp_path: Path) -> None:
    write_run(tmp_path, settings={"model": "mf"}, scores=[0.1], test=0.1)
    text = texts_of(tmp_path, "zeta", {100: (0.3, 0.2)}, "zeta=100,7")
    assert text == (
        "zeta (ζ): only 100 is finished (validation Recall@20 0.3000), whose test Recall@20 is 0.2000. The paper finds "
        "100 best (Sec. 4.4); no other value was tried here. It lies above mf (0.1000). No run is finished for 1, 7."
    )


def test_of_equals_the_first_is_chosen_and_the_others_are_named(tmp_path: Path) -> None:
    scores = {1: (0.2, 0.1), 2: (0.2, 0.3), 3: (0.2, 0.3)}
    text = texts_of(tmp_path, "layers", scores, "layers=1,2,3")
    assert "chooses 1 (0.2000; as good: 2, 3), whose test Recall@20 is 0.1000." in text
    assert "The best on test is 2 (0.3000; as good: 3)." in text
    (text,) = section_of(tmp_path, line("layers=2,3")).text
    assert "It is the best on test too; as good: 3." in text


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
    chosen = representatives(read(tmp_path)[1])
    assert [each.label for each in chosen] == ["mmssl (w/o-CL)", "lightgcn", "mf"]  # by rising validation
    assert chosen[1].settings.layers == 2  # type: ignore[attr-defined]
    assert chosen[2].settings == shipped
    assert representatives(read(tmp_path)[1][::-1])[2].settings == shipped
