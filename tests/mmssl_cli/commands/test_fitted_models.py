"""Models without training steps and without embeddings, through the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmssl_cli.config.registry import MODELS
from mmssl_cli.models.registry import model_class
from tests.conftest import Answer

pytestmark = pytest.mark.usefixtures("inline_runs")

Cli = Callable[..., Answer]
FITTED = [name for name in MODELS if model_class(name).has_fit()]


@pytest.mark.parametrize("model", FITTED)
def test_a_fitted_model_is_trained_evaluated_resumed_and_recommended_from(cli: Cli, demo: Path, model: str) -> None:
    place = ("--data-dir", demo.parent)
    trained = cli("train", "--model", model, "--dataset", "demo", *place, "--json")
    assert trained.code == 0, trained.err
    [run] = json.loads(trained.out)["runs"]
    assert run["epochs"] == run["best_epoch"] == 1
    assert run["status"] == "finished"
    assert run["test"]["recall@20"] > 0.05

    found = json.loads(cli("evaluate", "latest", *place, "--json").out)
    assert found["metrics"]["recall@20"] == pytest.approx(run["test"]["recall@20"])
    assert cli("recommend", "latest", "--all", "--top", "5", "--out", "all.parquet", *place).code == 0
    table = pd.read_parquet("all.parquet")
    assert len(table) == 600 * 5
    assert np.isfinite(table["score"]).all()

    again = cli("train", "--resume", "latest", *place)
    assert again.code == 0
    assert "already finished" in again.err
    assert "loss" not in again.err

    refused = cli("embeddings", "latest", "--out", "vectors", *place)
    assert refused.code == 2
    assert "without embeddings" in refused.err
    assert not Path("vectors").exists()


def test_an_interrupted_fit_is_resumed(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    assert cli("train", "--model", "pop", *place).code == 0
    [folder] = [path for path in Path("runs").iterdir() if path.is_dir()]
    whole = json.loads((folder / "result.json").read_text())
    for name in ("result.json", "per_user.parquet"):
        (folder / name).unlink()  # cut off after the epoch
    assert cli("train", "--resume", folder, *place).code == 0
    assert json.loads((folder / "result.json").read_text())["test"] == whole["test"]
    for name in ("result.json", "state.pt", "metrics.parquet", "model.safetensors"):
        (folder / name).unlink()  # before it
    assert cli("train", "--resume", folder, *place).code == 0
    assert json.loads((folder / "result.json").read_text())["test"] == whole["test"]


def test_settings_of_training_steps_are_refused_and_left_out_of_a_comparison(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    refused = cli("train", "--model", "pop", "--lr", "0.1", *place)
    assert refused.code == 2
    assert "Model 'pop' has no setting 'lr'" in refused.words
    refused = cli("tune", "pop", *place)
    assert refused.code == 2
    assert "no settings to search" in refused.words
    compared = cli("compare", "--models", "pop,mf", "--epochs", "2", *place)
    assert compared.code == 0, compared.err
    assert "no training steps" in compared.words


def test_damaged_sparse_weights_are_refused(cli: Cli, demo: Path) -> None:
    from safetensors.torch import load_file, save_file

    assert cli("train", "--model", "pop", "--data-dir", demo.parent).code == 0
    [path] = Path("runs").glob("*/model.safetensors")
    tensors = load_file(path)
    counts = tensors["counts"]
    for bad in ({"score": counts}, {"counts": counts, "x:rows": counts.clone()}, {"a.b": counts}):
        save_file(bad, path)
        refused = cli("evaluate", "latest", "--data-dir", demo.parent)
        assert refused.code == 1
        assert "model.safetensors" in refused.words
