"""Files of the state of a training: tensors, numbers, text, and lists and dictionaries of these."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.io.files import write_bytes


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_bytes(path, buffer.getbuffer())


def read_state(path: Path) -> dict[str, Any]:
    """Read a state onto the CPU, as weights only, so that no code in the file is run; damage raises in many ways."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of what the error says
        state: dict[str, Any] = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise TypeError("expected a dictionary")
    return state
