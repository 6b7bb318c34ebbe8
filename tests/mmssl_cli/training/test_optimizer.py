"""Weight decay of both optimizers against a slow form of their first two steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.models.registry import build_model
from mmssl_cli.training.loop import TrainingLoop
from tests.helpers.model_cases import array, toy_batch, toy_data


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_weight_decay_is_decoupled_or_added_to_the_gradient(optimizer: str) -> None:
    data = toy_data(modalities={})
    torch.manual_seed(3)
    settings = build_settings(
        {"model": "mf", "embedding_dim": 4, "lr": 0.1, "weight_decay": 0.3, "optimizer": optimizer}
    )
    loop = TrainingLoop(build_model(data, settings), data, settings)
    batch, users = toy_batch(data), loop.model.users
    assert isinstance(users, torch.Tensor)
    expected, first, second = array(users).copy(), np.zeros((12, 4)), np.zeros((12, 4))
    for step in (1, 2):
        (slope,) = torch.autograd.grad(loop.model.training_step(batch)["bpr"], users)
        gradient = array(slope) + (0.3 * expected if optimizer == "adam" else 0)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        change = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        expected = (expected if optimizer == "adam" else (1 - 0.1 * 0.3) * expected) - 0.1 * change
        loop._step(batch)
        np.testing.assert_allclose(array(users), expected, atol=1e-5)
