"""Averaged weights: the recurrence in NumPy, what is validated and kept, and that a resumed loop carries them on."""

from __future__ import annotations

import numpy as np
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.models.registry import build_model
from mmssl_cli.training.loop import TrainingLoop
from tests.helpers.model_cases import toy_data


def _loop(decay: float) -> TrainingLoop:
    data = toy_data()
    settings = build_settings({"model": "mf", "batch_size": 4, "lr": 0.05, "weight_averaging": decay, "ks": (5,)})
    torch.manual_seed(settings.seed)
    return TrainingLoop(build_model(data, settings), data, settings)


def _users(loop: TrainingLoop) -> np.ndarray:
    users, _ = loop.model.represent()
    return users.detach().double().numpy().copy()


def test_the_average_is_a_plain_mean_until_it_spans_the_decay() -> None:
    loop, history = _loop(0.7), []
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for batch in loop.sampler.epoch(generator):
            loop._step(batch)
            history.append(_users(loop))
    expected = np.zeros_like(history[0])
    for step, weights in enumerate(history, start=1):
        decay = min(0.7, 1 - 1 / step)
        expected = decay * expected + (1 - decay) * weights
    with loop.averaged_weights():
        np.testing.assert_allclose(_users(loop), expected, atol=1e-5)
    assert not np.allclose(expected, history[-1], atol=1e-4)
    np.testing.assert_array_equal(_users(loop), history[-1])


def test_training_itself_does_not_feel_the_averaging() -> None:
    averaged, plain = _loop(0.9), _loop(0.0)
    for _ in range(3):
        averaged.run_epoch()
        plain.run_epoch()
    np.testing.assert_array_equal(_users(averaged), _users(plain))
    with plain.averaged_weights():
        np.testing.assert_array_equal(_users(averaged), _users(plain))


def test_a_restored_loop_has_the_average_it_had() -> None:
    whole, cut = _loop(0.9), _loop(0.9)
    whole.run_epoch()
    cut.run_epoch()
    resumed = _loop(0.9)
    resumed.restore(cut.state())
    whole.run_epoch()
    resumed.run_epoch()
    with whole.averaged_weights(), resumed.averaged_weights():
        np.testing.assert_array_equal(_users(whole), _users(resumed))
