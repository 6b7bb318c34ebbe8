"""MMSSL's adversary and contrast in other models (Table 5), against slow NumPy forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.config import SETTINGS, build_settings
from mmssl_cli.models.mmssl.adversarial import AdversarialSelfAugmentation
from pipelines.errors import UsageError
from tests.helpers.model_cases import array, dense_outputs, toy_batch, toy_data, unit
from tests.helpers.structure_cases import built

ADDED = [name for name, cls in SETTINGS.items() if "cl_weight" in cls.model_fields]


def _features(model: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Eq. 2 with the model's own weights of the graph, dense."""
    to_users, to_items = array(model.graph.users_from(torch.eye(9))), array(model.graph.items_from(torch.eye(12)))
    users = [to_users @ array(rows) for rows in model.content().values()]
    return [(of_users, to_items @ of_users) for of_users in users]


def _contrast(final: np.ndarray, views: list[np.ndarray], temperature: float) -> float:
    """Eq. 11, a user at a time."""
    total = 0.0
    for view in views:
        h, e = unit(final), unit(view)
        for row in range(len(h)):
            others = np.exp(h @ e[row] / temperature).sum() + np.exp(e @ e[row] / temperature).sum()
            total += np.log(others) - h[row] @ e[row] / temperature
    return total / len(final)


def test_models_that_project_each_modality_over_their_graph_take_the_plugins() -> None:
    assert ADDED == ["lightgcn-m", "lattice", "mmgcl", "bm3", "freedom", "mgcn", "smore", "lgmrec", "gume"]
    assert {name for name, cls in SETTINGS.items() if "asl" in cls.model_fields} == {*ADDED, "slmrec"}


@pytest.mark.parametrize("name", ADDED)
def test_plugged_terms_are_those_of_mmssl(name: str) -> None:
    data = toy_data()
    model = built(name, data, asl=True, cl=True, adversarial_weight=0.3, cl_weight=0.2, cl_temperature=0.4)
    assert isinstance(model.adversary, AdversarialSelfAugmentation)
    batch = toy_batch(data)
    model.begin_epoch(1)
    users = batch.distinct_users
    torch.manual_seed(5)  # LGMRec draws noise
    terms = model.plugged(batch)
    assert list(terms) == ["cl", "adversarial"]
    assert set(model.monitored) == {"discriminator", "discriminator gap"}

    features = _features(model)
    views = [of_users[users.numpy()] for of_users, _ in features]
    if name in ("mgcn", "mmgcl", "smore", "gume"):
        views = [array(view) for view in model.modality_users(users)]
    torch.manual_seed(5)
    final = array(model.embeddings()[0][users])
    assert terms["cl"].item() == pytest.approx(0.2 * _contrast(final, views, 0.4), rel=1e-4)
    generated = [unit(of_users[users.numpy()]) @ unit(of_items).T for of_users, of_items in features]
    found = dense_outputs(model.adversary.discriminator, np.concatenate(generated))  # after its step, as the loss is
    assert terms["adversarial"].item() == pytest.approx(-0.3 * found.mean(), rel=1e-4)


@pytest.mark.parametrize("name", ADDED)
def test_a_step_adds_the_terms_and_trains_the_projections(name: str) -> None:
    data = toy_data()
    model = built(name, data, asl=True, cl=True, adversarial_weight=0.3)
    model.begin_epoch(1)
    before = array(model.adversary.discriminator.first.weight)
    terms = model.training_step(toy_batch(data))
    assert {"cl", "adversarial"} < set(terms)
    terms["adversarial"].backward()
    assert all(layer.weight.grad.abs().max() > 0 for layer in model.content.layers.values())
    assert not np.allclose(before, array(model.adversary.discriminator.first.weight), atol=0)
    assert built(name, data, asl=True, adversarial_weight=0).adversary is None
    assert not {"cl", "adversarial"} & set(built(name, data).training_step(toy_batch(data)))


@pytest.mark.parametrize("part", ["asl", "cl"])
def test_embeddings_of_another_width_are_refused(part: str) -> None:
    with pytest.raises(UsageError, match="--content-join sum"):
        build_settings({"model": "lightgcn-m", part: True, "content_join": "concat"})
