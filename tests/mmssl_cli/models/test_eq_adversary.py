"""Eq. 4 to 7, the adversarial self-augmentation, against NumPy and against the plain dense form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.config.mmssl import AdversarySettings
from mmssl_cli.models.mmssl.adversarial import AdversarialSelfAugmentation, Factors, low_rank_factors
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.mmssl.discriminator import Discriminator
from mmssl_cli.sparse.csr import CSR
from tests.helpers.model_cases import array, dense, dense_outputs, randomise, toy_pairs, unit

USERS, ITEMS = 12, 9


def _adversary(gumbel_transform: bool = True, **settings: Any) -> AdversarialSelfAugmentation:
    values: dict[str, Any] = {"gumbel_temperature": 0.4, "gumbel_scale": 0.5, "zeta": 0.7, "gradient_penalty": 0.0}
    values |= {"discriminator_lr": 0.01, "discriminator_hidden": 6, "discriminator_dropout": 0.0}
    values |= {"discriminator_steps": 1, **settings}
    torch.manual_seed(1)
    train = CSR.from_pairs(toy_pairs(), USERS)
    return AdversarialSelfAugmentation(train, ITEMS, AdversarySettings(**values), gumbel_transform)


def _factors(seed: int, users: torch.Tensor, modalities: int = 2) -> list[Factors]:
    generator = torch.Generator().manual_seed(seed)
    sizes = ((USERS, 4), (ITEMS, 4))
    pairs = [tuple(torch.randn(size, generator=generator) for size in sizes) for _ in range(modalities)]
    return low_rank_factors(users, pairs)  # type: ignore[arg-type]


def _cosines(factors: Factors) -> np.ndarray:
    return unit(array(factors[0])) @ unit(array(factors[1])).T


BATCH = torch.tensor([1, 3, 4, 7, 11])
ROWS = BatchRows(BATCH)


def test_thin_factors_are_the_rows_of_the_cosines() -> None:
    users, items = torch.randn(USERS, 4), torch.randn(ITEMS, 4)
    [(left, right)] = low_rank_factors(BATCH, [(users, items)])
    expected = (unit(array(users)) @ unit(array(items)).T)[BATCH.numpy()]
    np.testing.assert_allclose(array(left @ right.T), expected, atol=1e-6)


def test_eq4_discriminator_with_running_statistics() -> None:
    d = randomise(Discriminator(ITEMS, 6, dropout=0.5)).eval()
    rows = torch.randn(5, ITEMS)
    found = d(d.first_layer_dense(rows))
    assert found.shape == (5,)
    np.testing.assert_allclose(array(found), dense_outputs(d, array(rows)), atol=1e-6)


def test_eq4_discriminator_in_training_uses_the_statistics_of_the_batch_and_dropout() -> None:
    d = randomise(Discriminator(ITEMS, 6, dropout=0.0)).train()
    rows = torch.randn(5, ITEMS)
    np.testing.assert_allclose(array(d(d.first_layer_dense(rows))), dense_outputs(d, array(rows), True), atol=1e-5)
    dropping = Discriminator(ITEMS, 64, dropout=0.5).train()
    assert not torch.equal(dropping(dropping.first_layer_dense(rows)), dropping(dropping.first_layer_dense(rows)))


def test_eq4_takes_two_layers_of_linear_activation_normalisation_and_dropout() -> None:
    layers = [type(layer).__name__ for layer in Discriminator(ITEMS, 6, 0.3).rest]
    assert layers == ["LeakyReLU", "BatchNorm1d", "Dropout", "Linear"] * 2 + ["Sigmoid"]


def test_products_and_entries_have_the_first_layer_of_their_dense_rows() -> None:
    d, adversary = Discriminator(ITEMS, 6, 0.0).double(), _adversary()
    left, right = torch.randn(5, 3, dtype=torch.float64), torch.randn(ITEMS, 3, dtype=torch.float64)
    torch.testing.assert_close(d.first_layer_lowrank(left, right), d.first_layer_dense(left @ right.T))
    chosen = adversary.train_items.select(BATCH)
    rows = torch.from_numpy(dense(chosen, ITEMS))
    torch.testing.assert_close(d.first_layer_sparse(chosen.row_of_each(), chosen.indices, 5), d.first_layer_dense(rows))
    torch.testing.assert_close(d.first_layer_dense(rows) + d.first.bias, d.first(rows))


def _uniform(seed: int, rows: int) -> np.ndarray:
    torch.manual_seed(seed)
    return array(torch.rand(rows, ITEMS))


def _transformed(adversary: AdversarialSelfAugmentation, users: torch.Tensor, uniform: np.ndarray) -> np.ndarray:
    """The first term of Eq. 5, an entry at a time."""
    settings, observed = adversary.settings, dense(adversary.train_items, ITEMS)
    rows = np.zeros((len(users), ITEMS))
    for place, user in enumerate(users.tolist()):
        gumbel = [-np.log(-np.log(u)) for u in uniform[place]]
        powers = [
            np.exp((observed[user, item] + settings.gumbel_scale * gumbel[item]) / settings.gumbel_temperature)
            for item in range(ITEMS)
        ]
        rows[place] = np.array(powers) / sum(powers)
    return rows


@pytest.mark.parametrize(("scale", "temperature"), [(1.0, 1.0), (0.5, 0.4), (0.1, 2.0), (0.0, 0.5)])
def test_eq5_transform_from_the_same_uniform_numbers(scale: float, temperature: float) -> None:
    adversary = _adversary(gumbel_scale=scale, gumbel_temperature=temperature)
    users = torch.tensor([3, 0, 3, 8])
    expected = _transformed(adversary, users, _uniform(2, 4))
    torch.manual_seed(2)
    found = adversary.transformed_rows(BatchRows(users))
    assert found is not None
    np.testing.assert_allclose(array(found), expected, rtol=1e-4, atol=1e-6)


def test_eq5_noise_is_gumbel_so_that_the_largest_entry_is_a_draw_of_the_softmax() -> None:
    adversary, user, draws = _adversary(gumbel_scale=1.0, gumbel_temperature=1.0), 5, 40_000
    torch.manual_seed(0)
    rows = adversary.transformed_rows(BatchRows(torch.full((draws,), user)))
    assert rows is not None
    shares = np.bincount(rows.argmax(dim=1).numpy(), minlength=ITEMS) / draws
    powers = np.exp(dense(adversary.train_items, ITEMS)[user])
    np.testing.assert_allclose(shares, powers / powers.sum(), atol=0.01)


@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_eq5_a_uniform_number_of_zero_is_no_accident(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    adversary = _adversary(gumbel_scale=scale)
    uniform = torch.rand(5, ITEMS)
    uniform[0, :3] = 0.0
    monkeypatch.setattr(torch, "rand", lambda *size, **options: uniform.clone())
    rows = adversary.transformed_rows(ROWS)
    assert rows is not None and rows.isfinite().all()
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(5))


def _dense_rows(
    adversary: AdversarialSelfAugmentation, generated: list[Factors], final: Factors, observed: np.ndarray
) -> list[np.ndarray]:
    """The observed rows of Eq. 5 with their auxiliary signal, then the generated ones of each modality."""
    return [observed + adversary.settings.zeta * _cosines(final), *map(_cosines, generated)]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("gumbel", [True, False])
def test_eq6_objective_is_the_gap_between_generated_and_observed(gumbel: bool, training: bool) -> None:
    adversary = _adversary(gumbel_transform=gumbel)
    d = randomise(adversary.discriminator).train(training)
    generated, (final,) = _factors(3, BATCH), _factors(4, BATCH, 1)
    observed = adversary.transformed_rows(ROWS)
    assert (observed is None) is not gumbel
    plain = dense(adversary.train_items, ITEMS)[BATCH.numpy()] if observed is None else array(observed)
    rows = _dense_rows(adversary, generated, final, plain)
    judged = np.split(dense_outputs(d, np.concatenate(rows), batch_statistics=training), len(rows))
    gap = judged[0].mean() - np.mean([fake.mean() for fake in judged[1:]])

    objective, found = adversary.objective(ROWS, observed, generated, final)

    assert found.item() == pytest.approx(gap, abs=1e-5)
    assert objective.item() == pytest.approx(-gap, abs=1e-5)


def _dense_penalty(d: Discriminator, rows: torch.Tensor) -> torch.Tensor:
    """The penalty of Eq. 7 as it is usually written: by the gradient at the dense rows."""
    rows = rows.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(d.rest(d.first(rows)).sum(), rows, create_graph=True)
    return (gradient.norm(dim=1) - 1).square().mean()


@pytest.mark.parametrize("weight", [0.5, 10.0])
def test_eq7_objective_with_the_penalty_at_interpolated_rows(weight: float) -> None:
    adversary = _adversary(gradient_penalty=weight)
    d = randomise(adversary.discriminator).eval()
    generated, (final,) = _factors(3, BATCH), _factors(4, BATCH, 1)
    observed = adversary.transformed_rows(ROWS)
    assert observed is not None
    real, *fakes = _dense_rows(adversary, generated, final, array(observed))
    torch.manual_seed(9)
    shares = array(torch.rand(2, len(BATCH), 1))
    mixed = np.concatenate([share * real + (1 - share) * fake for share, fake in zip(shares, fakes, strict=True)])
    penalty = _dense_penalty(d, torch.from_numpy(mixed).float())

    torch.manual_seed(9)
    objective, gap = adversary.objective(ROWS, observed, generated, final)

    assert objective.item() == pytest.approx(-gap.item() + weight * penalty.item(), rel=1e-4)


def test_eq7_penalty_and_all_its_gradients_are_those_of_the_dense_form() -> None:
    d = randomise(Discriminator(ITEMS, 6, dropout=0.5)).double()
    rows = 3 * torch.randn(8, ITEMS, dtype=torch.float64)
    d.eval()
    expected = _dense_penalty(d, rows)
    right = torch.autograd.grad(expected, list(d.parameters()))
    d.train()
    buffers = {name: buffer.clone() for name, buffer in d.named_buffers()}

    penalty = d.gradient_penalty(d.first_layer_dense(rows))

    assert d.training and all(layer.training for layer in d.modules())
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in d.named_buffers())
    torch.testing.assert_close(penalty, expected)
    found = torch.autograd.grad(penalty, list(d.parameters()))
    for (name, _), gradient, wanted in zip(d.named_parameters(), found, right, strict=True):
        torch.testing.assert_close(gradient, wanted, msg=lambda text, name=name: f"{name}: {text}")
        assert wanted.abs().max() > 1e-6, name


def test_eq7_penalty_of_a_saturated_discriminator_is_finite() -> None:
    d = Discriminator(ITEMS, 6, 0.0)
    with torch.no_grad():
        d.rest[-2].bias.fill_(200.0)
    penalty = d.gradient_penalty(d.first_layer_dense(torch.randn(4, ITEMS)))
    penalty.backward()
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    assert all(p.grad is None or p.grad.isfinite().all() for p in d.parameters())


def test_eq7_generator_loss_and_its_gradient_are_those_of_the_dense_form() -> None:
    adversary = _adversary(discriminator_dropout=0.5)
    d = randomise(adversary.discriminator).train()
    leaves = [[part.clone().requires_grad_() for part in pair] for pair in _factors(3, BATCH)]
    for parameter in d.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    buffers = {name: buffer.clone() for name, buffer in d.named_buffers()}

    loss = adversary.generator_loss(ROWS, [(left, right) for left, right in leaves])
    loss.backward()

    assert d.training and all(p.requires_grad for p in d.parameters())
    assert all(bool((p.grad == 7).all()) for p in d.parameters() if p.grad is not None)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in d.named_buffers())
    d.eval()
    rows = np.concatenate([array(left) @ array(right).T for left, right in leaves])
    assert loss.item() == pytest.approx(-dense_outputs(d, rows).mean(), abs=1e-6)
    for left, right in leaves:
        found = (left.grad, right.grad)
        left.grad = right.grad = None
        (-d.rest(d.first(left @ right.T)).mean() / 2).backward()
        for gradient, wanted in zip(found, (left.grad, right.grad), strict=True):
            assert gradient is not None and wanted is not None and wanted.abs().max() > 0
            torch.testing.assert_close(gradient, wanted)


def test_the_discriminator_learns_to_tell_and_leaves_the_generator_alone() -> None:
    adversary = _adversary(gradient_penalty=0.1, zeta=0.0)
    users = torch.arange(USERS)
    leaves = [[part.clone().requires_grad_() for part in pair] for pair in _factors(3, users)]
    generated = [(left, right) for left, right in leaves]
    (final,) = _factors(4, users, 1)
    arguments = adversary.make_optimizer(), BatchRows(users), generated, final
    gaps = [adversary.discriminator_step(*arguments)["discriminator gap"].item() for _ in range(61)]
    assert gaps[-1] > gaps[0] + 0.3
    assert all(part.grad is None for pair in leaves for part in pair)


def test_a_generator_that_follows_its_loss_is_taken_for_observed() -> None:
    adversary = _adversary()
    randomise(adversary.discriminator)
    leaves = [[part.clone().requires_grad_() for part in pair] for pair in _factors(3, BATCH)]
    losses = []
    for _ in range(20):
        loss = adversary.generator_loss(ROWS, [(left, right) for left, right in leaves])
        gradients = torch.autograd.grad(loss, [part for pair in leaves for part in pair])
        with torch.no_grad():
            for part, gradient in zip([part for pair in leaves for part in pair], gradients, strict=True):
                part -= gradient
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("steps", [1, 3])
def test_d_steps_are_steps_of_adam_as_wgan_gp_sets_it(steps: int) -> None:
    adversary = _adversary(discriminator_steps=steps, discriminator_lr=0.02)
    optimizer = adversary.make_optimizer()
    assert isinstance(optimizer, torch.optim.Adam)
    [group] = optimizer.param_groups
    assert (group["lr"], group["betas"]) == (0.02, (0.5, 0.9))
    (final,) = _factors(4, BATCH, 1)
    adversary.discriminator_step(optimizer, ROWS, _factors(3, BATCH), final)
    assert {int(state["step"]) for state in optimizer.state.values()} == {steps}
    assert len(optimizer.state) == len(list(adversary.discriminator.parameters()))


def test_the_width_of_the_discriminator_does_not_grow_with_the_items() -> None:
    small, large = Discriminator(10, 6, 0.0), Discriminator(1000, 6, 0.0)
    assert sum(p.numel() for p in large.parameters()) - sum(p.numel() for p in small.parameters()) == 990 * 6
