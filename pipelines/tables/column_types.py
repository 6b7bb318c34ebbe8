"""What the cells of a table mean: ids, numbers, times and texts, as text files and parquet write them."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import InputError

BROKEN = "\0"
"""Stands in text files for bytes that are not UTF-8; no id holds it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = r"^-?[0-9]{1,18}$"
_FRACTION = r"^-?[0-9]{1,15}\.[0-9]+$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?"
_ANY_FRACTION = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?")


def as_text(column: pa.Array, name: str, path: Path) -> pa.Array:
    """Ids as strings: texts as they are, whole numbers written out; null where there is none or no UTF-8.

    Raises:
        InputError: the column holds something else.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.dictionary_decode(), name, path)
    with suppress(pa.ArrowException):
        if pa.types.is_floating(kind):  # as pandas keeps whole numbers beside missing ones
            return column.cast(pa.float64()).cast(pa.int64()).cast(pa.string())
        if pa.types.is_integer(kind):
            return column.cast(pa.string())
    if not (_is_text(kind) or pa.types.is_null(kind)):
        raise InputError(f"{path} has {kind} values in column {name}; expected texts or whole numbers.")
    column = column.cast(pa.binary())
    try:
        return column.cast(pa.string())  # a check of UTF-8, which parquet does not make
    except pa.ArrowInvalid:
        return pa.array([_decoded(value) for value in column.to_pylist()], pa.string())


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in (*tests, pa.types.is_string_view, pa.types.is_binary_view))


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def as_numbers(column: pa.Array, name: str, path: Path) -> np.ndarray:
    """Numbers as float64 [n]; NaN where there is none."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return np.asarray(column.cast(pa.float64(), safe=False).fill_null(math.nan))
    texts = as_text(column, name, path)
    try:
        return np.asarray(texts.cast(pa.float64()).fill_null(math.nan))
    except pa.ArrowInvalid:
        return np.array([_number(text) for text in texts.to_pylist()])


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def as_times(column: pa.Array, name: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times as int64 [n], and bool [n] that is False where there is none.

    Numbers keep their unit, rounded down to whole ones; dates (ISO 8601) become seconds since 1970, in UTC where
    they name no zone.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_times(column.dictionary_decode(), name, path)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        return np.asarray(micros.fill_null(0)) // 1_000_000, np.asarray(micros.is_valid())
    if pa.types.is_floating(kind) or pa.types.is_uint64(kind):
        return _floored(np.asarray(column.cast(pa.float64(), safe=False).fill_null(math.nan)))
    if pa.types.is_integer(kind):
        return np.asarray(column.cast(pa.int64()).fill_null(0)), np.asarray(column.is_valid())
    return _times_of_texts(as_text(column, name, path))


def _floored(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.abs(values) < 2.0**63  # neither NaN
    return np.floor(np.where(known, values, 0)).astype(np.int64), known


def _times_of_texts(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """All at once where all are written alike; else one by one, to the same result."""
    known = np.asarray(texts.is_valid())
    with suppress(pa.ArrowException):
        if _all(texts, _WHOLE):
            return np.asarray(texts.cast(pa.int64()).fill_null(0)), known
        if _all(texts, _FRACTION):
            return _floored(np.asarray(texts.cast(pa.float64()).fill_null(math.nan)))
        for ending, zone in (("$", None), (r"(Z|[+-][0-9]{2}:[0-9]{2})$", "UTC")):
            if _all(texts, _DATE + ending):
                return np.asarray(texts.cast(pa.timestamp("us", zone)).cast(pa.int64()).fill_null(0)) // 10**6, known
    times = [_time(text) for text in texts.to_pylist()]
    return np.array([time or 0 for time in times], dtype=np.int64), np.array([time is not None for time in times])


def _all(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py())


def _time(text: str | None) -> int | None:
    text = (text or "").strip()
    if re.match(_WHOLE, text):
        return int(text)
    if _ANY_FRACTION.fullmatch(text):
        values, known = _floored(np.array([float(text)]))
        return int(values[0]) if known[0] else None
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - _EPOCH) // timedelta(seconds=1)


def cell_texts(cell: Any) -> list[str]:
    """The texts of a cell: of a list, each."""
    if isinstance(cell, list):
        return [text for inner in cell for text in cell_texts(inner)]
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace").replace(BROKEN, "\ufffd")
    return [] if cell is None or cell == "" else [str(cell)]
