"""What an encoder's rows depend on beside its files and the data: libraries and GPUs. None of them is loaded."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_LIBRARIES = ("torch", "torchvision", "transformers", "sentence-transformers", "pillow")


def circumstances() -> list[str | None]:
    """Return the versions of the libraries, None of one that is not installed, and signs of the GPUs."""
    gpus = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return [*map(_version, _LIBRARIES), *gpus, os.environ.get("CUDA_VISIBLE_DEVICES", "")]


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
