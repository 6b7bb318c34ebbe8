"""Modalities of tokens (ingredients): the prepared format, and the embedding bag that a model reads them with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mmssl_cli.data.interactions import load_interactions
from pipelines.errors import InputError
from pipelines.prepared import read_prepared, verify_prepared, write_prepared
from pipelines.prepared.dataset import Features, PreparedDataset
from tests.helpers.model_cases import array, toy_batch, toy_data, toy_model
from tests.helpers.prepared_cases import small

IDS = np.array([[1, 2, 3], [3, 0, 0], [0, 0, 0], [2, 2, 0], [1, 3, 0]], dtype=np.int32)
VOCABULARY = pd.DataFrame({"id": [1, 2, 3], "token": ["salt", "olive oil", "egg"], "count": [2, 3, 3]})


def with_tokens(ids: np.ndarray = IDS, vocabulary: pd.DataFrame = VOCABULARY) -> PreparedDataset:
    tokens = Features(ids, ids.any(axis=1), {"name": "ingredients", "vocabulary": 4}, vocabulary)
    return replace(small(), features={**small().features, "ingredients": tokens})


def test_tokens_and_their_vocabulary_are_written_and_read(tmp_path: Path) -> None:
    manifest = write_prepared(with_tokens(), tmp_path / "small")
    entry = manifest.modalities["ingredients"]
    assert (entry.dtype, entry.dim, entry.present) == ("int32", 3, 4)
    assert verify_prepared(tmp_path / "small") == manifest
    found = read_prepared(tmp_path / "small").features["ingredients"]
    assert found.values.dtype == np.int32
    np.testing.assert_array_equal(found.values, IDS)
    assert found.vocabulary is not None
    assert found.vocabulary["token"].tolist() == ["salt", "olive oil", "egg"]


@pytest.mark.parametrize(
    ("ids", "vocabulary", "sentence"),
    [
        (np.where(IDS == 3, 4, IDS), VOCABULARY, "token ids out of range (first 4)"),
        (np.where(IDS == 3, -1, IDS), VOCABULARY, "token ids out of range (first -1)"),
        (IDS, VOCABULARY.iloc[:2], "not the vocabulary that its encoder describes"),
        (IDS, VOCABULARY.iloc[::-1], "not numbered 1 to 3 in order"),
    ],
)
def test_wrong_tokens_are_refused(tmp_path: Path, ids: np.ndarray, vocabulary: pd.DataFrame, sentence: str) -> None:
    with pytest.raises(InputError) as problem:
        write_prepared(with_tokens(ids.astype(np.int32), vocabulary), tmp_path / "small")
    assert sentence in str(problem.value)
    assert not (tmp_path / "small").exists()


def test_a_missing_vocabulary_is_damage(tmp_path: Path) -> None:
    write_prepared(with_tokens(), tmp_path / "small")
    (tmp_path / "small" / "features" / "ingredients.vocabulary.parquet").unlink()
    with pytest.raises(InputError, match=r"ingredients\.vocabulary\.parquet is missing"):
        read_prepared(tmp_path / "small")
    assert "visual" in read_prepared(tmp_path / "small", ["visual"]).features


def test_scaling_leaves_tokens_alone(tmp_path: Path) -> None:
    write_prepared(with_tokens(), tmp_path / "small")
    data = load_interactions(tmp_path / "small", feature_scaling="standard")
    assert torch.equal(data.features["ingredients"], torch.from_numpy(IDS.astype(np.int64)))


def test_the_model_reads_tokens_as_the_mean_of_their_embeddings() -> None:
    data = toy_data(modalities={"visual": 7}, absent={})
    ids = np.random.default_rng(0).integers(0, 6, (data.num_items, 4))
    ids[2] = 0
    tokens, present = torch.from_numpy(ids), torch.from_numpy(ids.any(axis=1))
    data = replace(
        data, features={**data.features, "ingredients": tokens}, present={**data.present, "ingredients": present}
    )
    model = toy_model(data)
    model.eval()
    table = array(model.generator.projections["ingredients"].weight)
    expected = np.zeros((data.num_items, 8))
    for item, row in enumerate(ids):
        known = [table[token] for token in row if token]
        expected[item] = np.mean(known, axis=0) if known else 0

    projected = model.generator.projections["ingredients"](tokens)
    np.testing.assert_allclose(array(projected), expected, atol=1e-6)

    model.train()
    model.begin_epoch(1)
    loss = torch.stack(list(model.training_step(toy_batch(data)).values())).sum()
    loss.backward()
    gradient = model.generator.projections["ingredients"].weight.grad
    assert gradient is not None and gradient[1:].abs().sum() > 0 and not gradient[0].any()
