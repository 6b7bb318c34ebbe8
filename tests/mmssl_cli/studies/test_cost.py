"""Cost against the size of the data: data of other sizes, the terms of A.3, the exponent of growth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.studies.diagnostics import cost
from tests.helpers.model_cases import array, dense, toy_data, toy_model


def test_resized_data_keep_what_a_user_has_and_share_nothing_between_copies() -> None:
    data = toy_data(users=40, items=30)
    half, twice = cost.resized(data, 0.5), cost.resized(data, 2)
    assert (half.num_users, half.num_items) == (20, 15)
    assert half.features["visual"].shape == (15, 7) and int(half.train.indices.max()) < 15
    assert 0.35 * len(data.train) < len(half.train) <= 0.65 * len(data.train)
    assert (twice.num_users, twice.num_items, len(twice.train)) == (80, 60, 2 * len(data.train))
    matrix = dense(twice.train, 60)
    np.testing.assert_array_equal(matrix[:40, :30], matrix[40:, 30:])
    assert not matrix[:40, 30:].any() and not matrix[40:, :30].any()
    # Of the whole data the items are only named anew: a user's items keep their features.
    same = cost.resized(data, 1)
    ours = [np.sort(array(data.features["visual"])[data.train.row(user).numpy()], axis=0) for user in range(40)]
    for user, rows in enumerate(ours):
        found = array(same.features["visual"])[same.train.row(user).numpy()]
        np.testing.assert_array_equal(np.sort(found, axis=0), rows)
    with pytest.raises(ValueError, match="whole number"):
        cost.resized(data, 1.5)


def test_no_step_is_recorded_while_its_cost_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = build_settings({"model": "mmssl", "cuda_graph": True})
    point = cost.measure_point(toy_data(users=40, items=30), settings.model_copy(update={"cuda_graph": False}), 1.0)
    measured = []
    monkeypatch.setattr(cost, "measure_point", lambda data, settings, fraction: measured.append(settings) or point)
    cost.measure_cost(toy_data(users=40, items=30), settings, torch.device("cpu"), lambda text: None, [1.0])
    assert [one.cuda_graph for one in measured] == [False]


def test_complexity_is_that_of_the_appendix() -> None:
    data = toy_data()  # 12 users, 9 items, features of 7 and 5 columns
    model = toy_model(data, layers=2, embedding_dim=8, graph_topk=3)
    interactions = len(data.train)

    parts = {part.name: part.printed for part in cost.complexity(model, interactions, batch=10, distinct=6)}

    assert parts == {
        "Feature transformation": 9 * (7 + 5) * 8,
        "Relation generation": 10 * 2 * 9 * 8,
        "Discriminator": 10 * 9,
        "Modality views": 2 * (12 * 3) * 8,
        "Attention": 12 * 4 * 8,
        "Propagation": 2 * interactions * 8,
        "Recommendation loss": 10 * 8,
        "Contrast, numerator": 2 * 10 * 8,
        "Contrast, denominator": 2 * 10 * 12 * 8,
    }


@pytest.mark.parametrize(
    ("variant", "lacks"), [("w/o-ASL", {"Discriminator", "Relation"}), ("w/o-CL", {"Contrast,"}), ("r/p-GAE", {"Disc"})]
)
def test_complexity_leaves_out_what_a_variant_lacks(variant: str, lacks: set[str]) -> None:
    data = toy_data()
    whole, less = (
        {part.name for part in cost.complexity(toy_model(data, variant=name), 30, 8, 5)} for name in ("full", variant)
    )
    assert all(any(name.startswith(start) for name in whole - less) for start in lacks)
    assert less < whole
    bare = cost.complexity(toy_model(toy_data(modalities={})), 30, 8, 5)
    assert [part.name for part in bare] == ["Propagation", "Recommendation loss"]


def test_growth_is_the_exponent() -> None:
    assert cost.growth([1, 2, 4], [3, 3 * 2**1.5, 3 * 4**1.5]) == pytest.approx(1.5)
    assert np.isnan(cost.growth([2], [1]))
