"""Eq. 24 and 25: rho_1 and rho_2 against slow forms, their range, and the sum they take apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from mmssl_cli.evaluation.transferability import rho_1, rho_2, transferred_share

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
