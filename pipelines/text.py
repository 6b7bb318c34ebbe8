"""Wording of counts."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

TABLE = "CSV, TSV, JSON lines or parquet"
"""The kinds of tables that are read."""
TABLE_ENDINGS = (".csv", ".tsv", ".parquet", ".jsonl")
_CUT = " ..."


def pluralize(number: int, what: str) -> str:
    """Return a number with its noun: ``1 epoch``, ``1,200 epochs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """Return a share as a percentage with the digits it needs: ``50%``, ``0.5%``."""
    return f"{100 * share:g}%"


def shortened(problem: object, most: int = 200) -> str:
    """Return the words of a message without the full stop, cut between two of them, or within a first one too long."""
    text = " ".join(str(problem).split()).rstrip(".")
    cut = shorten(text, most, placeholder=_CUT)
    return cut if cut != _CUT.strip() else text[: most - len(_CUT)] + _CUT


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first names: ``a, b, c, ...``."""
    return ", ".join([*names[:most], *(["..."] if len(names) > most else [])])
