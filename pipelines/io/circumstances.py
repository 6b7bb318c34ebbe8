"""Versions of libraries and readers, and GPUs, on which the rows of an encoder depend; found without an import."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PICTURES, AUDIO = 2, 2
"""Versions of the readers of pictures and audio: higher once more files can be read, or some are read otherwise."""
_LIBRARIES = ("torch", "torchvision", "transformers", "sentence-transformers", "pillow")


def circumstances() -> list[str | int | None]:
    """Return the versions of readers and libraries, None of one that is not installed, and signs of the GPUs."""
    gpus = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return [PICTURES, AUDIO, *map(_version, _LIBRARIES), *gpus, os.environ.get("CUDA_VISIBLE_DEVICES", "")]


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
