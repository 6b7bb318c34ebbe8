"""The low-pass filter beside a trained model, against the dense form of the same scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmssl_cli.config import GraphSettings, build_settings
from mmssl_cli.models import spectral
from mmssl_cli.models.registry import build_model
from mmssl_cli.models.spectral import low_pass_factors, score_norms, unit_scores
from tests.helpers.model_cases import array, dense, toy_data


def filter_settings(**values: object) -> GraphSettings:
    settings = build_settings({"model": "lightgcn", **{f"spectral_{key}": value for key, value in values.items()}})
    assert isinstance(settings, GraphSettings)
    return settings


def dense_filter(interactions: np.ndarray, rank: int, hops: int, exponent: float, ends: float) -> np.ndarray:
    """R D_i^-c (X^T X)^h D_i^c with X = D_u^-1/2 R D_i^-e cut to its strongest ``rank`` directions, [U, I]."""
    of_users = np.maximum(interactions.sum(axis=1, keepdims=True), 1)
    of_items = np.maximum(interactions.sum(axis=0, keepdims=True), 1)
    scaled = interactions / of_users**0.5 / of_items**exponent
    left, singular, right = np.linalg.svd(scaled, full_matrices=False)
    cut = (left[:, :rank] * singular[:rank]) @ right[:rank]
    filtered = np.linalg.matrix_power(cut.T @ cut, hops) if hops else right[:rank].T @ right[:rank]
    return (interactions / of_items**ends) @ filtered * of_items**ends


@pytest.mark.parametrize("rank", [3, 8, 500])
def test_the_factors_give_the_filtered_scores(rank: int) -> None:
    data = toy_data(users=14, items=9)
    users, items = low_pass_factors(data, filter_settings(rank=rank))
    interactions = dense(data.train, data.num_items)
    assert users.shape == (14, min(rank, 8)) and items.shape == (9, min(rank, 8))
    expected = dense_filter(interactions, min(rank, 8), hops=2, exponent=0.25, ends=0)
    np.testing.assert_allclose(array(users @ items.T), expected, atol=1e-5)


@pytest.mark.parametrize("form", ["plain", "normalised"])
@pytest.mark.parametrize("hops", [0, 1, 3])
@pytest.mark.parametrize("exponent", [0.0, 0.4])
def test_hops_exponent_and_form_of_the_filter(form: str, hops: int, exponent: float) -> None:
    data = toy_data(users=14, items=9)
    settings = filter_settings(rank=4, hops=hops, item_exponent=exponent, form=form)
    users, items = low_pass_factors(data, settings)
    ends = exponent if form == "normalised" else 0.0
    expected = dense_filter(dense(data.train, data.num_items), 4, hops, exponent, ends)
    np.testing.assert_allclose(array(users @ items.T), expected, atol=1e-5)


def test_scores_of_unit_length_keep_their_order() -> None:
    random = torch.Generator().manual_seed(0)
    users, items = torch.randn(5, 3, generator=random), torch.randn(20, 3, generator=random)
    users[2] = 0
    scores = unit_scores(users, score_norms(users, items)) @ items.T
    expected = users @ items.T
    lengths = expected.norm(dim=1, keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(scores, expected / lengths)


@pytest.mark.parametrize("model", ["lightgcn", "mmssl"])
def test_the_filter_is_added_to_the_scores_and_not_trained(model: str) -> None:
    data = toy_data()
    built = []
    for settings in ({}, {"spectral_weight": 0.5, "spectral_rank": 4}):
        torch.manual_seed(0)
        built.append(build_model(data, build_settings({"model": model, "embedding_dim": 8, **settings})).eval())
    plain, joined = built
    assert dict(joined.named_parameters()).keys() == dict(plain.named_parameters()).keys()
    assert joined.state_dict().keys() == plain.state_dict().keys()
    plain.begin_epoch(1)
    joined.begin_epoch(1)

    users, items = plain.represent()
    low_pass = low_pass_factors(data, filter_settings(rank=4))
    parts = [unit_scores(one, score_norms(one, other)) @ other.T for one, other in ((users, items), low_pass)]

    wide_users, wide_items = joined.represent()
    torch.testing.assert_close(wide_users @ wide_items.T, parts[0] + 0.5 * parts[1])


def test_rows_of_items_weigh_the_filter_as_the_users_do() -> None:
    """By a weight near 0 the similar items are those of the model alone, by a large one those of the filter."""
    data = toy_data(users=40, items=30)
    rows = low_pass_factors(data, filter_settings(rank=4))[1]
    seen = rows.norm(dim=1) > 1e-3  # the others lie in none of the strongest directions

    def cosines(weight: float) -> torch.Tensor:
        torch.manual_seed(0)
        settings = {"model": "lightgcn", "embedding_dim": 8, "spectral_weight": weight, "spectral_rank": 4}
        rows = build_model(data, build_settings(settings)).eval().represent()[1][seen]
        return torch.nn.functional.normalize(rows, dim=1) @ torch.nn.functional.normalize(rows, dim=1).T

    filtered = torch.nn.functional.normalize(rows[seen], dim=1)
    torch.testing.assert_close(cosines(1e-5), cosines(0.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(cosines(1e5), filtered @ filtered.T, atol=1e-3, rtol=0)
    assert (cosines(1.0) - cosines(0.0)).abs().max() > 0.05 and (cosines(1.0) - cosines(1e5)).abs().max() > 0.05


def test_the_first_items_by_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral, "BLOCK_USERS", 4)
    data = toy_data(users=14, items=9)
    found = spectral.first_items(*low_pass_factors(data, filter_settings(rank=4)), 3, Path())
    scores = dense_filter(dense(data.train, data.num_items), 4, hops=2, exponent=0.25, ends=0)
    for row, items in zip(scores, found.tolist(), strict=True):
        expected = [item for item in np.argsort(-row)[:3] if row[item] > 1e-9]
        assert sorted(item for item in items if item >= 0) == sorted(expected)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_graph_of_the_filter_is_one_more_view_in_layer_0_of_mmssl(weight: float) -> None:
    data = toy_data()
    built = []
    for settings in ({}, {"interaction_topk": 3, "spectral_rank": 4, "spectral_weight": weight}):
        torch.manual_seed(0)
        built.append(build_model(data, build_settings({"model": "mmssl", "embedding_dim": 8, **settings})).eval())
    plain, joined = built
    assert joined.state_dict().keys() == plain.state_dict().keys()
    nearest = spectral.first_items(*low_pass_factors(data, filter_settings(rank=4)), 3, Path())
    edges = np.zeros((data.num_users, data.num_items))
    for user, items in enumerate(nearest.tolist()):
        edges[user, [item for item in items if item >= 0]] = 1
    scale = np.maximum(edges.sum(axis=1, keepdims=True), 1) ** 0.5 * np.maximum(edges.sum(axis=0), 1) ** 0.5
    view = torch.from_numpy((edges / scale).astype(np.float32)) @ plain.items

    for model in built:
        model.begin_epoch(1)
    of_users, of_items = joined.views()
    fused = joined.attention(torch.stack([*of_users, view]))
    expected = joined.users + joined.settings.eta * torch.nn.functional.normalize(fused, dim=1)
    torch.testing.assert_close(joined.fused_layer0(of_users, of_items)[0], expected)
    assert not torch.equal(plain.fused_layer0(*plain.views())[0], joined.fused_layer0(of_users, of_items)[0])
