"""Bounds on untrusted files: the nesting of JSON and TOML, and the rows of parquet."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

MOST_LEVELS = 100
_TOO_DEEP = f"it is nested more than {MOST_LEVELS} levels deep"


def parse_json(data: str | bytes, **options: Any) -> Any:
    """Return the value of a JSON text.

    Args:
        options: of ``json.loads``.

    Raises:
        ValueError: it is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        value = json.loads(data, **options)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check_depth(value)
    return value


def parse_toml(data: bytes) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        ValueError: it is not TOML, not UTF-8, or nested too deeply.
    """
    try:
        tables = tomllib.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check_depth(tables)
    return tables


def too_many_rows(rows: int, size: int) -> bool:
    """Return True if parquet of ``size`` bytes claims more rows than distinct ones can take so little room for.

    A few kilobytes of one value repeated would otherwise unpack to all of the memory.
    """
    return rows > max(2**20, 64 * size)


def _check_depth(value: Any) -> None:
    """Refuse what parses in a loop (a.b.c...) or in C, but would later be copied or printed by recursion."""
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        inside = [each for each in level if isinstance(each, dict | list | tuple)]
        if not inside:
            return
        level = [part for each in inside for part in (each.values() if isinstance(each, Mapping) else each)]
    raise ValueError(_TOO_DEEP)
