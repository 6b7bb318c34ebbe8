"""Normalisation in D (Eq. 4): a D without batch statistics has one output in training and in evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from mmssl_cli.config.mmssl import AdversarySettings
from mmssl_cli.models.mmssl.adversarial import AdversarialSelfAugmentation, Factors
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.mmssl.discriminator import Discriminator
from mmssl_cli.sparse.csr import CSR
from tests.helpers.model_cases import array, randomise

USERS, ITEMS, DIM = 300, 200, 8
#: The settings under which running statistics turned the dense_outputs around on TikTok.
SCALED: dict[str, Any] = {
    "row_scaling": "l2",
    "discriminator_input": "row-and-user",
    "discriminator_init": "xavier",
    "embedding_dim": DIM,
}


def test_layer_normalisation_is_that_of_each_row() -> None:
    d = randomise(Discriminator(9, 6, 0.0, norm="layer"))
    rows = torch.randn(5, 9)
    values = array(rows)
    for linear, norm in ((d.first, d.rest[1]), (d.rest[3], d.rest[5])):
        values = values @ array(linear.weight).T + array(linear.bias)
        values = np.where(values > 0, values, 0.2 * values)
        mean, deviation = values.mean(axis=1, keepdims=True), np.sqrt(values.var(axis=1, keepdims=True) + norm.eps)
        values = (values - mean) / deviation * array(norm.weight) + array(norm.bias)
    output = (values @ array(d.rest[-2].weight).T + array(d.rest[-2].bias))[:, 0]
    np.testing.assert_allclose(array(d(d.first_layer_dense(rows))), 1 / (1 + np.exp(-output)), atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_a_verdict_is_a_rows_own_unless_the_batch_normalises(norm: str) -> None:
    d = randomise(Discriminator(9, 6, 0.0, norm=norm)).train()
    first = d.first_layer_dense(torch.randn(6, 9))
    alone = torch.allclose(d(first)[:3], d(first[:3]), atol=1e-5)  # products of other shapes round otherwise
    in_evaluation = torch.equal(d(first), d.eval()(first))
    assert alone == in_evaluation == (norm != "batch")


def _trained(steps: int, **settings: Any) -> tuple[float, float]:
    """Train D against fixed rows; return its gap D(observed) - D(generated) in training, and in evaluation mode."""
    torch.manual_seed(0)
    users, items = torch.randn(USERS, DIM), torch.randn(ITEMS, DIM)
    nearest = (users @ items.T).topk(5, dim=1).indices
    train = CSR.from_pairs(torch.stack([torch.arange(USERS).repeat_interleave(5), nearest.flatten()], dim=1), USERS)
    adversary = AdversarialSelfAugmentation(train, ITEMS, AdversarySettings(**SCALED, **settings)).train()
    optimizer, d = adversary.make_optimizer(), adversary.discriminator
    final = (normalize(users, dim=1), normalize(items, dim=1))
    made = (normalize(torch.randn(USERS, DIM), dim=1), normalize(torch.randn(ITEMS, DIM).abs(), dim=1))

    def factors(chosen: torch.Tensor) -> tuple[list[Factors], Factors]:
        return [(made[0][chosen], made[1])], (final[0][chosen], final[1])

    gap = 0.0
    for _ in range(steps):
        chosen = torch.randperm(USERS)[:64]
        gap = adversary.discriminator_step(optimizer, BatchRows(chosen), *factors(chosen))["discriminator gap"].item()
    d.eval()
    rows = BatchRows(torch.arange(USERS))
    [generated], at = factors(rows.users)
    with torch.no_grad():
        real = adversary.first_layer_of_real(rows, adversary.transformed_rows(rows), at)
        fake = adversary.first_layer_of_generated(rows, generated)
        return gap, float((d(real, users=at[0]) - d(fake, users=at[0])).mean())


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_a_discriminator_without_batch_statistics_judges_in_evaluation_as_it_trained(norm: str) -> None:
    gap, in_evaluation = _trained(200, discriminator_norm=norm, discriminator_lr=2e-3)
    assert gap > 0.1
    assert in_evaluation > 0.1
    assert in_evaluation == pytest.approx(gap, abs=0.1)


def test_running_statistics_hide_what_the_discriminator_learnt() -> None:
    gap, in_evaluation = _trained(30)
    assert gap > 0.5
    assert in_evaluation < 0.5 * gap
