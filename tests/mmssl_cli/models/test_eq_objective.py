"""Eq. 13 and 14 and Algorithm 1: the loss terms of a training step and who is updated by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.models import losses
from mmssl_cli.models.base import ranking_terms
from mmssl_cli.models.losses import bpr_loss, frobenius_norm, info_nce, l2_of, softmax_loss
from mmssl_cli.training.loop import TrainingLoop
from tests.helpers.model_cases import (
    array,
    dense,
    dense_outputs,
    features_of,
    toy_batch,
    toy_data,
    toy_model,
    unit,
)


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def test_eq14_bpr() -> None:
    users, positives, negatives = torch.randn(3, 6, 4, dtype=torch.float64)
    losses = [
        -np.log(_sigmoid(array(u) @ array(p) - array(u) @ array(n)))
        for u, p, n in zip(users, positives, negatives, strict=True)
    ]
    assert bpr_loss(users, positives, negatives).item() == pytest.approx(np.mean(losses), rel=1e-9)


def test_eq14_of_wide_margins_neither_overflows_nor_loses_its_gradient() -> None:
    user = torch.tensor([[1e4]], requires_grad=True)
    one = torch.ones(1, 1)
    assert bpr_loss(user, one, 0 * one).item() == 0
    loss = bpr_loss(user, 0 * one, one)
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert user.grad is not None and user.grad.item() == pytest.approx(1)


def test_softmax_loss_leaves_out_equal_items_of_the_batch() -> None:
    users, positives = torch.randn(2, 4, 3, dtype=torch.float64)
    items = torch.tensor([5, 2, 5, 7])
    positives[2] = positives[0]
    cosines = unit(array(users)) @ unit(array(positives)).T / 0.3
    losses = []
    for row in range(4):
        others = [column for column in range(4) if column == row or items[column] != items[row]]
        losses.append(-cosines[row, row] + np.log(np.exp(cosines[row, others]).sum()))
    assert softmax_loss(users, positives, items, 0.3).item() == pytest.approx(np.mean(losses), rel=1e-9)


def test_ranking_terms_take_the_rows_of_the_batch() -> None:
    data = toy_data()
    batch = toy_batch(data)
    users, items, users0, items0 = (torch.randn(rows, 4) for rows in (12, 9, 12, 9))
    settings = build_settings({"model": "mf", "l2_weight": 0.5})
    u, p, n = batch.users.numpy(), batch.positives.numpy(), batch.negatives.numpy()
    squares = (array(users0)[u] ** 2).sum() + (array(items0)[p] ** 2).sum() + (array(items0)[n] ** 2).sum()

    terms = ranking_terms(settings, users, items, batch, (users0, items0))

    margins = (array(users)[u] * (array(items)[p] - array(items)[n])).sum(axis=1)
    assert terms["bpr"].item() == pytest.approx(np.mean([-np.log(_sigmoid(m)) for m in margins]), rel=1e-5)
    assert terms["l2"].item() == pytest.approx(0.5 * squares / 2 / len(u), rel=1e-5)
    assert set(terms) == {"bpr", "l2"}
    other = ranking_terms(build_settings({"model": "mf", "loss": "softmax"}), users, items, batch, (users0, items0))
    assert set(other) == {"softmax"}
    assert other["softmax"].item() == pytest.approx(softmax_loss(users[u], items[p], batch.positives, 0.2).item())


@pytest.mark.parametrize("omega", [0.0, 0.3])
def test_eq13_terms_of_a_training_step_are_weighted(omega: float) -> None:
    data = toy_data()
    batch = toy_batch(data)
    weights = {"contrast_weight": 0.2, "adversarial_weight": 0.3, "l2_weight": 0.1}
    model = toy_model(data, omega=omega, discriminator_lr=0.05, **weights)
    model.begin_epoch(1)

    terms = model.training_step(batch)

    assert set(terms) == {"bpr", "contrast", "adversarial", "l2"}
    plain = toy_model(data, omega=omega, **(dict.fromkeys(weights, 1.0) | {"discriminator_lr": 0.05}))
    plain.load_state_dict(model.state_dict())
    users, items = model.represent()
    expected = ranking_terms(plain.settings, users, items, batch, (model.users, model.items))
    assert terms["bpr"].item() == pytest.approx(expected["bpr"].item(), rel=1e-6)
    assert terms["l2"].item() == pytest.approx(0.1 * expected["l2"].item(), rel=1e-6)
    assert terms["contrast"].item() == pytest.approx(0.2 * plain.training_step(batch)["contrast"].item(), rel=1e-5)
    # The generator is judged by the discriminator after its update, on the rows of the batch's distinct users.
    assert model.adversary is not None
    rows = sorted(set(batch.users.tolist()))
    matrix = dense(data.train, data.num_items)
    generated = np.concatenate([(unit(u) @ unit(i).T)[rows] for u, i in features_of(model, matrix)])
    judged = dense_outputs(model.adversary.discriminator, generated)
    assert terms["adversarial"].item() == pytest.approx(-0.3 * judged.mean(), rel=1e-4)


def _copies(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("steps", [1, 4])
def test_algorithm1_a_step_trains_the_discriminator_by_its_own_optimiser_alone(steps: int) -> None:
    data = toy_data()
    model = toy_model(data, discriminator_steps=steps)
    model.begin_epoch(1)
    before = _copies(model)

    terms = model.training_step(toy_batch(data))

    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    adversary = {name for name in before if name.startswith("adversary.")}
    assert changed and changed <= adversary
    assert all(model.get_parameter(name).grad is None for name in before.keys() - adversary)
    assert model.auxiliary_optimizer is not None
    assert {int(state["step"]) for state in model.auxiliary_optimizer.state.values()} == {steps}
    own = {id(p) for group in model.auxiliary_optimizer.param_groups for p in group["params"]}
    main = {id(p) for p in model.main_parameters()}
    assert own == {id(model.get_parameter(name)) for name in adversary}
    assert main == {id(model.get_parameter(name)) for name in before.keys() - adversary}

    gradients = {name: model.get_parameter(name).grad for name in adversary}
    kept = {name: gradient.clone() for name, gradient in gradients.items() if gradient is not None}
    torch.stack(list(terms.values())).sum().backward()
    assert all(torch.equal(model.get_parameter(name).grad, gradient) for name, gradient in kept.items())  # type: ignore[arg-type]
    for name in before.keys() - adversary:
        gradient = model.get_parameter(name).grad
        assert gradient is not None and gradient.abs().max() > 0, name


def test_the_generator_learns_at_its_own_rate() -> None:
    model = toy_model(toy_data(), generator_lr=1e-5)
    groups = {group["lr"]: {id(p) for p in group["params"]} for group in model.parameter_groups(1e-3)}
    generator = {id(p) for p in model.generator.parameters()}
    assert groups == {1e-5: generator, 1e-3: {id(p) for p in model.main_parameters()} - generator}
    assert len(toy_model(toy_data()).parameter_groups(1e-3)) == 1


def test_algorithm1_the_adversary_alone_reaches_the_projections_when_omega_is_zero() -> None:
    data = toy_data()
    model = toy_model(data, omega=0.0)
    model.begin_epoch(1)
    terms = model.training_step(toy_batch(data))
    (terms["bpr"] + terms["contrast"]).backward(retain_graph=True)
    weights = [layer.weight for layer in model.generator.projections.values()]
    assert all(weight.grad is None for weight in weights)
    terms["adversarial"].backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in weights)


def test_the_main_optimiser_minimises_the_sum_of_the_terms() -> None:
    data = toy_data()
    model = toy_model(data, lr=0.01, weight_decay=0.0)
    loop = TrainingLoop(model, data, model.settings)
    model.begin_epoch(1)
    before = _copies(model)
    twin = toy_model(data, lr=0.01, weight_decay=0.0)
    twin.begin_epoch(1)
    batch = toy_batch(data)
    torch.manual_seed(5)
    torch.stack(list(twin.training_step(batch).values())).sum().backward()

    torch.manual_seed(5)
    record = loop._step(batch)

    assert record["total"].item() == pytest.approx(sum(record[t].item() for t in ("bpr", "contrast", "adversarial")))
    for name, parameter in model.named_parameters():
        if not name.startswith("adversary"):
            gradient = twin.get_parameter(name).grad
            assert gradient is not None and torch.equal(parameter.grad, gradient)  # type: ignore[arg-type]
            # Adam's first step has length lr against the sign of the gradient.
            large = gradient.abs() > 1e-5
            steps = (parameter - before[name])[large]
            torch.testing.assert_close(steps, -0.01 * gradient[large].sign(), rtol=0.01, atol=0)


def test_weight_decay_is_decoupled_and_spares_the_discriminator() -> None:
    data = toy_data()
    ends = []
    for decay in (0.0, 0.5):
        model = toy_model(data, lr=0.01, weight_decay=decay)
        model.begin_epoch(1)
        start = _copies(model)
        torch.manual_seed(5)
        TrainingLoop(model, data, model.settings)._step(toy_batch(data))
        ends.append(_copies(model))
    for name, plain in ends[0].items():
        shrunk = 0 if name.startswith("adversary") else 0.01 * 0.5 * start[name]
        torch.testing.assert_close(ends[1][name], plain - shrunk, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("block", [1, 20, 2**20])
@pytest.mark.parametrize("repeated", [False, True])
def test_the_gradient_of_info_nce_in_blocks_is_that_of_its_formula(
    monkeypatch: pytest.MonkeyPatch, block: int, repeated: bool
) -> None:
    monkeypatch.setitem(losses.BLOCK_ELEMENTS, "cpu", block)
    monkeypatch.setattr(losses, "_LEAST_ANCHORS", 1)
    torch.manual_seed(0)
    anchors, others = torch.randn(7, 4, dtype=torch.float64), torch.randn(9, 4, dtype=torch.float64)
    chosen = torch.tensor([3, 3, 0, 8, 3, 1, 2]) if repeated else torch.arange(7)
    found, expected = [], []
    for results, whole in ((found, False), (expected, True)):
        pair = anchors.clone().requires_grad_(), others.clone().requires_grad_()
        if whole:
            cosines = torch.nn.functional.normalize(pair[0], dim=1) @ torch.nn.functional.normalize(pair[1], dim=1).T
            loss = -(cosines / 0.3).log_softmax(dim=1)[torch.arange(7), chosen].mean()
        else:
            loss = info_nce(*pair, 0.3, chosen if repeated else None)
        (loss * 2).backward()
        results += [loss.detach(), pair[0].grad, pair[1].grad]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cosine", [True, False])
def test_counted_rows_are_repeated_rows(monkeypatch: pytest.MonkeyPatch, cosine: bool) -> None:
    monkeypatch.setitem(losses.BLOCK_ELEMENTS, "cpu", 20)
    monkeypatch.setattr(losses, "_LEAST_ANCHORS", 1)
    torch.manual_seed(0)
    nodes = torch.tensor([3, 1, 1, 4, 3, 1, 0])
    tables = torch.randn(2, 5, 4, dtype=torch.float64)
    found = []
    for distinct, counts in (nodes.unique(return_counts=True), (nodes, None)):
        pair = [table.clone().requires_grad_() for table in tables]
        loss = info_nce(*(of[distinct] for of in pair), 0.3, cosine=cosine, counts=counts)
        found.append([loss.detach(), *torch.autograd.grad(loss, pair)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_info_nce_is_the_mean_log_share_of_the_positive() -> None:
    random = np.random.default_rng(3)
    anchors, others = random.normal(size=(3, 5)), random.normal(size=(6, 5))
    chosen = [4, 0, 5]
    cosines = unit(anchors) @ unit(others).T / 0.3
    losses = [-np.log(np.exp(row[at]) / np.exp(row).sum()) for row, at in zip(cosines, chosen, strict=True)]
    arguments = torch.from_numpy(anchors), torch.from_numpy(others), 0.3
    assert info_nce(*arguments, torch.tensor(chosen)).item() == pytest.approx(np.mean(losses), rel=1e-9)
    paired = [-np.log(np.exp(row[at]) / np.exp(row).sum()) for at, row in enumerate(cosines)]
    assert info_nce(*arguments).item() == pytest.approx(np.mean(paired), rel=1e-9)


def test_l2_is_half_the_squared_norm_a_triple() -> None:
    random = np.random.default_rng(4)
    rows = [torch.from_numpy(random.normal(size=(4, 3))).requires_grad_() for _ in range(3)]
    expected = sum((array(row) ** 2).sum() for row in rows) / 8
    assert l2_of(*rows).item() == pytest.approx(expected, rel=1e-9)
    for row, gradient in zip(rows, torch.autograd.grad(3 * l2_of(*rows), rows), strict=True):
        torch.testing.assert_close(gradient, 3 * row.detach() / 4)


def test_the_norm_of_a_table_and_its_gradient_are_those_of_pytorch() -> None:
    table = torch.randn(7, 5, requires_grad=True)
    ours, theirs = frobenius_norm(table), table.norm()
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(3 * norm, table)[0] for norm in (ours, theirs)))
    nought = torch.zeros(2, 3, requires_grad=True)
    frobenius_norm(nought).backward()
    assert nought.grad is not None and not nought.grad.any()
