"""Paths as arguments."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

from pipelines.errors import UsageError
from pipelines.io.files import expanded

#: Values of a list that an error shows.
_SHORT = 5


def shown(value: object) -> str:
    """Return what an error shows of a value: texts, numbers and short lists of them; of anything else its type."""
    if _is_plain(value) or (isinstance(value, list | tuple) and len(value) <= _SHORT and all(map(_is_plain, value))):
        return repr(value)
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeio' else 'a'} {kind}"


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | bytes | Path | bool | int | float)


def path_of(given: str | PathLike[str], argument: str) -> Path:
    """Return a path given as text or path, with ``~`` resolved.

    Raises:
        UsageError: ``argument`` is neither, or empty.
    """
    if not isinstance(given, str | PathLike) or not fspath(given) or "\0" in fspath(given):
        raise UsageError(f"{argument} cannot be {shown(given)}: expected a path.")
    return expanded(given)
