"""Eq. 18 to 21: the gradient of each negative, against slow NumPy, against autograd and against the loss itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.evaluation.gradients import gradient_weight, negative_gradients, share_of_hardest, weight_peak
from mmssl_cli.models.mmssl.contrastive import cross_modal_contrast
from tests.helpers.model_cases import array, unit

USERS, DIM = 9, 4


def _embeddings(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    final, view = torch.randn(2, USERS, DIM, generator=generator, dtype=torch.float64)
    return final, view * 3


def _share(final: np.ndarray, view: np.ndarray, user: int, row: int, temperature: float) -> np.ndarray:
    """Eq. 18: the vector that candidate ``row`` (h of all users, then e) adds to the gradient of anchor e_u."""
    q = unit(np.concatenate([final, view]))
    anchor = q[USERS + user]
    total = sum(np.exp(anchor @ candidate / temperature) for candidate in q)
    direction = q[row] - (anchor @ q[row]) * anchor
    return direction * np.exp(anchor @ q[row] / temperature) / total / temperature / np.linalg.norm(view[user])


def _negatives(user: int) -> list[int]:
    return [row for row in range(2 * USERS) if row not in (user, USERS + user)]


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("block_rows", [2, 100])
def test_eq20_norms_are_those_of_the_shares_one_by_one(temperature: float, block_rows: int) -> None:
    final, view = _embeddings()
    anchors = torch.tensor([4, 0, 8])

    blocks = list(negative_gradients(final, view, anchors, temperature, block_rows))

    found, norms = (np.concatenate([array(block[part]) for block in blocks]) for part in (0, 1))
    q = unit(np.concatenate([array(final), array(view)]))
    for place, user in enumerate(anchors.tolist()):
        rows = _negatives(user)
        expected = [np.linalg.norm(_share(array(final), array(view), user, row, temperature)) for row in rows]
        np.testing.assert_allclose(found[place], [q[USERS + user] @ q[row] for row in rows], atol=1e-12)
        np.testing.assert_allclose(norms[place], expected, rtol=1e-9)


def test_eq18_the_shares_add_up_to_the_gradient_of_the_loss_of_eq11() -> None:
    final, view = _embeddings(1)
    temperature, user = 0.3, 5
    anchor = view[user].clone().requires_grad_()
    # The anchor's own term: it is row 0, and the users whose h and e it is compared with stay as they are.
    q = torch.nn.functional.normalize(torch.cat([final, view]), dim=1)
    x = torch.nn.functional.normalize(anchor, dim=0) @ q.T / temperature
    (torch.logsumexp(x, dim=0) - x[user]).backward()

    rows = range(2 * USERS)
    shares = {row: _share(array(final), array(view), user, row, temperature) for row in rows}
    h, u = unit(array(final))[user], unit(array(view))[user]
    pull = -(h - (u @ h) * u) / temperature / np.linalg.norm(array(view)[user])
    assert anchor.grad is not None
    np.testing.assert_allclose(array(anchor.grad), sum(shares.values()) + pull, rtol=1e-9)


def test_the_loss_taken_apart_is_the_one_that_is_trained() -> None:
    final, view = _embeddings(2)
    q = torch.nn.functional.normalize(torch.cat([final, view]), dim=1)
    x = q[USERS:] @ q.T / 0.3
    terms = torch.logsumexp(x, dim=1) - x[torch.arange(USERS), torch.arange(USERS)]
    assert cross_modal_contrast(final, [view], 0.3).item() == pytest.approx(terms.mean().item(), rel=1e-9)


def test_eq19_each_norm_is_that_of_autograd_through_the_similarity() -> None:
    final, view = _embeddings(3)
    temperature, user = 0.2, 2
    anchor = view[user].clone().requires_grad_()
    q = torch.nn.functional.normalize(torch.cat([final, view]), dim=1)
    x = torch.nn.functional.normalize(anchor, dim=0) @ q.T / temperature
    weights = x.softmax(dim=0).detach()

    expected = [
        torch.autograd.grad(weights[row] * x[row], anchor, retain_graph=True)[0].norm().item()
        for row in _negatives(user)
    ]

    [(_, norms)] = negative_gradients(final, view, torch.tensor([user]), temperature)
    np.testing.assert_allclose(array(norms[0]), expected, rtol=1e-9)


def test_eq21_norms_of_one_anchor_are_proportional_to_the_weight() -> None:
    final, view = _embeddings(4)
    for x, norms in negative_gradients(final, view, torch.arange(USERS), 0.15, block_rows=1):
        ratio = array(norms[0]) / gradient_weight(array(x[0]), 0.15)
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


def test_eq21_by_hand_and_at_the_ends() -> None:
    np.testing.assert_allclose(gradient_weight(np.array([-1.0, 0, 0.6, 1]), 0.5), [0, 1, 0.8 * np.exp(1.2), 0])


@pytest.mark.parametrize("temperature", [0.02, 0.1, 0.5, 3.0])
def test_the_weight_is_largest_where_it_is_said_to_be(temperature: float) -> None:
    x = np.linspace(-1, 1, 200_001)
    assert weight_peak(temperature) == pytest.approx(x[gradient_weight(x, temperature).argmax()], abs=2e-5)


def test_a_user_without_a_direction_pulls_at_nobody() -> None:
    final, view = _embeddings()
    final[3] = 0
    [(x, norms)] = negative_gradients(final, view, torch.tensor([0]), 0.5)
    assert (x[0, 2].item(), norms[0, 2].item()) == (0, 0)
    assert norms.isfinite().all()


def test_share_of_the_hardest_negatives() -> None:
    similarities = torch.tensor([[0.1, 0.9, -0.5, 0.8], [0.4, 0.3, 0.2, 0.1]])
    norms = torch.tensor([[1.0, 4, 2, 3], [1, 1, 1, 5]])
    assert share_of_hardest(similarities, norms, 0.5).tolist() == pytest.approx([0.7, 0.25])
    assert share_of_hardest(similarities, norms, 0.01).tolist() == pytest.approx([0.4, 0.125])
