"""Wording of counts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
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


def some(values: Iterable[object], most: int = 3) -> str:
    """Return the first values: ``a, b, c, ...``."""
    first = [str(value) for value in islice(values, most + 1)]
    return ", ".join([*first[:most], *(["..."] if len(first) > most else [])])
