"""The signal planted in `demo` is found: the whole model beats its own form without features, and a plain LightGCN.

Through the trainer, with the shipped settings of each model, as `mmssl train` uses them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmssl_cli.config import merge_settings
from mmssl_cli.console.training import Reporter
from mmssl_cli.training.trainer import train_run
from pipelines.prepare import prepare
from tests.helpers.shared_folder import made_once

SEEDS = range(2023, 2028)
METRIC = "recall@20"
FORMS: dict[str, dict[str, Any]] = {
    "full": {"model": "mmssl"},
    "without features": {"model": "mmssl", "modalities": "none"},
    "lightgcn": {"model": "lightgcn"},
    "untrained": {"model": "mmssl", "epochs": 1, "lr": 1e-12},
}


@pytest.fixture(scope="module")
def recalls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Test Recall@20 of each form, a value a seed."""
    folder = made_once(tmp_path_factory, "demo-models", _train)
    return {name: np.array(values) for name, values in json.loads((folder / "recalls.json").read_text()).items()}


def _train(folder: Path) -> None:
    prepare("demo", data_dir=folder)

    def recall(form: dict[str, Any], seed: int) -> float:
        settings = merge_settings({**form, "dataset": "demo", "seed": seed, "device": "cpu"})
        return float(train_run(settings, folder, folder / "runs", reporter=Reporter()).record["test"][METRIC])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)
        recalls = {name: [recall(form, seed) for seed in SEEDS] for name, form in FORMS.items()}
    (folder / "recalls.json").write_text(json.dumps(recalls))


@pytest.mark.slow
@pytest.mark.parametrize("weaker", ["without features", "lightgcn", "untrained"])
def test_the_whole_model_wins_where_the_signal_is_planted(recalls: dict[str, np.ndarray], weaker: str) -> None:
    gain = recalls["full"].mean() - recalls[weaker].mean()
    # More than the noise of the seeds, three standard errors, and no less than a tenth of a Recall of 0.2.
    error = np.sqrt((recalls["full"].var(ddof=1) + recalls[weaker].var(ddof=1)) / len(SEEDS))
    assert gain > max(3 * error, 0.02), {name: values.round(4).tolist() for name, values in recalls.items()}


@pytest.mark.slow
def test_it_finds_far_more_than_chance_would(recalls: dict[str, np.ndarray]) -> None:
    """400 items: a list of 20 drawn by chance finds one item in twenty."""
    assert recalls["full"].min() > 4 * 20 / 400
