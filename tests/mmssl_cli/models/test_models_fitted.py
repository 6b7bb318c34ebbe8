"""Models in closed form against slow dense NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.models import ease, item_weights
from mmssl_cli.models.registry import build_model
from mmssl_cli.training.fitting import FittingLoop
from pipelines.errors import UsageError
from tests.helpers.model_cases import array, dense, toy_data

DATA = toy_data(users=40, items=23)
R = dense(DATA.train, DATA.num_items)


def _scores(model: str, **settings: Any) -> np.ndarray:
    built = build_settings({"model": model, **settings})
    loop = FittingLoop(build_model(DATA, built), DATA, built)
    loop.run_epoch()
    users = torch.tensor([7, 0, 39, 7])
    scores = array(loop.model.score(torch.arange(40)))
    np.testing.assert_allclose(array(loop.model.score(users)), scores[users.numpy()], rtol=1e-6, atol=1e-7)
    return scores


def _largest(row: np.ndarray, k: int) -> np.ndarray:
    """Return a row with its k largest entries alone; of equal ones those of the lowest index."""
    kept = np.zeros_like(row)
    for place in sorted(range(len(row)), key=lambda place: (-row[place], place))[:k]:
        kept[place] = row[place]
    return kept


def test_popularity_counts() -> None:
    np.testing.assert_array_equal(_scores("pop"), np.tile(R.sum(axis=0), (40, 1)))


@pytest.mark.parametrize(("neighbours", "shrinkage"), [(3, 0.0), (3, 2.5), (100, 1.0)])
def test_itemknn(neighbours: int, shrinkage: float) -> None:
    items = R.shape[1]
    weights = np.zeros((items, items))
    for i in range(items):
        similar = np.zeros(items)
        for j in range(items):
            both = (R[:, i] * R[:, j]).sum()
            if i != j and both:
                similar[j] = both / (np.sqrt(R[:, i].sum() * R[:, j].sum()) + shrinkage)
        weights[:, i] = _largest(similar, neighbours)
    found = _scores("itemknn", neighbours=neighbours, shrinkage=shrinkage, fallback="none")
    np.testing.assert_allclose(found, R @ weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("neighbours", "alpha", "beta"), [(4, 1.0, 0.6), (100, 0.7, 0.0), (4, 1.3, 1.0)])
def test_rp3beta(neighbours: int, alpha: float, beta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_weights, "BLOCK_BYTES", 8 * 23 * 5)  # five rows at once
    items = R.shape[1]
    weights = np.zeros((items, items))
    for j in range(items):
        walks = np.zeros(items)
        for i in range(items):
            for u in np.flatnonzero(R[:, j] * R[:, i]):
                if i != j:
                    walks[i] += (R[:, j].sum() * R[u].sum()) ** -alpha / R[:, i].sum() ** beta
        weights[j] = _largest(walks, neighbours)
    found = _scores("rp3beta", neighbours=neighbours, alpha=alpha, beta=beta, fallback="none")
    np.testing.assert_allclose(found, R @ weights, rtol=1e-5, atol=1e-6)


def test_scores_of_many_weights_are_added_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _scores("itemknn")
    monkeypatch.setattr(item_weights, "BLOCK_BYTES", 8 * 7)
    np.testing.assert_array_equal(_scores("itemknn"), whole)


def test_items_without_a_weight_are_not_similar() -> None:
    built = build_settings({"model": "itemknn", "neighbours": 2})
    loop = FittingLoop(build_model(DATA, built), DATA, built)
    loop.run_epoch()
    items = DATA.train.from_pairs([(0, 3)], 1)
    [similar], [scores] = loop.model.similar_to(items), loop.model.score_from_items(items)
    weighted = torch.isfinite(similar)
    assert 0 < weighted.sum() < 23 and (similar[~weighted] == -torch.inf).all()
    torch.testing.assert_close(similar[weighted], scores[weighted])


@pytest.mark.parametrize("model", ["ease", "gfcf", "itemknn", "rp3beta"])
def test_users_without_items_get_popular_ones(model: str) -> None:
    data = toy_data(users=40, items=23)
    kept = data.train.row_of_each() != 5
    data = replace(data, train=data.train.where(kept))
    built = build_settings({"model": model})
    loop = FittingLoop(build_model(data, built), data, built)
    loop.run_epoch()
    [scores] = array(loop.model.score(torch.tensor([5])))
    degrees = torch.bincount(data.train.indices, minlength=23).numpy()
    np.testing.assert_allclose(scores / scores.max(), degrees / degrees.max(), rtol=1e-6)


@pytest.mark.parametrize("model", ["itemknn", "rp3beta"])
def test_items_without_a_weight_follow_by_popularity(model: str) -> None:
    plain, found = (_scores(model, neighbours=2, fallback=fallback) for fallback in ("none", "popularity"))
    assert (plain == 0).any(axis=1).all()
    degrees = R.sum(axis=0)
    for before, scores in zip(plain, found, strict=True):
        weighted = before > 0
        np.testing.assert_array_equal(scores[weighted], before[weighted])
        assert scores[~weighted].max() < before[weighted].min()
        left = degrees[~weighted]
        np.testing.assert_allclose(scores[~weighted], left * scores[~weighted].max() / left.max(), rtol=1e-5)


@pytest.mark.parametrize("rows", [3, 23, 100])
def test_ease(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "BLOCK_BYTES", 4 * 23 * rows)
    inverse = np.linalg.inv(R.T @ R + 2.5 * np.eye(23))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    np.testing.assert_allclose(_scores("ease", ridge=2.5), R @ weights, rtol=1e-4, atol=1e-5)


def test_ease_is_refused_where_its_weights_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "available_memory", lambda: 8 * 23 * 23 - 1.0)
    with pytest.raises(UsageError, match=r"23 x 23 weights between items: .* choose another model, such as itemknn"):
        _scores("ease")
    monkeypatch.setattr(ease, "available_memory", lambda: 8.0 * 23 * 23)
    assert np.isfinite(_scores("ease")).all()


@pytest.mark.parametrize(
    ("directions", "low_pass", "exponent"), [(5, 0.3, 0.5), (5, 0.0, 0.5), (22, 1.5, 0.0), (1000, 0.3, 0.25)]
)
def test_gfcf(directions: int, low_pass: float, exponent: float) -> None:
    of_users, of_items = np.maximum(R.sum(axis=1), 1), np.maximum(R.sum(axis=0), 1)
    normalised = np.diag(of_users**-0.5) @ R @ np.diag(of_items**-0.5)
    _, _, right = np.linalg.svd(normalised, full_matrices=False)
    right = right[: min(directions, 22)]
    ideal = np.diag(of_items**-0.5) @ right.T @ right @ np.diag(of_items**0.5)
    expected = R @ (normalised.T @ normalised @ np.diag(of_items ** (0.5 - exponent)) + low_pass * ideal)
    found = _scores("gfcf", directions=directions, low_pass=low_pass, item_exponent=exponent)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
