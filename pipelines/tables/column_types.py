"""Types of the cells of a table: ids, numbers and texts, as text files, JSON and parquet write them."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import InputError

_DECIMAL_COMMA = r"^\s*([+-]?[0-9]+),([0-9]+)\s*$"
_EXACT = 2**53  # whole numbers below have a float64 of their own
_THOUSANDS = r"^\s*[+-]?[1-9][0-9]{0,2},[0-9]{3}\s*$"


def as_text(column: pa.Array, name: str, path: Path) -> pa.Array:
    """Return ids as strings: texts unchanged, whole numbers written out, null where a cell is empty.

    Raises:
        InputError: the column holds something else.
    """
    kind = column.type
    with suppress(pa.ArrowException):
        if pa.types.is_floating(kind):  # as pandas keeps whole numbers beside missing ones
            values = column.cast(pa.float64())
            if (pc.max(pc.abs(values)).as_py() or 0) >= _EXACT:
                raise InputError(
                    f"{path} has whole numbers beyond 2^53 as decimals in column {name}, whose last digits are lost; "
                    "write these ids as texts or as 64-bit integers."
                )
            return pc.if_else(pc.is_nan(values), None, values).cast(pa.int64()).cast(pa.string())
        if pa.types.is_decimal(kind):
            return column.cast(pa.decimal256(76 if kind.scale else kind.precision, 0)).cast(pa.string())
        if pa.types.is_integer(kind):
            return column.cast(pa.string())
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    raise InputError(f"{path} has {kind} values in column {name}; expected texts or whole numbers.")


def as_numbers(
    column: pa.Array, name: str, path: Path, *, decimal_comma: bool = False, thousands: bool = False
) -> np.ndarray:
    """Return numbers as float64 [n]; NaN where a cell holds no number.

    Args:
        decimal_comma: read 4,5 as 4.5.
        thousands: but not 1,500, which may be 1500.
    """
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64(), safe=False).fill_null(math.nan))
    if not (pa.types.is_string(kind) or pa.types.is_null(kind)):
        raise InputError(f"{path} has {kind} values in column {name}; expected numbers.")
    texts = as_text(column, name, path)
    if decimal_comma:
        texts = point_for_comma(texts, thousands=thousands)
    try:
        return np.asarray(texts.cast(pa.float64()).fill_null(math.nan))
    except pa.ArrowInvalid:
        return np.array([_number(text) for text in texts.to_pylist()])


def point_for_comma(texts: pa.Array, *, thousands: bool = False) -> pa.Array:
    """Return numbers like 4,5 as 4.5, other texts unchanged; with ``thousands`` also 1,500, which may be 1500."""
    changed = pc.replace_substring_regex(texts, _DECIMAL_COMMA, r"\1.\2")
    return pc.if_else(pc.match_substring_regex(texts, _THOUSANDS), texts, changed) if thousands else changed


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def cell_texts(cell: Any) -> list[str]:
    """Return the texts of a cell: of a list, those of every element."""
    if isinstance(cell, list):
        return [text for inner in cell for text in cell_texts(inner)]
    return [] if cell is None or cell == "" else [str(cell)]
