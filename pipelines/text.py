"""Wording of counts."""

from __future__ import annotations


def pluralize(number: int, what: str) -> str:
    """Return a number with its noun: ``1 epoch``, ``1,200 epochs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
