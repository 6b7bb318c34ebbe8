"""Measures of whether the adversary acts, against NumPy; they leave the training as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.models.mmssl.adversarial import low_rank_factors
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.mmssl.diagnostics import discriminator_outputs, turnover
from mmssl_cli.models.mmssl.gradients import gradient_at
from mmssl_cli.models.mmssl.model import MMSSL
from mmssl_cli.training.loop import TrainingLoop
from tests.helpers.model_cases import array, dense, dense_outputs, randomise, toy_batch, toy_data, toy_model

ADVERSARY = {"D real", "D generated", "D generated scaled", "gumbel share", "generator gradient"}
RANKS = {"rank visual", "rank text"}


def _loop(**settings: Any) -> TrainingLoop:
    data = toy_data()
    model = toy_model(data, dropout=0.2, **settings)
    return TrainingLoop(model, data, model.settings)


def test_turnover_is_the_share_of_new_neighbours() -> None:
    before = torch.tensor([[[0, 1, 2], [3, -1, -1]], [[4, 5, 6], [-1, -1, -1]]])
    now = torch.tensor([[[2, 7, 0], [3, 5, -1]], [[4, 5, 6], [-1, -1, -1]]])
    assert turnover(before, now) == pytest.approx(2 / 8)
    assert turnover(before, before) == 0


def _output(d: Any, rows: np.ndarray) -> float:
    return float(dense_outputs(d, rows).mean())


@pytest.mark.parametrize("variant", ["full", "w/o-GT"])
def test_verdicts_are_those_of_dense_rows_at_both_scales(variant: str) -> None:
    data = toy_data()
    model = toy_model(data, variant=variant, zeta=0.6)
    adversary = model.adversary
    assert adversary is not None
    d = randomise(adversary.discriminator).eval()
    users = torch.tensor([1, 3, 4, 7])
    pairs = [(torch.randn(12, 4), torch.randn(9, 4)) for _ in range(3)]
    *generated, final = low_rank_factors(users, pairs)
    state = torch.get_rng_state()
    found = discriminator_outputs(adversary, BatchRows(users), generated, final)
    assert torch.equal(torch.get_rng_state(), state)

    torch.manual_seed(0)
    transformed = adversary.transformed_rows(BatchRows(users))
    term = dense(data.train, 9)[users.numpy()] if transformed is None else array(transformed)
    real = term + 0.6 * array(final[0] @ final[1].T)
    fakes = [array(left @ right.T) for left, right in generated]
    lengths = np.linalg.norm(real, axis=1, keepdims=True)
    scaled = [fake / np.linalg.norm(fake, axis=1, keepdims=True) * lengths for fake in fakes]
    assert found["D real"].item() == pytest.approx(_output(d, real), abs=1e-5)
    assert found["D generated"].item() == pytest.approx(np.mean([_output(d, f) for f in fakes]), abs=1e-5)
    assert found["D generated scaled"].item() == pytest.approx(np.mean([_output(d, f) for f in scaled]), abs=1e-5)
    share = (np.linalg.norm(term, axis=1) / lengths[:, 0]).mean()
    assert found["gumbel share"].item() == pytest.approx(share, rel=1e-4)


def test_the_gradient_cosine_is_that_of_both_losses_at_the_projections() -> None:
    data = toy_data()
    model, batch = toy_model(data, omega=0.5), toy_batch(toy_data())
    model.begin_epoch(1)
    measures = model.diagnose(batch)
    assert set(measures) == {*ADVERSARY, *RANKS, "gradient cosine"}
    model.eval()
    assert model.adversary is not None
    features, final = model.generator(), model.embeddings()
    *generated, cosines = low_rank_factors(batch.distinct_users, [*features, final])
    loss = model.adversary.generator_loss(BatchRows(batch.distinct_users), generated, cosines)
    users, items = final
    margins = (users[batch.users] * (items[batch.positives] - items[batch.negatives])).sum(dim=1)
    ranking = torch.nn.functional.softplus(-margins).mean()
    own, other = (array(gradient_at(each, list(model.generator.parameters()))) for each in (loss, ranking))
    assert measures["generator gradient"] == pytest.approx(np.linalg.norm(own), rel=1e-4)
    expected = own @ other / (np.linalg.norm(own) * np.linalg.norm(other))
    assert measures["gradient cosine"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("settings", [{}, {"edge_weights": "cosine"}, {"variant": "w/o-GT"}, {"variant": "w/o-ASL"}])
def test_measures_of_an_epoch_leave_the_training_as_it_is(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = _loop(**settings)
    records = [measured.run_epoch() for _ in range(3)]
    kept = measured.state()
    names = {name.removeprefix("diagnostics/") for name in records[-1] if name.startswith("diagnostics/")}
    of_adversary = set() if settings.get("variant") == "w/o-ASL" else ADVERSARY
    of_adversary = of_adversary | ({"gradient cosine"} if "edge_weights" in settings else set())
    assert names == {"turnover", "turnover since first", *RANKS, *of_adversary}
    monkeypatch.setattr(MMSSL, "diagnose", lambda model, batch: {})
    plain = _loop(**settings)
    for _ in range(3):
        plain.run_epoch()
    other = plain.state()
    assert torch.equal(kept["torch_random"], other["torch_random"])
    for name, value in kept["model"].items():
        assert torch.equal(value, other["model"][name]), name


def test_a_graph_that_cannot_move_is_said_once() -> None:
    stuck, moving = _loop(generator_lr=1e-12), _loop(generator_lr=0.1)
    for _ in range(5):
        stuck.run_epoch()
        moving.run_epoch()
    [text] = stuck.model.warnings
    assert "--generator-lr (now 1e-12)" in text and "epoch 3" in text
    assert not moving.model.warnings


def test_measures_after_a_checkpoint_are_those_of_an_uninterrupted_training() -> None:
    whole = _loop()
    records = [whole.run_epoch() for _ in range(4)]
    first = _loop()
    for _ in range(2):
        first.run_epoch()
    state = first.state()
    second = _loop()
    second.restore(state)
    resumed = [second.run_epoch() for _ in range(2)]
    for record, expected in zip(resumed, records[2:], strict=True):
        assert {k: v for k, v in record.items() if "seconds" not in k} == {
            k: v for k, v in expected.items() if "seconds" not in k
        }


def test_graphs_that_are_refreshed_once_or_twice_are_judged_as_well() -> None:
    once, twice = _loop(epochs=3, graph_refresh=3), _loop(epochs=4, graph_refresh=2, generator_lr=1e-12)
    once.run_epoch()
    [text] = once.model.warnings
    assert "--graph-refresh 3" in text and "--epochs 3" in text
    for _ in range(4):
        twice.run_epoch()
    [text] = twice.model.warnings
    assert "epoch 3" in text


@pytest.mark.parametrize("acting", [{"omega": 0.5}, {"edge_weights": "cosine"}, {"variant": "w/o-ASL"}])
def test_an_adversary_that_acts_otherwise_or_is_none_has_no_warning(acting: dict[str, Any]) -> None:
    loop = _loop(epochs=3, graph_refresh=1, generator_lr=1e-12, **acting)
    for _ in range(3):
        loop.run_epoch()
    assert not loop.model.warnings
