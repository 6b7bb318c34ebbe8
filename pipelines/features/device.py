"""Where the networks of the encoders run, and what is noted about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import numpy as np

from pipelines.errors import InputError, UsageError

PRECISIONS = ("float16", "float32")
CHUNK_ROWS, CHUNK_ROWS_GPU = 256, 4096
"""What an interruption costs at most: minutes of work without a GPU, seconds with one, which small files would slow."""


def pick_device(name: str | None) -> str:
    """``name``, or "cuda" where there is such a GPU, else "cpu".

    Raises:
        UsageError: PyTorch knows no such device, or has none here.
    """
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as problem:  # the latter where PyTorch was built without CUDA
        reason = str(problem).partition("\n")[0]
        raise UsageError(f"There is no device {name!r} to encode on ({reason}); use cpu, or cuda for a GPU.") from None
    return name


def check_precision(name: str) -> np.dtype:
    """The NumPy type of a precision, float16 or float32; else UsageError."""
    if name not in PRECISIONS:
        raise UsageError(f"Features are kept as {' or '.join(PRECISIONS)}, not as {name!r}.")
    return np.dtype(name)


def versions(*packages: str) -> dict[str, str]:
    """The installed version of each package."""
    return {package: version(package) for package in packages}


@contextmanager
def enough_memory(batch_size: int) -> Iterator[None]:
    """Turn a GPU that is too small for a batch into a sentence.

    Raises:
        InputError: the GPU ran out of memory.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as problem:
        raise InputError(
            f"The GPU has too little free memory for batches of {batch_size}; use smaller ones, or encode on cpu."
        ) from problem
