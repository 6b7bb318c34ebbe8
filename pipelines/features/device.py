"""The base of the encoders that are neural networks: precision, batches, device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from pipelines.errors import InputError, UsageError
from pipelines.features.chunks import Encoder

PRECISIONS = ("float16", "float32")
CHUNK_ROWS, CHUNK_ROWS_GPU = 256, 4096
"""An interruption costs at most one chunk: minutes without a GPU, seconds with one, which small files would slow."""


class NetworkEncoder(Encoder):
    """A network that encodes items in batches.

    Args:
        precision: of the rows, float16 or float32; the network always computes in its own.
        device: where it runs; a GPU where there is one by default.

    Raises:
        UsageError: there is no such precision or device.
    """

    def __init__(self, precision: str, batch_size: int, device: str | None) -> None:
        if precision not in PRECISIONS:
            raise UsageError(f"Features are kept as {' or '.join(PRECISIONS)}, not as {precision!r}.")
        self._dtype, self._batch_size, self._device = np.dtype(precision), batch_size, _pick_device(device)
        self.chunk_rows = CHUNK_ROWS if self._device == "cpu" else CHUNK_ROWS_GPU

    def _circumstances(self, *packages: str) -> dict[str, Any]:
        """The part of an identity that is not the network: settings, device and versions."""
        return {
            "batch_size": self._batch_size,
            "precision": self._dtype.name,
            "device": self._device.partition(":")[0],
            "versions": {package: version(package) for package in packages},
        }

    @contextmanager
    def _enough_memory(self) -> Iterator[None]:
        """Turn a GPU that is too small for a batch into a sentence.

        Raises:
            InputError: the GPU ran out of memory.
        """
        try:
            yield
        except torch.OutOfMemoryError as problem:
            raise InputError(
                f"The GPU has too little free memory for batches of {self._batch_size}; use smaller ones, or encode on "
                "cpu."
            ) from problem


def _pick_device(name: str | None) -> str:
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as problem:  # the latter where PyTorch was built without CUDA
        reason = str(problem).partition("\n")[0]
        raise UsageError(f"There is no device {name!r} to encode on ({reason}); use cpu, or cuda for a GPU.") from None
    return name
