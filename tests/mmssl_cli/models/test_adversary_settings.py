"""Settings of MMSSL's adversary that are not in the paper, against NumPy and the plain dense form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from mmssl_cli.config import build_settings
from mmssl_cli.config.mmssl import AdversarySettings
from mmssl_cli.models.mmssl.adversarial import AdversarialSelfAugmentation, Factors, low_rank_factors
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.mmssl.collapse import effective_rank, vicreg_penalty
from mmssl_cli.models.mmssl.discriminator import Discriminator
from mmssl_cli.models.mmssl.gradients import gradient_at
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.training.loop import TrainingLoop
from pipelines.errors import UsageError
from tests.helpers.model_cases import array, dense, randomise, toy_batch, toy_data, toy_model, toy_pairs, unit, weighted

USERS, ITEMS, DIM = 12, 9, 4
BATCH = torch.tensor([1, 3, 4, 7, 11])
ROWS = BatchRows(BATCH)
PADDED = BatchRows(torch.tensor([1, 3, 4, 7, 11, 0, 0]), torch.tensor([True] * 5 + [False] * 2))


def _adversary(gumbel_transform: bool = True, **settings: Any) -> AdversarialSelfAugmentation:
    values: dict[str, Any] = {"zeta": 0.7, "discriminator_hidden": 6, "discriminator_dropout": 0.0, **settings}
    torch.manual_seed(1)
    train = CSR.from_pairs(toy_pairs(), USERS)
    settings_ = AdversarySettings(**{"embedding_dim": DIM, "gradient_penalty": 0.0, **values})
    return AdversarialSelfAugmentation(train, ITEMS, settings_, gumbel_transform)


def _factors(seed: int, users: torch.Tensor, modalities: int = 2) -> list[Factors]:
    generator = torch.Generator().manual_seed(seed)
    pairs = [
        (torch.randn(USERS, DIM, generator=generator), torch.randn(ITEMS, DIM, generator=generator))
        for _ in range(modalities)
    ]
    return low_rank_factors(users, pairs)


def _dense_outputs(d: Discriminator, rows: torch.Tensor, users: torch.Tensor | None = None) -> torch.Tensor:
    """Eq. 4 of dense rows [n, I] in evaluation mode, and the product with the users [n, d] before the sigmoid."""
    d.eval()
    hidden = d.rest[:-2](d.first(rows))
    logits = d.rest[-2](hidden)[:, 0]
    if d.of_user is not None and users is not None:
        logits = logits + torch.einsum("nd,hd,nh->n", users, d.of_user.weight, hidden)
    return logits.sigmoid()


@pytest.mark.parametrize("rows", [ROWS, PADDED], ids=["whole", "padded"])
@pytest.mark.parametrize("gumbel", [True, False])
def test_real_and_generated_rows_have_length_1(gumbel: bool, rows: BatchRows) -> None:
    adversary = _adversary(gumbel, row_scaling="l2", zeta=0.3)
    d = adversary.discriminator
    generated, (final,) = _factors(3, rows.users), _factors(4, rows.users, 1)
    generated[0][0][1] = 0  # a user without content
    transformed = adversary.transformed_rows(rows)
    observed = dense(adversary.train_items, ITEMS)[rows.users.numpy()] if transformed is None else array(transformed)
    real = unit(observed + 0.3 * array(final[0]) @ array(final[1]).T)
    found = array(adversary.first_layer_of_real(rows, transformed, final))
    np.testing.assert_allclose(found[:5], (real @ array(d.first.weight).T)[:5], atol=1e-5)
    for factors in generated:
        expected = unit(array(factors[0]) @ array(factors[1]).T) @ array(d.first.weight).T
        np.testing.assert_allclose(array(adversary.first_layer_of_generated(rows, factors)), expected, atol=1e-5)


@pytest.mark.parametrize("scaling", ["none", "l2"])
@pytest.mark.parametrize("seen", ["row", "row-and-user"])
def test_objective_and_generator_loss_are_those_of_the_dense_form(scaling: str, seen: str) -> None:
    adversary = _adversary(row_scaling=scaling, discriminator_input=seen, gradient_penalty=2.0)
    d = randomise(adversary.discriminator).eval()
    leaves = [[part.clone().requires_grad_() for part in pair] for pair in _factors(3, BATCH)]
    (final,) = _factors(4, BATCH, 1)
    users = final[0] if seen == "row-and-user" else None

    def rows_of(dense_rows: torch.Tensor) -> torch.Tensor:
        return normalize(dense_rows, dim=1) if scaling == "l2" else dense_rows

    transformed = adversary.transformed_rows(ROWS)
    assert transformed is not None
    real = rows_of(transformed + 0.7 * final[0] @ final[1].T)
    fakes = [rows_of(left @ right.T) for left, right in leaves]
    gap = _dense_outputs(d, real, users).mean() - torch.stack([_dense_outputs(d, f, users) for f in fakes]).mean()
    torch.manual_seed(9)
    shares = torch.rand(2, len(BATCH), 1)
    penalties = []
    for share, fake in zip(shares, fakes, strict=True):
        mixed = (share * real + (1 - share) * fake).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(_dense_outputs(d, mixed, users).sum(), mixed)
        penalties.append((gradient.norm(dim=1) - 1).square().mean())

    torch.manual_seed(9)
    objective, found = adversary.objective(ROWS, transformed, [(u.detach(), i.detach()) for u, i in leaves], final)
    assert found.item() == pytest.approx(gap.item(), abs=1e-5)
    assert objective.item() == pytest.approx(-gap.item() + 2 * torch.stack(penalties).mean().item(), rel=1e-4)

    loss = adversary.generator_loss(ROWS, [(left, right) for left, right in leaves], final)
    expected = -torch.stack([_dense_outputs(d, fake, users) for fake in fakes]).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    parts = [part for pair in leaves for part in pair]
    for gradient, wanted in zip(torch.autograd.grad(loss, parts), torch.autograd.grad(expected, parts), strict=True):
        assert wanted.abs().max() > 0
        torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-6)


def test_a_discriminator_that_knows_the_user_judges_a_row_by_its_user() -> None:
    d = Discriminator(ITEMS, 6, 0.0, user_dim=DIM).eval()
    first = d.first_layer_dense(torch.randn(1, ITEMS)).repeat(2, 1)
    one, other = d(first, users=torch.randn(2, DIM)).tolist()
    assert one != other
    plain = Discriminator(ITEMS, 6, 0.0).eval()
    one, other = plain(first, users=torch.randn(2, DIM)).tolist()
    assert one == other


def test_xavier_fills_every_linear_layer() -> None:
    d = Discriminator(200, 50, 0.0, "xavier", user_dim=30)
    for layer in (d.first, d.rest[3], d.rest[7], d.of_user):
        assert isinstance(layer, torch.nn.Linear)
        bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
        assert 0.8 * bound < layer.weight.abs().max() <= bound
        assert layer.bias is None or not layer.bias.any()


def test_the_rate_of_the_discriminator_decays_on_the_schedule_of_the_others() -> None:
    data = toy_data()
    settings = {"discriminator_lr": 0.08, "discriminator_lr_decay": 0.5, "lr_decay_every": 2, "lr": 0.01}
    model = toy_model(data, **settings)
    loop = TrainingLoop(model, data, model.settings)
    assert model.auxiliary_optimizer is not None
    rates = []
    for _ in range(5):
        loop.run_epoch()
        rates.append((loop.optimizer.param_groups[0]["lr"], model.auxiliary_optimizer.param_groups[0]["lr"]))
    own = loop.settings.lr_decay
    np.testing.assert_allclose(rates, [(0.01 * own**n, 0.08 * 0.5**n) for n in (0, 0, 1, 1, 2)])


def _dense_views(model: Any, neighbours: np.ndarray, users: torch.Tensor, items: torch.Tensor) -> list[torch.Tensor]:
    """Eq. 8 with the cosines of f_u and f_i as further weights, dense and with gradient."""
    matrix = np.zeros((model.num_users, model.num_items))
    for user, chosen in enumerate(neighbours):
        matrix[user, chosen[chosen >= 0]] = 1
    to_users, to_items = (torch.from_numpy(part).float() for part in weighted(matrix, model.settings.adjacency))
    relations = normalize(users, dim=1) @ normalize(items, dim=1).T
    return [(to_users * relations) @ model.items, (to_items * relations.T) @ model.users]


@pytest.mark.parametrize("adjacency", ["sym", "left"])
def test_edges_weigh_their_relations_and_train_the_generator(adjacency: str) -> None:
    data = toy_data(absent={"visual": (0, 1, 2, 3)})
    model = toy_model(data, adjacency=adjacency, edge_weights="cosine", graph_topk=5)
    model.begin_epoch(1)
    assert (model.neighbours < 0).any()
    parameters = [model.users, model.items, *model.generator.parameters()]
    for modality, (of_users, of_items) in enumerate(zip(*model.views(), strict=True)):
        features = model.generator()[modality]
        expected = _dense_views(model, model.neighbours[modality].numpy(), *features)
        targets = torch.randn_like(of_users), torch.randn_like(of_items)
        found = [(a * t).sum() for a, t in zip((of_users, of_items), targets, strict=True)]
        wanted = [(a * t).sum() for a, t in zip(expected, targets, strict=True)]
        for one, other in zip((of_users, of_items), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(
            gradient_at(sum(found), parameters), gradient_at(sum(wanted), parameters), rtol=1e-3, atol=1e-5
        )


def test_the_ranking_loss_reaches_the_generator_over_weighted_edges_alone() -> None:
    data = toy_data()
    for weights in ("none", "cosine"):
        model = toy_model(data, edge_weights=weights)
        model.begin_epoch(1)
        terms = model.training_step(toy_batch(data))
        reached = gradient_at(terms["bpr"], list(model.generator.parameters())).norm().item()
        assert (reached > 0) is (weights == "cosine")


def test_weighted_edges_follow_a_refresh_and_restored_weights() -> None:
    data = toy_data()
    model, other = (toy_model(data, edge_weights="cosine") for _ in range(2))
    model.begin_epoch(1)
    model.views()
    with torch.no_grad():
        for layer in model.generator.projections.values():
            layer.weight.normal_()
    model.begin_epoch(2)
    other.views()
    other.load_state_dict(model.state_dict())
    expected = _dense_views(model, model.neighbours[0].numpy(), *model.generator()[0])[0]
    for each in (model, other):
        torch.testing.assert_close(each.views()[0][0], expected, rtol=1e-4, atol=1e-6)


def test_a_relative_weight_is_a_ratio_of_gradients_at_the_projections() -> None:
    data = toy_data()
    model = toy_model(data, edge_weights="cosine", adversarial_scale="relative", adversarial_weight=0.3)
    model.begin_epoch(1)
    terms = model.training_step(toy_batch(data))
    parameters = list(model.generator.parameters())
    ranking, adversarial = (gradient_at(terms[name], parameters).norm().item() for name in ("bpr", "adversarial"))
    assert adversarial == pytest.approx(0.3 * ranking, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"adversarial_scale": "relative"}, "--edge-weights cosine"),
        ({"edge_weights": "cosine", "cuda_graph": True}, "--cuda-graph"),
    ],
)
def test_settings_without_effect_are_refused(settings: dict[str, Any], advice: str) -> None:
    with pytest.raises(UsageError, match=advice):
        build_settings({"model": "mmssl", **settings})


def test_vicreg_terms() -> None:
    torch.manual_seed(0)
    rows = torch.randn(30, 5) @ torch.randn(5, 5)
    rows[[3, 7]] = 0
    directions = unit(array(rows))[array(rows).any(axis=1)] * np.sqrt(5)
    covariance = np.cov(directions.T)
    variance = np.mean([max(0, 1 - np.sqrt(covariance[j, j] + 1e-4)) for j in range(5)])
    off = sum(covariance[i, j] ** 2 for i in range(5) for j in range(5) if i != j) / 5
    assert vicreg_penalty(rows).item() == pytest.approx(variance + off / 25, rel=1e-4)


def test_vicreg_spreads_collapsed_features() -> None:
    torch.manual_seed(0)
    rows = (torch.ones(40, 6) + 0.05 * torch.randn(40, 6)).requires_grad_()
    before = effective_rank(rows).item()
    optimizer = torch.optim.Adam([rows], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        vicreg_penalty(rows).backward()
        optimizer.step()
    assert before < 2 and effective_rank(rows).item() > 5


def test_effective_rank() -> None:
    assert effective_rank(torch.eye(6)).item() == pytest.approx(6, rel=1e-4)
    assert effective_rank(torch.ones(6, 3)).item() == pytest.approx(1, abs=0.01)
    rows = torch.randn(20, 4)
    values = np.linalg.svd(unit(array(rows)), compute_uv=False)
    shares = values / values.sum()
    assert effective_rank(rows).item() == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-4)


def test_the_term_of_a_step_is_the_mean_over_modalities() -> None:
    data = toy_data()
    model = toy_model(data, vicreg_weight=0.4)
    model.begin_epoch(1)
    expected = np.mean([vicreg_penalty(items).item() for _, items in model.generator()])
    assert model.training_step(toy_batch(data))["vicreg"].item() == pytest.approx(0.4 * expected, rel=1e-5)
