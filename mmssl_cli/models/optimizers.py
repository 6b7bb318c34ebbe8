"""Adam and AdamW of PyTorch without the import of its compiler, a second that every training would begin with."""

from __future__ import annotations

import inspect
from typing import TypeVar

import torch

Kind = TypeVar("Kind", bound=type[torch.optim.Optimizer])


def _without_compiler(kind: Kind) -> Kind:
    """Undo the decorators that keep ``torch.compile`` out of an optimiser; it computes the same."""
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        setattr(kind, name, inspect.unwrap(getattr(kind, name)))
    kind.step = torch.no_grad()(inspect.unwrap(kind.step))  # type: ignore[method-assign]
    return kind


@_without_compiler
class Adam(torch.optim.Adam):
    """``torch.optim.Adam``."""


@_without_compiler
class AdamW(torch.optim.AdamW):
    """``torch.optim.AdamW``."""
