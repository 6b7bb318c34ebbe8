"""Eq. 24 and 25: rho_1 and rho_2 against slow forms, their range, the sum they split, the gradients they compare."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from mmssl_cli.evaluation.transferability import rho_1, rho_2, transfer_bound, transferred_share
from mmssl_cli.models.mmssl.model import MMSSL
from mmssl_cli.studies.diagnostics.interaction_gradients import margin_gradients
from tests.helpers.model_cases import array, dense, projected, toy_data, toy_model, unit, weighted

INPUTS, DIM = 7, 5


def _gradients(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    source = random.normal(size=(INPUTS, DIM))
    return source, 0.7 * source + random.normal(size=(INPUTS, DIM))


def _slow(source: np.ndarray, target: np.ndarray) -> tuple[list[float], float]:
    cosines, products, of_source, of_target = [], 0.0, 0.0, 0.0
    for s, t in zip(source, target, strict=True):
        cosines.append((s @ t) ** 2 / ((s @ s) * (t @ t)))
        attack = s / np.sqrt(s @ s)
        products += (s @ attack) * (t @ attack)
        of_source += (s @ attack) ** 2
        of_target += (t @ attack) ** 2
    return cosines, products**2 / (of_source * of_target)


@pytest.mark.parametrize("seed", range(4))
def test_eq24_as_printed(seed: int) -> None:
    source, target = _gradients(seed)
    first, second = _slow(source, target)
    np.testing.assert_allclose(rho_1(source, target), first, rtol=1e-12)
    assert rho_2(source, target) == pytest.approx(second, rel=1e-12)
    assert 0 < second < 1
    assert rho_2(source, target) != pytest.approx(rho_2(target, source))


@pytest.mark.parametrize("seed", range(4))
def test_eq25_is_what_the_best_constant_leaves_over(seed: int) -> None:
    source, target = _gradients(seed)
    left = minimize_scalar(lambda a: ((target - a * source) ** 2).sum()).fun
    squares = (target**2).sum(axis=1)
    bound = ((1 - rho_1(source, target) * rho_2(source, target)) * squares).sum()
    assert left == pytest.approx(bound, rel=1e-9)
    assert transferred_share(source, target) == pytest.approx(1 - left / squares.sum(), rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_eq16_bounds_what_eq25_leaves_over(seed: int) -> None:
    source, target = _gradients(seed)
    first, second = _slow(source, target)
    largest = max(float(t @ t) for t in target)
    bound = transfer_bound(source, target)
    assert bound == pytest.approx((1 - sum(first) / len(first) * second) * largest, rel=1e-12)
    left = minimize_scalar(lambda a: ((target - a * source) ** 2).sum()).fun
    assert left / len(target) <= bound
    assert transfer_bound(source, -3 * source) == pytest.approx(0, abs=1e-9)


def test_the_ends_of_the_range() -> None:
    source, _ = _gradients(0)
    np.testing.assert_allclose(rho_1(source, -3 * source), 1)
    assert rho_2(source, -3 * source) == pytest.approx(1)
    assert transferred_share(source, -3 * source) == pytest.approx(1)
    np.testing.assert_allclose(rho_1(source[:, :2], source[:, :2][:, ::-1] * [1, -1]), 0, atol=1e-12)
    signs = np.where(np.arange(INPUTS) % 2, 1.0, -1.0)[:, None]
    same = source / np.linalg.norm(source, axis=1, keepdims=True)
    # Each attack transfers fully, but half of them with the other sign: no constant serves for all.
    assert rho_1(same[:6], (signs * same)[:6]) == pytest.approx(np.ones(6))
    assert rho_2(same[:6], (signs * same)[:6]) == pytest.approx(0, abs=1e-12)


def test_an_input_without_a_gradient_has_no_rho_1() -> None:
    source, target = _gradients(0)
    source[2] = 0
    assert np.isnan(rho_1(source, target)).tolist() == [row == 2 for row in range(INPUTS)]


def _slow_margins(row: np.ndarray, user: int, model: MMSSL, train: np.ndarray) -> dict[str, float]:
    """Margins of a user in each view, if the row of the user's interactions were ``row`` [I], all else held."""
    to_users, to_items = weighted(train, model.settings.adjacency)
    by_user, by_item = train[user].sum(), np.maximum(train.sum(axis=0), 1)
    weights = row / np.sqrt(by_user * (by_item if model.settings.adjacency == "sym" else 1))
    own = train[user] > 0

    def margin(of_user: np.ndarray, items: np.ndarray) -> float:
        cosines = unit(of_user[None])[0] @ unit(items).T
        return float(cosines[own].mean() - cosines[~own].mean())

    margins, added_users, added_items = {}, 0.0, 0.0
    for name, rows in zip(model.generator.projections, projected(model), strict=True):
        of_user, of_items = weights @ rows, to_items @ to_users @ rows
        margins[name] = margin(of_user, of_items)
        added_users, added_items = added_users + unit(of_user[None])[0], added_items + unit(of_items)
    omega, layers = model.settings.omega, model.settings.layers
    users, items = map(array, model.fused_layer0(*model.views()))
    of_user, sums = users[user].copy(), items.copy()
    for _ in range(layers):
        of_user += weights @ items
        users, items = to_users @ items, to_items @ users
        sums += items
    of_user, sums = of_user / (layers + 1), sums / (layers + 1)
    margins["target"] = margin(of_user + omega * added_users, sums + omega * added_items)
    return margins


@pytest.mark.parametrize(("adjacency", "omega", "layers"), [("sym", 0.0, 2), ("left", 0.0, 1), ("sym", 0.5, 3)])
def test_margin_gradients_are_the_slopes_of_margins_computed_slowly(adjacency: str, omega: float, layers: int) -> None:
    data = toy_data()
    model = toy_model(data, adjacency=adjacency, omega=omega, layers=layers).eval()
    model.begin_epoch(1)
    train = dense(data.train, data.num_items)
    users = torch.tensor([3, 7])

    target, sources = margin_gradients(model, data.train, users)

    found = {"target": array(target), **{name: array(source) for name, source in sources.items()}}
    assert set(found) == {"target", "visual", "text"}
    for place, user in enumerate(users.tolist()):
        for item in range(data.num_items):
            step = np.eye(data.num_items)[item] * 1e-4
            above, below = (_slow_margins(train[user] + sign * step, user, model, train) for sign in (1, -1))
            for name, gradients in found.items():
                slope = (above[name] - below[name]) / 2e-4
                assert gradients[place, item] == pytest.approx(slope, rel=1e-3, abs=1e-5), (name, user, item)
