"""The names of a model's weights in `model.safetensors`, by which runs of earlier versions are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.conftest import Answer


def test_models_are_the_same(cli: Callable[..., Answer], assert_kept: Callable[..., None]) -> None:
    """Check that no model went or came."""
    listed = json.loads(cli("models", "--json").out)
    assert_kept("weights.json", "all models", [entry["model"] for entry in listed])


#: Settings of models whose defaults leave out some of their weights.
WHOLE = {"hccf": {"hyper_levels": 3}}


@pytest.mark.slow
def test_weights_keep_their_names(model: str, train: Callable[..., Path], assert_kept: Callable[..., None]) -> None:
    """Train an epoch of a model on the demo, and check the names and types of what it saved."""
    weights = load_file(train(model, epochs=1, **WHOLE.get(model, {})) / "model.safetensors")
    assert_kept("weights.json", model, [f"{name}: {array.dtype}" for name, array in weights.items()])
