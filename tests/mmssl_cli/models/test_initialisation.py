"""Initial weights of projections are those of the models' public programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.model_cases import toy_data
from tests.helpers.structure_cases import built

DATA = toy_data(modalities={"visual": 90, "text": 60})


def is_uniform(values: Tensor, bound: float) -> bool:
    """Return True if values lie within ``bound``, nearly reach it and have the deviation of a uniform distribution."""
    largest, deviation = values.detach().abs().max().item(), values.std().item()
    return 0.9 * bound < largest <= bound and deviation == pytest.approx(bound / 3**0.5, rel=0.15)


def is_default(weight: Tensor) -> bool:
    return is_uniform(weight, weight.shape[1] ** -0.5)


def is_xavier_uniform(weight: Tensor) -> bool:
    return is_uniform(weight, (6 / sum(weight.shape)) ** 0.5)


def is_xavier_normal(weight: Tensor) -> bool:
    deviation = (2 / sum(weight.shape)) ** 0.5
    found = weight.detach()
    return found.std().item() == pytest.approx(deviation, rel=0.15) and found.abs().max().item() > 2.2 * deviation


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, is_default) for name in ("lattice", "freedom", "mgcn", "smore", "pgl", "gume")),
        *((name, is_xavier_uniform) for name in ("slmrec", "mmgcl")),
        *((name, is_xavier_normal) for name in ("bm3", "grcn")),
    ],
)
def test_projections_begin_as_in_the_program(name: str, expected: Callable[[Tensor], bool]) -> None:
    model: Any = built(name, DATA, embedding_dim=8)
    for layer in model.content.layers.values():
        assert expected(layer.weight)
        assert 0 < float(layer.bias.detach().abs().max()) <= layer.weight.shape[1] ** -0.5  # PyTorch's own


def test_joins_and_spaces_of_slmrec_begin_with_xavier_weights() -> None:
    model: Any = built("slmrec", DATA, embedding_dim=32)
    layers = [model.join_users, model.join_items, *model.coarse, *model.fine]
    assert len(layers) == 6
    for layer in layers:
        assert isinstance(layer, nn.Linear)
        assert is_xavier_uniform(layer.weight)
        assert torch.count_nonzero(layer.bias) == 32
