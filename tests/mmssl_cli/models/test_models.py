"""The variants of MMSSL, what it becomes with fewer modalities, and the models it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.config import SETTINGS, FittedSettings, build_settings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import Recommender
from mmssl_cli.models.mmssl.adversarial import low_rank_factors
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.registry import build_model
from mmssl_cli.training.loop import TrainingLoop
from tests.helpers.model_cases import array, dense, features_of, toy_batch, toy_data, toy_model, unit, weighted


def _terms(**settings: Any) -> set[str]:
    data = toy_data()
    model = toy_model(data, **settings)
    model.begin_epoch(1)
    return set(model.training_step(toy_batch(data)))


def test_the_whole_model_has_three_terms() -> None:
    assert _terms() == {"bpr", "contrast", "adversarial"}


@pytest.mark.parametrize("settings", [{"variant": "w/o-ASL"}, {"adversarial_weight": 0}])
def test_without_asl_there_is_no_adversary(settings: dict[str, Any]) -> None:
    assert _terms(**settings) == {"bpr", "contrast"}
    model = toy_model(toy_data(), **settings)
    assert model.adversary is None and model.auxiliary_optimizer is None
    assert not [name for name in model.state_dict() if name.startswith("adversary")]


@pytest.mark.parametrize("settings", [{"variant": "w/o-CL"}, {"contrast_weight": 0}])
def test_without_cl_there_is_no_contrast(settings: dict[str, Any]) -> None:
    assert _terms(**settings) == {"bpr", "adversarial"}


def test_without_gt_the_discriminator_sees_the_raw_rows() -> None:
    data = toy_data()
    users = torch.tensor([0, 3, 4, 9])
    first_layers = {}
    for variant in ("full", "w/o-GT"):
        adversary = toy_model(data, variant=variant).adversary
        assert adversary is not None
        transformed = adversary.transformed_rows(BatchRows(users))
        assert (transformed is None) == (variant == "w/o-GT")
        no_signal = torch.zeros(4, 8), torch.zeros(data.num_items, 8)
        first_layers[variant] = array(adversary.first_layer_of_real(BatchRows(users), transformed, no_signal))
        weight = array(adversary.discriminator.first.weight)
    raw = dense(data.train, data.num_items)[users.numpy()]
    np.testing.assert_allclose(first_layers["w/o-GT"], raw @ weight.T, atol=1e-6)
    assert not np.allclose(first_layers["full"], first_layers["w/o-GT"], atol=1e-2)
    assert _terms(variant="w/o-GT") == {"bpr", "contrast", "adversarial"}


def test_rp_gae_reconstructs_the_observed_interactions_in_place_of_the_adversary() -> None:
    data = toy_data()
    batch = toy_batch(data)
    model = toy_model(data, variant="r/p-GAE", adversarial_weight=0.3, contrast_temperature=0.4)
    model.begin_epoch(1)
    losses = []
    for of_users, of_items in features_of(model, dense(data.train, data.num_items)):
        relations = unit(of_users) @ unit(of_items).T / 0.4
        for user, positive, negative in zip(*map(array, (batch.users, batch.positives, batch.negatives)), strict=True):
            losses.append(np.log1p(np.exp(-relations[int(user), int(positive)])))
            losses.append(np.log1p(np.exp(relations[int(user), int(negative)])))

    terms = model.training_step(batch)

    assert model.adversary is None and set(terms) == {"bpr", "contrast", "autoencoder"}
    assert terms["autoencoder"].item() == pytest.approx(0.3 * np.mean(losses), rel=1e-5)
    terms["autoencoder"].backward()
    layers = model.generator.projections.values()
    assert all(layer.weight.grad is not None and layer.weight.grad.abs().max() > 0 for layer in layers)


def test_variants_share_the_start_of_everything_but_the_adversary() -> None:
    states = [toy_model(toy_data(), variant=v).state_dict() for v in ("full", "w/o-ASL", "r/p-GAE", "w/o-CL")]
    shared = [name for name in states[0] if not name.startswith("adversary")]
    for state in states[1:]:
        assert all(torch.equal(states[0][name], state[name]) for name in shared)


def _trained(model: str, data: InteractionData, epochs: int = 2, **settings: Any) -> tuple[Recommender, list[Any]]:
    values = {"model": model, "embedding_dim": 8, "batch_size": 8, "lr": 0.01, **settings}
    torch.manual_seed(3)
    built = build_settings(values)
    recommender = build_model(data, built)
    loop = TrainingLoop(recommender, data, built)
    return recommender.eval(), [_without_seconds(loop.run_epoch()) for _ in range(epochs)]


def _without_seconds(record: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in record.items() if "seconds" not in name}


@pytest.mark.parametrize("adjacency", ["sym", "left"])
def test_mmssl_without_modalities_is_lightgcn(adjacency: str) -> None:
    data = toy_data(modalities={})
    common = {"adjacency": adjacency, "layers": 3, "l2_weight": 0.1, "weight_decay": 0.0, "weight_averaging": 0.0}
    plain, losses = _trained("lightgcn", data, **common)
    full, same_losses = _trained("mmssl", data, omega=0.3, **common)
    assert losses == same_losses and "loss/bpr" in losses[0]
    assert all(torch.equal(one, other) for one, other in zip(plain.represent(), full.represent(), strict=True))


def test_lightgcn_is_the_mean_of_its_layers() -> None:
    data = toy_data()
    model, _ = _trained("lightgcn", data, layers=2)
    to_users, to_items = weighted(dense(data.train, data.num_items), "sym")
    users, items = array(model.users), array(model.items)  # type: ignore[arg-type]
    expected = (users + to_users @ items + to_users @ to_items @ users) / 3
    np.testing.assert_allclose(array(model.represent()[0]), expected, atol=1e-6)


def test_mf_scores_by_its_embeddings() -> None:
    model, _ = _trained("mf", toy_data())
    users, items = model.represent()
    assert users is model.users and items is model.items
    assert {name for name, _ in model.named_parameters()} == {"users", "items"}


@pytest.mark.parametrize("model", ["mf", "lightgcn", "mmssl"])
def test_training_learns_the_training_interactions(model: str) -> None:
    data = toy_data()
    recommender, records = _trained(model, data, epochs=20, lr=0.1)
    scores = recommender.represent()[0] @ recommender.represent()[1].T
    matrix = torch.from_numpy(dense(data.train, data.num_items)).bool()
    assert scores[matrix].mean() > scores[~matrix].mean() + 0.5
    assert records[-1]["loss/bpr"] < 0.5 * records[0]["loss/bpr"]


def test_one_modality_is_enough() -> None:
    data = toy_data(modalities={"visual": 7})
    model, records = _trained("mmssl", data, omega=0.3)
    assert {"loss/bpr", "loss/contrast", "loss/adversarial"} <= records[0].keys()
    assert all(part.isfinite().all() for part in model.represent())


def test_three_modalities_are_three_views() -> None:
    data = toy_data(modalities={"visual": 7, "text": 5, "acoustic": 3})
    model = toy_model(data)
    model.begin_epoch(1)
    assert model.neighbours.shape[0] == len(model.views()[0]) == 3
    assert set(model.training_step(toy_batch(data))) == {"bpr", "contrast", "adversarial"}


def test_a_modality_that_every_item_lacks_leaves_numbers_finite() -> None:
    data = toy_data(absent={"visual": range(9)})
    model, records = _trained("mmssl", data, omega=0.3, epochs=3)
    assert all(np.isfinite(value) for record in records for value in record.values())
    assert all(part.isfinite().all() for part in model.represent())


def test_absent_items_get_no_gradient_through_their_features() -> None:
    data = toy_data(modalities={"visual": 7}, absent={"visual": (2, 5)})
    model = toy_model(data)
    raw = data.features["visual"].requires_grad_()
    users = torch.arange(data.num_users)
    [(left, right)] = low_rank_factors(users, model.generator())
    (left @ right.T).square().sum().backward()
    assert raw.grad is not None
    touched = raw.grad.abs().sum(dim=1) > 0
    degrees = dense(data.train, data.num_items).sum(axis=0)
    assert touched.tolist() == [item not in (2, 5) and degrees[item] > 0 for item in range(data.num_items)]


@pytest.mark.parametrize("model", ["mf", "lightgcn", "mmssl"])
def test_training_follows_the_seed(model: str) -> None:
    (one, first), (other, second) = (_trained(model, toy_data()) for _ in range(2))
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    _, third = _trained(model, toy_data(), seed=5)
    assert third != first


@pytest.mark.parametrize("variant", ["full", "w/o-GT", "r/p-GAE"])
def test_bfloat16_trains_close_to_float32(variant: str) -> None:
    data = toy_data()
    settings = {"omega": 0.3, "variant": variant, "dropout": 0.0, "discriminator_dropout": 0.0}
    _, exact = _trained("mmssl", data, **settings)
    model, rounded = _trained("mmssl", data, precision="bfloat16", **settings)
    assert exact[0].keys() == rounded[0].keys()
    assert rounded[1]["loss/bpr"] == pytest.approx(exact[1]["loss/bpr"], rel=0.05)
    assert rounded != exact
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("model", [name for name, kind in SETTINGS.items() if not issubclass(kind, FittedSettings)])
def test_in_bfloat16_the_same_weights_have_a_gradient(model: str) -> None:
    reached = []
    for precision in ("float32", "bfloat16"):
        trained, _ = _trained(model, toy_data(), epochs=1, precision=precision)
        reached.append({name for name, p in trained.named_parameters() if p.grad is not None and p.grad.any()})
    assert reached[0] == reached[1]


def test_bfloat16_sees_the_discriminator_move_within_a_step() -> None:
    gaps = []
    for precision in ("float32", "bfloat16"):
        data = toy_data()
        form = {"discriminator_steps": 8, "discriminator_lr": 0.02, "gumbel_scale": 0.0, "gradient_penalty": 0.0}
        model = toy_model(data, precision=precision, **form)
        gaps.append(TrainingLoop(model, data, model.settings).run_epoch()["loss/discriminator gap"])
    assert gaps[0] > 0.3 and gaps[1] == pytest.approx(gaps[0], rel=0.15)
