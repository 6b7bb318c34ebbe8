"""Paths as arguments."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

from pipelines.errors import UsageError


def shown(value: object) -> str:
    """Return what an error shows of a value: texts and numbers as they are, of anything else its type."""
    plain = value is None or isinstance(value, str | bytes | Path | bool | int | float)
    return repr(value) if plain else f"a {type(value).__name__}"


def path_of(given: str | PathLike[str], argument: str) -> Path:
    """Return a path given as text or path, with ``~`` resolved.

    Raises:
        UsageError: ``argument`` is neither, or empty.
    """
    if not isinstance(given, str | PathLike) or not fspath(given):
        raise UsageError(f"{argument} cannot be {shown(given)}: expected a path.")
    return Path(given).expanduser()
