"""Curves of a run, as files that can be opened and text that can be found in the SVG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmssl_cli.runs.figures import best_epoch, plot_curves
from pipelines.errors import InputError


def _metrics() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": [1, 2, 3, 4],
            "seconds": 1.0,
            "lr": 1e-3,
            "loss/bpr": [0.7, 0.5, 0.4, 0.3],
            "loss/gradient_penalty": [0.1, np.inf, 0.2, np.nan],
            "loss/total": [0.8, 0.7, 0.6, 0.5],
            "validation/recall@20": [0.1, np.nan, 0.3, 0.2],
            "validation/recall@50": [0.4, np.nan, 0.3, 0.2],
            "validation/ndcg@20": [0.1, np.nan, 0.15, 0.12],
            "validation/ndcg@50": [np.nan] * 4,
        }
    )


def test_every_loss_term_and_metric_is_drawn_and_the_best_epoch_marked(tmp_path: Path) -> None:
    png, svg = plot_curves(_metrics(), tmp_path, title="a run")

    text = svg.read_text()
    for title in (
        "a run",
        "Loss, total",
        "Loss: bpr",
        "Loss: gradient penalty",
        "Validation Recall",
        "Validation NDCG",
    ):
        assert f">{title}<" in text
    assert ">best: epoch 3, 0.3000<" in text
    assert ">@50<" in text
    assert "seconds" not in text
    assert text.index(">Loss, total<") < text.index(">Loss: bpr<")
    with Image.open(png) as image:
        assert image.width > 1000
        assert np.asarray(image.convert("L")).std() > 10  # not an empty page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "curves.svg"]


def test_another_metric_may_select(tmp_path: Path) -> None:
    _, svg = plot_curves(_metrics(), tmp_path, select_on="recall@50")
    assert ">best: epoch 1, 0.4000<" in svg.read_text()


def test_the_best_epoch_is_the_first_of_equals_and_none_without_validation() -> None:
    table = pd.DataFrame({"epoch": [5, 6, 7], "validation/recall@20": [np.nan, 0.2, 0.2]})
    assert best_epoch(table, "recall@20") == 6
    assert best_epoch(table, "ndcg@20") is None
    assert best_epoch(table.assign(**{"validation/recall@20": np.nan}), "recall@20") is None


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in plot_curves(_metrics(), tmp_path / "a")]
    second = [path.read_bytes() for path in plot_curves(_metrics(), tmp_path / "b")]
    assert first == second


def test_a_run_of_one_epoch_can_be_drawn(tmp_path: Path) -> None:
    _, svg = plot_curves(_metrics().head(1), tmp_path)
    assert ">best: epoch 1, 0.1000<" in svg.read_text()


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        plot_curves(pd.DataFrame({"epoch": [1], "loss/bpr": [np.nan]}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file in the way")
    with pytest.raises(InputError, match=r"Cannot write .*curves\.png"):
        plot_curves(_metrics(), tmp_path / "run")
