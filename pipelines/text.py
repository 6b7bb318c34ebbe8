"""Wording of counts."""

from __future__ import annotations

from collections.abc import Sequence


def pluralize(number: int, what: str) -> str:
    """Return a number with its noun: ``1 epoch``, ``1,200 epochs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first names: ``a, b, c, ...``."""
    return ", ".join([*names[:most], *(["..."] if len(names) > most else [])])
