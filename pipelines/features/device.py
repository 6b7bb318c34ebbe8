"""What the encoders that are neural networks have in common: precision, batches, and where they run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from pipelines.errors import InputError, UsageError
from pipelines.features.chunks import Encoded

PRECISIONS = ("float16", "float32")
CHUNK_ROWS, CHUNK_ROWS_GPU = 256, 4096
"""What an interruption costs at most: minutes of work without a GPU, seconds with one, which small files would slow."""


class NetworkEncoder:
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

    @property
    def chunk_rows(self) -> int:
        """Rows to keep in a chunk."""
        return CHUNK_ROWS if self._device == "cpu" else CHUNK_ROWS_GPU

    def encode(self, items: Sequence[Any]) -> Encoded:
        """Encode the items of a chunk."""
        raise NotImplementedError

    def encode_chunks(self, chunks: Iterable[Sequence[Any]]) -> Iterator[Encoded]:
        """Encode one chunk after another."""
        return map(self.encode, chunks)

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
